//! Executions: given events, when a command, then events.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::event::EventSet;
use crate::given::{Chance, Given, given, stored};
use crate::limits::{ATTEMPTS_MAX, ERROR_BYTES_MAX, SNOOZES_MAX};
use ExecutionCommand as Command;
use ExecutionEvent as Event;

/// [`FailureClass::RateLimited`] is tried again too, but does not count.
const RETRYABLE: [FailureClass; 5] = [
    FailureClass::Overloaded,
    FailureClass::Connection,
    FailureClass::Timeout,
    FailureClass::Truncated,
    FailureClass::Worker,
];
const FINAL: [FailureClass; 11] = [
    FailureClass::WorkerLost,
    FailureClass::Expired,
    FailureClass::BadRequest,
    FailureClass::ContextOverflow,
    FailureClass::AuthFailed,
    FailureClass::ContentFiltered,
    FailureClass::MalformedResponse,
    FailureClass::OutputTooLarge,
    FailureClass::Grading,
    FailureClass::UnknownModel,
    FailureClass::SubjectShredded,
];

fn cell() -> ExecutionRef {
    let id = Uuid::from_u128;
    let (run_id, card_id, case_id) = (TestRunId(id(1)), PromptCardId(id(2)), TestCaseId(id(3)));
    ExecutionRef { run_id, card_id, version: 1, case_id, model: "echo".into(), repeat: 0 }
}

fn input() -> Map<String, Value> {
    json!({ "question": "6 * 3?" }).as_object().unwrap().clone()
}

fn answer() -> Answer {
    Answer {
        output: "18".to_owned(),
        latency_ms: 5,
        input_tokens: 3,
        output_tokens: 1,
        cost_micro_usd: Some(2),
        finish_reason: None,
        cached: false,
    }
}

fn grade() -> Grade {
    Grade { grader: None, passed: true, score: 1.0, verdicts: vec![] }
}

fn worker() -> String {
    "worker-1".to_owned()
}

fn result(attempt: u16) -> Command {
    Command::RecordResult {
        cell: cell(),
        subject: None,
        input: input(),
        answer: answer(),
        grade: grade(),
        attempt,
        worker: worker(),
    }
}

fn finished(attempt: u16) -> Event {
    Event::Finished(Finished {
        subject: None,
        cell: cell(),
        input: input(),
        answer: answer(),
        grade: grade(),
        attempt,
        worker: worker(),
    })
}

fn failure(class: FailureClass, error: &str) -> Failure {
    Failure { class, error: error.to_owned() }
}

fn failed(class: FailureClass, error: &str, retry_after: Option<Duration>, attempt: u16) -> Command {
    Command::RecordFailure(FailedAttempt {
        subject: None,
        cell: cell(),
        input: input(),
        failure: failure(class, error),
        retry_after,
        attempt,
        snoozes: 0,
        worker: worker(),
    })
}

/// The provider has no room, for the first time or again.
fn limited(attempt: u16, snoozes: u16, retry_after: Option<Duration>) -> Command {
    match failed(FailureClass::RateLimited, "429", retry_after, attempt) {
        Command::RecordFailure(failed) => Command::RecordFailure(FailedAttempt { snoozes, ..failed }),
        other => other,
    }
}

/// The one event that follows, which has to be a snooze.
#[track_caller]
fn snooze_of(state: Given<Execution>, command: Command) -> (Snoozed, Given<Execution>) {
    let (events, state) = state.when(command).events();
    match <[Event; 1]>::try_from(events).unwrap() {
        [Event::Snoozed(snooze)] => (snooze, state),
        [other] => panic!("{other:?}"),
    }
}

fn timeout(attempt: u16) -> Command {
    failed(FailureClass::Timeout, "slow", None, attempt)
}

fn dead(class: FailureClass, attempt: u16) -> Event {
    Event::DeadLettered(DeadLettered {
        subject: None,
        cell: cell(),
        input: input(),
        attempt,
        worker: worker(),
        failure: failure(class, "slow"),
    })
}

fn waiting() -> Given<Execution> {
    given([])
}

/// The one event that follows, which has to be a failed attempt.
#[track_caller]
fn retry_of(state: Given<Execution>, command: Command) -> (AttemptFailed, Given<Execution>) {
    let (events, state) = state.when(command).events();
    match <[Event; 1]>::try_from(events).unwrap() {
        [Event::AttemptFailed(retry)] => (retry, state),
        [other] => panic!("{other:?}"),
    }
}

