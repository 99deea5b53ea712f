//! Schedules: runs that are requested again and again, at the times of a cron expression.

mod calendar;
mod decide;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::calendar::{Calendar, CalendarError};
pub use self::decide::{ScheduleCommand, ScheduleRejection};
use crate::aggregate::Aggregate;
use crate::event::events;
use crate::ids::{ActorId, ScheduleId, TestRunId};
use crate::test_run::RunTemplate;
use crate::timestamp::Timestamp;
use crate::upcast::unchanged;

events! {
    /// What happened to a schedule.
    #[expect(clippy::large_enum_variant, reason = "few events are of schedules, and one is moved once")]
    pub enum ScheduleEvent in Schedule {
        /// Somebody made it; its runs are theirs.
        Created(Created) = "schedule.created" version 2
            formerly "schedule.created" version 1 with unchanged,
        /// It is held back.
        Paused(Paused) = "schedule.paused" version 1,
        /// It goes on.
        Resumed(Resumed) = "schedule.resumed" version 1,
        /// A time passed without its run, and why.
        Skipped(Skipped) = "schedule.skipped" version 1,
        /// It ends.
        Deleted(Deleted) = "schedule.deleted" version 1,
    }
}

/// Payload of `schedule.created` version 2.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Created {
    /// How people call it.
    pub name: String,
    /// When: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// The time zone of these, such as `Europe/Berlin`.
    pub time_zone: String,
    /// What becomes of times that pass while nobody looks.
    #[serde(default)]
    pub missed: MissedPolicy,
    /// What is run.
    pub run: RunTemplate,
    /// Who made it.
    pub created_by: ActorId,
}

/// What becomes of times that pass while no scheduler is there.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    /// The latest of them is made up for.
    #[default]
    RunOnce,
    /// Nothing: the next run is at the next time.
    Skip,
}

/// Payload of `schedule.paused` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Paused {
    /// Who paused it.
    pub paused_by: ActorId,
}

/// Payload of `schedule.resumed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Resumed {
    /// Who resumed it.
    pub resumed_by: ActorId,
}

/// Payload of `schedule.skipped` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Skipped {
    /// Which time.
    pub due_at: Timestamp,
    /// Why there is no run of it.
    pub reason: String,
}

/// Payload of `schedule.deleted` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Deleted {
    /// Who deleted it.
    pub deleted_by: ActorId,
}

/// A schedule as its history left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub enum Schedule {
    /// There is none.
    #[default]
    Absent,
    /// It is due at its times.
    Active(Created),
    /// It is held back.
    Paused(Created),
    /// It has ended.
    Deleted(Created),
}

impl Schedule {
    /// What was asked for.
    #[must_use]
    pub fn created(&self) -> Option<&Created> {
        match self {
            Self::Absent => None,
            Self::Active(created) | Self::Paused(created) | Self::Deleted(created) => Some(created),
        }
    }
}

impl Created {
    /// Its calendar.
    ///
    /// # Errors
    /// [`CalendarError`] where it can't be read; what `decide` let in can be.
    pub fn calendar(&self) -> Result<Calendar, CalendarError> {
        Calendar::parse(&self.cron, &self.time_zone)
    }
}

impl ScheduleId {
    /// The id of the run of one of its times: whoever computes it, and however often, gets the same.
    #[must_use]
    pub fn run_at(self, due_at: Timestamp) -> TestRunId {
        TestRunId(uuid::Uuid::new_v5(&self.0, due_at.to_string().as_bytes()))
    }
}

impl Aggregate for Schedule {
    type Command = ScheduleCommand;
    type Event = ScheduleEvent;
    type Rejection = ScheduleRejection;

    fn decide(&self, command: ScheduleCommand, at: Timestamp) -> Result<Vec<ScheduleEvent>, ScheduleRejection> {
        decide::decide(self, command, at)
    }

    fn evolve(&mut self, event: ScheduleEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, ScheduleEvent::Created(e)) => Self::Active(e),
            (Self::Active(created), ScheduleEvent::Paused(_)) => Self::Paused(created),
            (Self::Paused(created), ScheduleEvent::Resumed(_)) => Self::Active(created),
            (Self::Active(created) | Self::Paused(created), ScheduleEvent::Deleted(_)) => Self::Deleted(created),
            (
                state,
                ScheduleEvent::Created(_)
                | ScheduleEvent::Paused(_)
                | ScheduleEvent::Resumed(_)
                | ScheduleEvent::Skipped(_)
                | ScheduleEvent::Deleted(_),
            ) => state,
        }
    }
}
