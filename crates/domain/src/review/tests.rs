//! Reviews: what is taken and what is refused, given what happened before.

use uuid::Uuid;

use super::*;
use crate::given::given;

fn actor(number: u128) -> ActorId {
    ActorId(Uuid::from_u128(number))
}

fn answer(number: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(number))
}

fn config(name: &str, kind: ScoreKind) -> ScoreConfig {
    ScoreConfig { name: name.to_owned(), description: String::new(), kind }
}

fn queue() -> Opened {
    Opened {
        run_id: TestRunId(Uuid::from_u128(1)),
        card_id: PromptCardId(Uuid::from_u128(2)),
        title: "tone".to_owned(),
        instructions: String::new(),
        scores: vec![
            config("correct", ScoreKind::Boolean),
            config("helpful", ScoreKind::Numeric(Bounds { min: 1.0, max: 5.0 })),
            config(
                "tone",
                ScoreKind::Categorical(Categories { categories: vec!["warm".to_owned(), "cold".to_owned()] }),
            ),
        ],
        reviewers_per_item: 2,
        blind: true,
        opened_by: actor(9),
    }
}

fn opened() -> Vec<ReviewEvent> {
    let items = ItemsAdded { items: vec![answer(1), answer(2)], added_by: actor(9) };
    vec![ReviewEvent::Opened(queue()), ReviewEvent::ItemsAdded(items)]
}

fn values() -> Scores {
    Scores::from([
        ("correct".to_owned(), ScoreValue::Boolean(true)),
        ("helpful".to_owned(), ScoreValue::Numeric(4.0)),
        ("tone".to_owned(), ScoreValue::Category("warm".to_owned())),
    ])
}

fn scored(id: u128, by: u128) -> Scored {
    Scored { execution_id: answer(id), reviewer: actor(by), values: values(), comment: String::new() }
}

fn assigned(id: u128, to: u128) -> ItemsAssigned {
    ItemsAssigned { items: vec![answer(id)], reviewer: actor(to), assigned_by: actor(to) }
}

fn verdict(passed: bool, reason: &str) -> VerdictReplaced {
    VerdictReplaced {
        run_id: TestRunId(Uuid::from_u128(1)),
        execution_id: answer(1),
        passed,
        passed_before: !passed,
        reason: reason.to_owned(),
        replaced_by: actor(9),
    }
}

#[test]
fn a_queue_is_opened_with_its_answers_once() {
    let items = vec![answer(2), answer(1), answer(2)];
    given::<Review>([]).when(ReviewCommand::Open(Box::new(queue()), items.clone())).then(opened());
    given::<Review>(opened()).when(ReviewCommand::Open(Box::new(queue()), items)).refused("review_already_open");
}

#[test]
fn what_is_scored_must_be_well_defined() {
    let bad = [
        config(" ", ScoreKind::Boolean),
        config("correct", ScoreKind::Boolean),
        config("n", ScoreKind::Numeric(Bounds { min: 1.0, max: 1.0 })),
        config("n", ScoreKind::Numeric(Bounds { min: f64::NAN, max: 1.0 })),
        config("c", ScoreKind::Categorical(Categories { categories: vec!["one".to_owned()] })),
        config("c", ScoreKind::Categorical(Categories { categories: vec!["one".to_owned(), "one".to_owned()] })),
    ];
    for config in bad {
        let mut queue = queue();
        queue.scores.push(config);
        given::<Review>([]).when(ReviewCommand::Open(Box::new(queue), vec![answer(1)])).refused("invalid_score_config");
    }
    let none = Opened { scores: Vec::new(), ..queue() };
    given::<Review>([]).when(ReviewCommand::Open(Box::new(none), vec![answer(1)])).refused("too_many_items");
}

#[test]
fn everybody_gets_the_answer_that_lacks_the_fewest_reviewers_and_keeps_it_until_it_is_scored() {
    let mut history = opened();
    history.push(ReviewEvent::ItemsAssigned(assigned(2, 7)));
    // Another reviewer completes what is begun.
    let taken = ReviewEvent::ItemsAssigned(assigned(2, 8));
    given::<Review>(history.clone()).when(ReviewCommand::TakeNext(actor(8))).then([taken.clone()]);
    history.push(taken);
    // Who has one gets no other.
    given::<Review>(history.clone()).when(ReviewCommand::TakeNext(actor(7))).then([]);
    assert_eq!(Review::fold(history.clone()).next_for(actor(7)), Some(answer(2)));
    history.push(ReviewEvent::Scored(scored(2, 7)));
    given::<Review>(history.clone())
        .when(ReviewCommand::TakeNext(actor(7)))
        .then([ReviewEvent::ItemsAssigned(assigned(1, 7))]);
    history.push(ReviewEvent::Scored(scored(1, 7)));
    given::<Review>(history).when(ReviewCommand::TakeNext(actor(7))).refused("nothing_left");
}