#[test]
fn an_execution_has_one_result_only() {
    let recorded = || waiting().when(result(1)).then([finished(1)]);
    recorded().when(result(1)).refused("already_recorded");
    recorded().when(result(2)).refused("already_recorded");
    recorded().when(timeout(2)).refused("already_recorded");
    let dead = || given::<Execution>([dead(FailureClass::BadRequest, 1)]);
    dead().when(result(1)).refused("already_recorded");
    dead().when(timeout(2)).refused("already_recorded");
}

#[test]
fn failures_are_tried_again_until_no_attempt_is_left() {
    let mut state = waiting();
    for attempt in 1..ATTEMPTS_MAX {
        let (retry, next) = retry_of(state, timeout(attempt));
        assert_eq!((retry.attempt, retry.failure.class), (attempt, FailureClass::Timeout));
        assert!(retry.retry_at > Timestamp::EPOCH);
        state = next;
    }
    let end = state.when(timeout(ATTEMPTS_MAX)).then([dead(FailureClass::Timeout, ATTEMPTS_MAX)]);
    assert_eq!(end.state(), Execution::DeadLetter(cell().run_id));
}

#[test]
fn only_failures_that_could_go_better_are_tried_again() {
    for class in RETRYABLE {
        assert_eq!(retry_of(waiting(), failed(class, "slow", None, 1)).0.failure.class, class);
    }
    for class in FINAL {
        waiting().when(failed(class, "slow", None, 1)).then([dead(class, 1)]);
    }
}

#[test]
fn a_failure_of_an_older_attempt_is_stale_and_its_answer_is_not() {
    let after_two = || retry_of(waiting(), timeout(2)).1;
    assert_eq!(after_two().state(), Execution::Waiting { failed_attempts: 2, snoozes: 0 });
    after_two().when(timeout(1)).refused("stale_attempt");
    after_two().when(timeout(2)).refused("stale_attempt");
    after_two().when(failed(FailureClass::BadRequest, "slow", None, 2)).refused("stale_attempt");
    after_two().when(result(1)).then([finished(1)]);
    after_two().when(result(3)).then([finished(3)]);
    assert_eq!(retry_of(after_two(), timeout(3)).0.attempt, 3);
}

#[test]
fn the_provider_says_when_at_the_earliest() {
    let at = |retry_after| retry_of(waiting(), failed(FailureClass::Overloaded, "503", retry_after, 1)).0.retry_at;
    let second = Duration::from_secs(1);
    assert!(at(None) <= Timestamp::EPOCH.plus(second));
    assert_eq!(at(Some(90 * second)), Timestamp::EPOCH.plus(90 * second));
    assert_eq!(at(Some(Duration::MAX)), Timestamp::EPOCH.plus(3600 * second));
    assert_eq!(at(None), at(None));
}

#[test]
fn a_provider_without_room_costs_no_attempt() {
    let second = Duration::from_secs(1);
    let (snooze, state) = snooze_of(waiting(), limited(1, 0, Some(30 * second)));
    assert_eq!((snooze.attempt, snooze.snoozes), (1, 1));
    assert_eq!(snooze.until, Timestamp::EPOCH.plus(30 * second));
    let again = || snooze_of(waiting(), limited(1, 0, None)).1;
    again().when(limited(1, 0, None)).refused("stale_attempt");
    let (snooze, state) = snooze_of(state, limited(1, 1, None));
    assert_eq!((snooze.attempt, snooze.snoozes), (1, 2));
    // It was the first attempt all the time; the next one is snoozed anew.
    let Command::RecordFailure(timeout) = timeout(1) else { unreachable!("it is a failure") };
    let (retry, state) = retry_of(state, Command::RecordFailure(FailedAttempt { snoozes: 2, ..timeout }));
    assert_eq!(retry.attempt, 1);
    let (snooze, state) = snooze_of(state, limited(2, 0, None));
    assert_eq!((snooze.attempt, snooze.snoozes), (2, 1));
    state.when(result(2)).then([finished(2)]);
}

#[test]
fn a_provider_that_never_has_room_is_given_up() {
    let (retry, _) = retry_of(waiting(), limited(1, SNOOZES_MAX, None));
    assert_eq!(retry.failure.class, FailureClass::RateLimited);
    waiting().when(limited(ATTEMPTS_MAX, SNOOZES_MAX, None)).accepted();
}

