//! Jobs: given events, when a command, then events.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::event::EventSet;
use crate::given::{Given, given, stored};
use crate::ids::JobId;
use crate::limits;
use JobCommand as Command;
use JobEvent as Event;

const ACTOR: ActorId = ActorId(Uuid::from_u128(1));
const JOB: JobId = JobId(Uuid::from_u128(9));

fn retention() -> Requested {
    Requested {
        kind: "maintenance".into(),
        lane: Lane::Bulk,
        input: json!({ "task": "retention" }).as_object().cloned().unwrap(),
        not_before: None,
        requested_by: Some(ACTOR),
    }
}

fn request(change: impl FnOnce(&mut Requested)) -> Command {
    let mut request = retention();
    change(&mut request);
    Command::Request(Box::new(request))
}

fn waiting() -> Given<Job> {
    given([Event::Requested(retention())])
}

fn fail(attempt: u16, class: FailureClass) -> Command {
    let (error, worker) = ("no".to_owned(), "w".to_owned());
    Command::RecordFailure { job: JOB, class, error, retry_after: None, attempt, worker }
}

fn dead(attempt: u16, class: FailureClass) -> Event {
    Event::DeadLettered(DeadLettered { attempt, worker: "w".into(), class, error: "no".into() })
}

fn finish(attempt: u16) -> Command {
    Command::RecordResult { output: Map::new(), attempt, worker: "w".into() }
}

fn cancel() -> Command {
    Command::Cancel { reason: "too late".into(), by: ACTOR }
}

#[test]
fn what_its_kind_understands_is_requested() {
    given::<Job>([]).when(request(|_| ())).then([Event::Requested(retention())]);
    waiting().when(request(|_| ())).refused("job_already_exists");
}

#[test]
fn what_no_worker_could_do_is_refused_at_once() {
    let refused = |change: fn(&mut Requested), code| given::<Job>([]).when(request(change)).refused(code);
    refused(|r| r.kind = "dishes".into(), "unknown_job_kind");
    refused(|r| r.kind = "test_execution".into(), "unknown_job_kind");
    refused(|r| drop(r.input.insert("task".into(), json!("juggle"))), "invalid_job_input");
    refused(
        |r| drop(r.input.insert("keep".into(), json!("x".repeat(limits::JOB_INPUT_BYTES_MAX)))),
        "job_input_too_large",
    );
    refused(|r| drop(r.input.insert("task".into(), json!("a\0b"))), "invalid_text");
}

#[test]
fn it_has_one_result() {
    let finished = Event::Finished(Finished { output: Map::new(), attempt: 1, worker: "w".into() });
    let done = || waiting().when(finish(1)).then([finished.clone()]);
    done().when(finish(1)).refused("job_over");
    done().when(fail(1, FailureClass::Worker)).refused("job_over");
    done().when(cancel()).refused("job_over");
    done().when(Command::Redrive { by: ACTOR }).refused("no_dead_letter");
    given::<Job>([]).when(finish(1)).refused("job_not_found");
}

#[test]
fn a_failed_attempt_is_made_again_until_none_is_left() {
    let mut job = Job::default();
    job.evolve(Event::Requested(retention()));
    for attempt in 1..limits::ATTEMPTS_MAX {
        let events = job.decide(fail(attempt, FailureClass::Timeout), Timestamp::EPOCH).unwrap();
        let [Event::AttemptFailed(failed)] = &events[..] else { panic!("{events:?}") };
        assert!(failed.retry_at > Timestamp::EPOCH);
        job.evolve(events[0].clone());
        assert!(!job.wants(attempt) && job.wants(attempt + 1));
        assert_eq!(
            job.decide(fail(attempt, FailureClass::Timeout), Timestamp::EPOCH).unwrap_err().to_string(),
            format!("attempt {attempt} is over: {attempt} attempts have failed")
        );
    }
    let last = job.decide(fail(limits::ATTEMPTS_MAX, FailureClass::Timeout), Timestamp::EPOCH).unwrap();
    assert_eq!(last, [dead(limits::ATTEMPTS_MAX, FailureClass::Timeout)]);
}

#[test]
fn what_another_attempt_would_not_mend_is_dead_at_once() {
    waiting().when(fail(1, FailureClass::BadRequest)).then([dead(1, FailureClass::BadRequest)]);
}

#[test]
fn it_is_not_made_again_before_it_may_be() {
    let (error, worker, retry_after) = ("busy".to_owned(), "w".to_owned(), Some(Duration::from_secs(90)));
    let busy =
        Command::RecordFailure { job: JOB, class: FailureClass::Overloaded, error, retry_after, attempt: 1, worker };
    let mut job = Job::default();
    job.evolve(Event::Requested(retention()));
    let events = job.decide(busy, Timestamp::EPOCH).unwrap();
    let [Event::AttemptFailed(failed)] = &events[..] else { panic!("{events:?}") };
    assert!(failed.retry_at >= Timestamp::EPOCH.plus(Duration::from_secs(90)));
}

#[test]
fn a_dead_letter_is_tried_again_with_all_its_attempts() {
    let requeued = Event::Requeued(Requeued { attempt: 2, requeued_by: ACTOR });
    let again = || {
        given([Event::Requested(retention()), dead(1, FailureClass::BadRequest)])
            .when(Command::Redrive { by: ACTOR })
            .then([requeued.clone()])
    };
    let Job::Waiting { failed_attempts: 1, forgiven_attempts: 1, .. } = again().state() else { panic!() };
    // The fifth attempt of its life, the fourth of this one: not the last.
    let events = again().state().decide(fail(5, FailureClass::Timeout), Timestamp::EPOCH).unwrap();
    assert!(matches!(events[..], [Event::AttemptFailed(_)]), "{events:?}");
    again().when(fail(6, FailureClass::Timeout)).then([dead(6, FailureClass::Timeout)]);
    again().when(fail(1, FailureClass::Timeout)).refused("stale_attempt");
}

#[test]
fn what_is_cancelled_has_no_result() {
    let cancelled = Event::Cancelled(Cancelled { reason: "too late".into(), cancelled_by: ACTOR });
    let gone = || waiting().when(cancel()).then([cancelled.clone()]);
    gone().when(finish(1)).refused("job_over");
    gone().when(cancel()).refused("job_over");
    let long = Command::Cancel { reason: "x".repeat(limits::MESSAGE_BYTES_MAX + 1), by: ACTOR };
    waiting().when(long).refused("invalid_text");
}

#[test]
fn what_a_column_can_not_keep_is_replaced() {
    let output = json!({ "a": ["x\0y", { "b\0": "\0" }] }).as_object().cloned().unwrap();
    let kept = json!({ "a": ["x\u{FFFD}y", { "b\u{FFFD}": "\u{FFFD}" }] }).as_object().cloned().unwrap();
    let finished = Event::Finished(Finished { output: kept, attempt: 1, worker: "w".into() });
    waiting().when(Command::RecordResult { output, attempt: 1, worker: "w".into() }).then([finished]);
}

#[test]
fn events_are_read_as_they_were_written() {
    for event in [Event::Requested(retention()), dead(3, FailureClass::WorkerLost)] {
        assert_eq!(stored(&event), event);
        assert!(event.event_type().name.starts_with(Event::CATEGORY.name()));
    }
}