#[test]
fn enough_people_are_enough() {
    let mut history = opened();
    history.push(ReviewEvent::Scored(scored(1, 7)));
    history.push(ReviewEvent::ItemsAssigned(assigned(1, 8)));
    given::<Review>(history.clone()).when(ReviewCommand::Score(scored(1, 6))).refused("enough_reviewers");
    given::<Review>(history.clone()).when(ReviewCommand::Assign(assigned(1, 6))).refused("enough_reviewers");
    let release = |by| ItemsReleased { items: vec![answer(1)], reviewer: actor(by), released_by: actor(9) };
    given::<Review>(history.clone()).when(ReviewCommand::Release(release(7))).refused("already_scored");
    given::<Review>(history.clone())
        .when(ReviewCommand::Release(release(8)))
        .then([ReviewEvent::ItemsReleased(release(8))]);
    history.push(ReviewEvent::ItemsReleased(release(8)));
    given::<Review>(history).when(ReviewCommand::Score(scored(1, 6))).then([ReviewEvent::Scored(scored(1, 6))]);
}

#[test]
fn a_score_has_a_value_for_each_thing_that_is_asked_and_for_nothing_else() {
    let given_values = |name: &str, value: Option<ScoreValue>| {
        let mut scored = scored(1, 7);
        match value {
            Some(value) => drop(scored.values.insert(name.to_owned(), value)),
            None => drop(scored.values.remove(name)),
        }
        scored
    };
    let bad = [
        given_values("correct", None),
        given_values("correct", Some(ScoreValue::Numeric(1.0))),
        given_values("helpful", Some(ScoreValue::Numeric(5.5))),
        given_values("tone", Some(ScoreValue::Category("hot".to_owned()))),
        given_values("other", Some(ScoreValue::Boolean(true))),
    ];
    for scored in bad {
        given::<Review>(opened()).when(ReviewCommand::Score(scored)).refused("invalid_score");
    }
    let mut history = opened();
    history.push(ReviewEvent::Scored(scored(1, 7)));
    given::<Review>(history.clone()).when(ReviewCommand::Score(scored(1, 7))).then([]);
    let revised = given_values("correct", Some(ScoreValue::Boolean(false)));
    given::<Review>(history).when(ReviewCommand::Score(revised.clone())).then([ReviewEvent::Scored(revised)]);
}

#[test]
fn a_closed_queue_takes_nothing_until_it_is_open_again() {
    let mut history = opened();
    history.push(ReviewEvent::Closed(Closed { closed_by: actor(9) }));
    given::<Review>(history.clone()).when(ReviewCommand::Close(actor(9))).then([]);
    given::<Review>(history.clone()).when(ReviewCommand::Score(scored(1, 7))).refused("review_closed");
    given::<Review>(history)
        .when(ReviewCommand::Reopen(actor(9)))
        .then([ReviewEvent::Reopened(Reopened { reopened_by: actor(9) })]);
    given::<Review>([]).when(ReviewCommand::Close(actor(9))).refused("review_not_found");
}

#[test]
fn a_verdict_is_overridden_with_a_reason_and_without_a_queue() {
    let happened = ReviewEvent::VerdictReplaced(verdict(true, "the unit is implied"));
    let same = ReviewCommand::Override(verdict(true, "the unit is implied"));
    given::<Review>([]).when(same.clone()).then([happened.clone()]);
    given::<Review>([happened.clone()]).when(same).then([]);
    given::<Review>([]).when(ReviewCommand::Override(verdict(true, " "))).refused("invalid_text");
    let withdrawn = VerdictRestored { execution_id: answer(1), restored_by: actor(9) };
    given::<Review>([happened])
        .when(ReviewCommand::WithdrawOverride(withdrawn.clone()))
        .then([ReviewEvent::VerdictRestored(withdrawn.clone())]);
    given::<Review>([]).when(ReviewCommand::WithdrawOverride(withdrawn)).refused("not_overridden");
}