#[test]
fn a_dead_letter_is_dismissed_once_and_an_answer_never() {
    let actor = ActorId(Uuid::from_u128(9));
    let dismiss = || Command::Dismiss { reason: "known".to_owned(), dismissed_by: actor };
    let dismissed =
        || Event::Dismissed(Dismissed { run_id: cell().run_id, reason: "known".to_owned(), dismissed_by: actor });
    let after = || given::<Execution>([dead(FailureClass::BadRequest, 1)]).when(dismiss()).then([dismissed()]);
    after().when(dismiss()).refused("no_dead_letter");
    after().when(result(1)).refused("already_recorded");
    given::<Execution>([finished(1)]).when(dismiss()).refused("no_dead_letter");
    waiting().when(dismiss()).refused("no_dead_letter");
}

#[test]
fn an_error_is_cut_between_characters_and_holds_no_nul() {
    let error = |text: &str| retry_of(waiting(), failed(FailureClass::Worker, text, None, 1)).0.failure.error;
    let fits = "x".repeat(ERROR_BYTES_MAX);
    assert_eq!(error(&fits), fits);
    assert_eq!(error(&format!("{fits}x")), fits);
    // The two bytes of the last letter lie on both sides of the limit.
    let cut = error(&format!("{}é", &fits[1..]));
    assert_eq!(cut, &fits[1..]);
    assert_eq!(error("a\0b"), "a\u{FFFD}b");
    assert!(error(&"\0".repeat(ERROR_BYTES_MAX * 2)).len() <= ERROR_BYTES_MAX);
}

#[test]
fn an_id_is_derived_from_the_cell_and_from_all_of_it_but_the_card() {
    let others = [
        ExecutionRef { run_id: TestRunId(Uuid::from_u128(9)), ..cell() },
        ExecutionRef { version: 2, ..cell() },
        ExecutionRef { case_id: TestCaseId(Uuid::from_u128(9)), ..cell() },
        ExecutionRef { model: "echo:2".into(), ..cell() },
        ExecutionRef { repeat: 1, ..cell() },
    ];
    let mut ids: Vec<ExecutionId> = others.iter().map(ExecutionRef::id).collect();
    ids.push(cell().id());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert_eq!(cell().id(), cell().id());
    // A model's name can't pretend to be another cell.
    let (one, other) =
        (ExecutionRef { repeat: 1, model: "1/echo".into(), ..cell() }, ExecutionRef { repeat: 11, ..cell() });
    assert_ne!(one.id(), other.id());
}

#[test]
fn a_class_is_called_as_it_is_written() {
    for class in RETRYABLE.into_iter().chain(FINAL).chain([FailureClass::RateLimited]) {
        assert_eq!(serde_json::to_value(class).unwrap(), class.name());
    }
}

#[test]
fn events_are_read_as_they_were_written() {
    let retry = Event::AttemptFailed(retry_of(waiting(), timeout(1)).0);
    for event in [finished(1), retry, dead(FailureClass::Grading, 5)] {
        assert_eq!(stored(&event), event);
        assert!(event.event_type().name.starts_with(Event::CATEGORY.name()));
    }
}

#[test]
fn whatever_workers_report_there_is_at_most_one_result_and_it_is_the_last_event() {
    for seed in 0..2_000 {
        let mut chance = Chance::new(seed);
        let mut live = Execution::default();
        let mut log = Vec::new();
        for _ in 0..12 {
            let attempt = u16::try_from(chance.below(u64::from(ATTEMPTS_MAX) + 2)).unwrap();
            let command = match chance.below(12) {
                0 => result(attempt),
                1 => failed(chance.pick(&FINAL), "é\0", None, attempt),
                2 => limited(attempt, u16::try_from(chance.below(4)).unwrap(), None),
                _ => failed(chance.pick(&RETRYABLE), "x", chance.pick(&[None, Some(Duration::MAX)]), attempt),
            };
            for event in live.decide(command, Timestamp::EPOCH).unwrap_or_default() {
                log.push(stored(&event));
                live.evolve(event);
            }
        }
        assert_eq!(Execution::fold(log.clone()), live, "seed {seed}");
        let is_result = |event: &Event| matches!(event, Event::Finished(_) | Event::DeadLettered(_));
        let results = log.iter().filter(|event| is_result(event)).count();
        let ends = log.last().is_some_and(is_result);
        let has_ended = !matches!(live, Execution::Waiting { .. });
        assert_eq!((results == 1, results), (ends, usize::from(has_ended)), "seed {seed}");
    }
}
