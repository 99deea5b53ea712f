//! Jobs on request: work of any kind but test executions, asked for one by one, each with exactly one recorded result.

mod decide;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::decide::{JobCommand, JobRejection};
use crate::aggregate::Aggregate;
use crate::event::events;
use crate::execution::FailureClass;
use crate::ids::ActorId;
use crate::test_run::Lane;
use crate::timestamp::Timestamp;

events! {
    /// What happened to a job.
    pub enum JobEvent in Job {
        /// Somebody asked for it, or the system itself.
        Requested(Requested) = "job.requested" version 1,
        /// An attempt failed; the next one starts at `retry_at`.
        AttemptFailed(AttemptFailed) = "job.attempt_failed" version 1,
        /// It is done: the one result.
        Finished(Finished) = "job.finished" version 1,
        /// No attempt is left, or none would help: the one result is an error.
        DeadLettered(DeadLettered) = "job.dead_lettered" version 1,
        /// Somebody no longer wants it; it has no result.
        Cancelled(Cancelled) = "job.cancelled" version 1,
        /// Somebody wants a dead letter to be tried again.
        Requeued(Requeued) = "job.requeued" version 1,
    }
}

/// Payload of `job.requested` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Requested {
    /// The kind of job, such as `swarm_agent`.
    pub kind: String,
    /// How important it is.
    pub lane: Lane,
    /// What is to be done, as its kind understands it.
    pub input: Map<String, Value>,
    /// Not to be begun before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Who asked for it; absent where the system did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<ActorId>,
}

/// Payload of `job.attempt_failed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AttemptFailed {
    /// Which attempt this was, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// The kind of error.
    pub class: FailureClass,
    /// For a person; at most [`crate::limits::ERROR_BYTES_MAX`] bytes.
    pub error: String,
    /// When the next attempt may start.
    pub retry_at: Timestamp,
}

/// Payload of `job.finished` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Finished {
    /// What came of it, as its kind says.
    pub output: Map<String, Value>,
    /// Which attempt this was, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
}

/// Payload of `job.dead_lettered` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct DeadLettered {
    /// Which attempt was the last, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// The kind of error.
    pub class: FailureClass,
    /// For a person; at most [`crate::limits::ERROR_BYTES_MAX`] bytes.
    pub error: String,
}

/// Payload of `job.cancelled` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Cancelled {
    /// Why, in their words; may be empty.
    pub reason: String,
    /// Who cancelled it.
    pub cancelled_by: ActorId,
}

/// Payload of `job.requeued` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Requeued {
    /// The number of the attempt that is made next.
    pub attempt: u16,
    /// Who wants it.
    pub requeued_by: ActorId,
}

/// A job as its history left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub enum Job {
    /// There is none.
    #[default]
    Absent,
    /// Waiting for its result.
    Waiting {
        /// What was asked for.
        request: Box<Requested>,
        /// How many attempts failed.
        failed_attempts: u16,
        /// How many of these were before it was last asked for.
        forgiven_attempts: u16,
    },
    /// It has its result.
    Finished(Box<Requested>),
    /// Its result is an error.
    Dead {
        /// What was asked for.
        request: Box<Requested>,
        /// How many attempts failed.
        failed_attempts: u16,
    },
    /// Nobody wants it any more.
    Cancelled(Box<Requested>),
}

impl Job {
    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> Option<&Requested> {
        match self {
            Self::Absent => None,
            Self::Waiting { request, .. }
            | Self::Finished(request)
            | Self::Dead { request, .. }
            | Self::Cancelled(request) => Some(request),
        }
    }

    /// Whether an attempt of this number is still to be made.
    #[must_use]
    pub fn wants(&self, attempt: u16) -> bool {
        matches!(self, Self::Waiting { failed_attempts, .. } if attempt > *failed_attempts)
    }
}

impl Aggregate for Job {
    type Command = JobCommand;
    type Event = JobEvent;
    type Rejection = JobRejection;

    fn decide(&self, command: JobCommand, at: Timestamp) -> Result<Vec<JobEvent>, JobRejection> {
        decide::decide(self, command, at)
    }

    fn evolve(&mut self, event: JobEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, JobEvent::Requested(e)) => {
                Self::Waiting { request: Box::new(e), failed_attempts: 0, forgiven_attempts: 0 }
            }
            (Self::Waiting { request, forgiven_attempts, .. }, JobEvent::AttemptFailed(e)) => {
                Self::Waiting { request, failed_attempts: e.attempt, forgiven_attempts }
            }
            (Self::Waiting { request, .. }, JobEvent::Finished(_)) => Self::Finished(request),
            (Self::Waiting { request, .. }, JobEvent::DeadLettered(e)) => {
                Self::Dead { request, failed_attempts: e.attempt }
            }
            (Self::Waiting { request, .. }, JobEvent::Cancelled(_)) => Self::Cancelled(request),
            (Self::Dead { request, failed_attempts }, JobEvent::Requeued(_)) => {
                Self::Waiting { request, failed_attempts, forgiven_attempts: failed_attempts }
            }
            (
                state,
                JobEvent::Requested(_)
                | JobEvent::AttemptFailed(_)
                | JobEvent::Finished(_)
                | JobEvent::DeadLettered(_)
                | JobEvent::Cancelled(_)
                | JobEvent::Requeued(_),
            ) => state,
        }
    }
}
