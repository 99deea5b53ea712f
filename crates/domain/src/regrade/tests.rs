//! Given, when, then of regrades.

use uuid::Uuid;

use super::*;
use crate::given::given;

fn request() -> Requested {
    Requested {
        name: "stricter".into(),
        run_id: TestRunId(Uuid::from_u128(1)),
        card_id: PromptCardId(Uuid::from_u128(2)),
        card_revision: 3,
        after: 10,
        until: 30,
        assertions: vec![Assertion::of_kind("is-json")],
        threshold: None,
        requested_by: ActorId(Uuid::from_u128(4)),
    }
}

fn graded(number: u128, passed_before: bool, passed: bool) -> Regraded {
    let grade = Grade { passed, score: 0.5, verdicts: Vec::new(), grader: None };
    Regraded { execution_id: ExecutionId(Uuid::from_u128(number)), subject: None, passed_before, grade }
}

fn requested() -> RegradeEvent {
    RegradeEvent::Requested(request())
}

fn record(after: i64, through: i64, grades: Vec<Regraded>) -> RegradeCommand {
    RegradeCommand::Record { after, through, grades }
}

#[test]
fn answers_are_graded_part_by_part_and_counted() {
    let first = vec![graded(1, true, false), graded(2, false, true)];
    let event = RegradeEvent::Graded(Graded { through: 20, grades: first.clone() });
    given::<Regrade>([requested()]).when(record(10, 20, first)).then([event.clone()]);
    let second = RegradeEvent::Graded(Graded { through: 30, grades: vec![graded(3, true, true)] });
    let totals =
        RegradeTotals { answers: 3, passed: 2, failed: 1, turned_to_passed: 1, turned_to_failed: 1, verdicts: 0 };
    let completed = RegradeEvent::Completed(Completed { totals });
    given::<Regrade>([requested(), event, second]).when(RegradeCommand::Complete).then([completed]);
}

#[test]
fn what_another_worker_has_graded_is_not_graded_again() {
    let event = RegradeEvent::Graded(Graded { through: 20, grades: vec![graded(1, true, true)] });
    let again = record(10, 20, vec![graded(1, true, true)]);
    given::<Regrade>([requested(), event.clone()]).when(again.clone()).refused("already_graded");
    given::<Regrade>([requested(), event.clone()]).when(record(20, 20, Vec::new())).refused("already_graded");
    let completed = RegradeEvent::Completed(Completed { totals: RegradeTotals::default() });
    given::<Regrade>([requested(), event.clone(), completed.clone()]).when(again).refused("already_graded");
    given::<Regrade>([requested(), event, completed]).when(RegradeCommand::Complete).then([]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let ask = |request: Requested| given::<Regrade>([]).when(RegradeCommand::Request(Box::new(request)));
    ask(request()).then([requested()]);
    ask(Requested { threshold: Some(1.5), ..request() }).refused("out_of_range");
    ask(Requested { name: "\0".into(), ..request() }).refused("invalid_text");
    ask(Requested { assertions: vec![Assertion::of_kind("is-json"); 101], ..request() }).refused("too_many_items");
    given::<Regrade>([requested()])
        .when(RegradeCommand::Request(Box::new(request())))
        .refused("regrade_already_exists");
    given::<Regrade>([]).when(RegradeCommand::Complete).refused("regrade_not_found");
}
