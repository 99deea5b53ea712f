//! Schedules: given events, when a command, then events.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::event::EventSet;
use crate::given::{Given, given, stored};
use ScheduleCommand as Command;
use ScheduleEvent as Event;

const ACTOR: ActorId = ActorId(Uuid::from_u128(1));

fn nightly() -> Created {
    let run = json!({ "card_id": Uuid::from_u128(7), "labels": ["production"], "models": [{ "id": "echo" }] });
    Created {
        name: "nightly".into(),
        cron: "0 3 * * *".into(),
        time_zone: "Europe/Berlin".into(),
        missed: MissedPolicy::RunOnce,
        run: serde_json::from_value(run).unwrap(),
        created_by: ACTOR,
    }
}

fn create(change: impl FnOnce(&mut Created)) -> Command {
    let mut created = nightly();
    change(&mut created);
    Command::Create(Box::new(created))
}

fn active() -> Given<Schedule> {
    given([Event::Created(nightly())])
}

fn paused() -> Event {
    Event::Paused(Paused { paused_by: ACTOR })
}

#[test]
fn a_schedule_has_times_that_can_be_read_and_come() {
    let absent = || given::<Schedule>([]);
    absent().when(create(|_| ())).then([Event::Created(nightly())]);
    absent().when(create(|new| new.cron = "every night".into())).refused("invalid_cron");
    absent().when(create(|new| new.time_zone = "Berlin".into())).refused("invalid_time_zone");
    absent().when(create(|new| new.cron = "0 0 31 2 *".into())).refused("never_due");
    absent().when(create(|new| new.name = "x".repeat(256))).refused("invalid_text");
    active().when(create(|_| ())).refused("schedule_already_exists");
}

#[test]
fn a_schedule_is_held_back_and_goes_on() {
    let schedule = active().when(Command::Resume { by: ACTOR }).nothing();
    let schedule = schedule.when(Command::Pause { by: ACTOR }).then([paused()]);
    let schedule = schedule.when(Command::Pause { by: ACTOR }).nothing();
    let resumed = Event::Resumed(Resumed { resumed_by: ACTOR });
    let state = schedule.when(Command::Resume { by: ACTOR }).then([resumed]).state();
    assert_eq!(state, Schedule::Active(nightly()));
}

#[test]
fn a_deleted_schedule_is_gone_for_good() {
    let deleted = || active().when(Command::Delete { by: ACTOR }).then([Event::Deleted(Deleted { deleted_by: ACTOR })]);
    deleted().when(Command::Resume { by: ACTOR }).refused("schedule_not_found");
    deleted().when(Command::Delete { by: ACTOR }).refused("schedule_not_found");
    deleted().when(create(|_| ())).refused("schedule_already_exists");
    given::<Schedule>([]).when(Command::Pause { by: ACTOR }).refused("schedule_not_found");
}

#[test]
fn a_time_without_its_run_is_told_and_changes_nothing() {
    let skip = Command::Skip { due_at: Timestamp::EPOCH, reason: "the card is archived".into() };
    let skipped = Event::Skipped(Skipped { due_at: Timestamp::EPOCH, reason: "the card is archived".into() });
    assert_eq!(active().when(skip).then([skipped]).state(), Schedule::Active(nightly()));
}

#[test]
fn a_run_is_named_after_its_schedule_and_time() {
    let (one, other) = (ScheduleId(Uuid::from_u128(1)), ScheduleId(Uuid::from_u128(2)));
    let later = Timestamp::EPOCH.plus(std::time::Duration::from_secs(60));
    assert_eq!(one.run_at(Timestamp::EPOCH), one.run_at(Timestamp::EPOCH));
    assert_ne!(one.run_at(Timestamp::EPOCH), one.run_at(later));
    assert_ne!(one.run_at(Timestamp::EPOCH), other.run_at(Timestamp::EPOCH));
}

#[test]
fn events_are_read_as_they_were_written() {
    for event in [Event::Created(nightly()), paused()] {
        assert_eq!(stored(&event), event);
        assert!(event.event_type().name.starts_with(Event::CATEGORY.name()));
    }
}
