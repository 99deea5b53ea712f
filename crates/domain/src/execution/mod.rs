//! Executions: one cell of a run's matrix, with exactly one recorded result.

pub(crate) mod backoff;
mod decide;
mod reading;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub(crate) use self::decide::cut;
pub use self::decide::{ExecutionCommand, ExecutionRejection, FailedAttempt};
use crate::aggregate::Aggregate;
use crate::assertion::Grade;
use crate::data_subject::{Guarded, Subject, put_back};
use crate::event::events;
use crate::ids::{ActorId, ExecutionId, PromptCardId, TestCaseId, TestRunId};
use crate::timestamp::Timestamp;
use crate::upcast::unchanged;

events! {
    /// What happened to an execution.
    pub enum ExecutionEvent in Execution {
        /// A model answered and the answer was graded: the one result.
        Finished(Finished) = "execution.finished" version 4
            formerly "execution.finished" version 1 with unchanged
            formerly "execution.finished" version 2 with unchanged
            formerly "execution.finished" version 3,
        /// An attempt failed; the next one starts at `retry_at`.
        AttemptFailed(AttemptFailed) = "execution.attempt_failed" version 3
            formerly "execution.attempt_failed" version 1 with unchanged
            formerly "execution.attempt_failed" version 2 with unchanged,
        /// No attempt is left, or none would help: the one result is an error.
        DeadLettered(DeadLettered) = "execution.dead_lettered" version 3
            formerly "execution.dead_lettered" version 1 with unchanged
            formerly "execution.dead_lettered" version 2 with unchanged,
        /// The provider had no room: the attempt does not count, and is made again at `until`.
        Snoozed(Snoozed) = "execution.snoozed" version 1,
        /// Somebody has seen the dead letter and wants nothing to be done about it.
        Dismissed(Dismissed) = "execution.dismissed" version 1,
    }
}

/// Which cell of which run an execution is.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub struct ExecutionRef {
    /// The run.
    pub run_id: TestRunId,
    /// The card.
    pub card_id: PromptCardId,
    /// The prompt version.
    pub version: u32,
    /// The case.
    pub case_id: TestCaseId,
    /// The model's name in the run.
    pub model: String,
    /// Which repeat, from 0.
    pub repeat: u16,
}

impl ExecutionRef {
    /// The execution's id, derived from its cell: whoever computes it, and however often, gets the same.
    #[must_use]
    pub fn id(&self) -> ExecutionId {
        let cell = format!("{}/{}/{}/{}", self.version, self.case_id, self.repeat, self.model);
        ExecutionId(Uuid::new_v5(&self.run_id.0, cell.as_bytes()))
    }
}

// Deserialize is in `reading`.
/// Payload of `execution.finished` version 4.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct Finished {
    /// Which cell this is.
    #[serde(flatten)]
    pub cell: ExecutionRef,
    /// Whose data the case is made of, where it is a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The case's variables.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub input: Map<String, Value>,
    /// The answer and what it took.
    #[serde(flatten)]
    pub answer: Answer,
    /// The verdicts.
    #[serde(flatten)]
    pub grade: Grade,
    /// Which attempt this was, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
}

impl Finished {
    /// What the answer and all judges cost together, in millionths of a US dollar; absent unless each price is known.
    #[must_use]
    pub fn cost_micro_usd(&self) -> Option<u64> {
        let judges = self.grade.verdicts.iter().flat_map(|verdict| &verdict.judgements);
        judges
            .map(|call| call.cost_micro_usd)
            .fold(self.answer.cost_micro_usd, |sum, cost| Some(sum?.saturating_add(cost?)))
    }
}

/// A model's answer and what it took.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Answer {
    /// The text.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub output: String,
    /// From the call to its last byte, in milliseconds.
    pub latency_ms: u64,
    /// Tokens of the prompt, as the provider counted them.
    pub input_tokens: u64,
    /// Tokens of the answer, as the provider counted them.
    pub output_tokens: u64,
    /// What it cost, in millionths of a US dollar; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
    /// Why the answer ended, as the provider said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Whether the model was not asked, because the same question was answered before; then it cost nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cached: bool,
}

// serde calls it with a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Payload of `execution.attempt_failed` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AttemptFailed {
    /// Which cell this is.
    #[serde(flatten)]
    pub cell: ExecutionRef,
    /// Whose data the case is made of, where it is a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Which attempt this was, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// What went wrong.
    #[serde(flatten)]
    pub failure: Failure,
    /// When the next attempt may start.
    pub retry_at: Timestamp,
}

/// Payload of `execution.dead_lettered` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct DeadLettered {
    /// Which cell this is.
    #[serde(flatten)]
    pub cell: ExecutionRef,
    /// Whose data the case is made of, where it is a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The case's variables.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub input: Map<String, Value>,
    /// Which attempt was the last, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// What went wrong in the last attempt; the earlier ones are events of their own.
    #[serde(flatten)]
    pub failure: Failure,
}

/// Payload of `execution.snoozed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Snoozed {
    /// Which cell this is.
    #[serde(flatten)]
    pub cell: ExecutionRef,
    /// Which attempt is snoozed, from 1; the next try has the same number.
    pub attempt: u16,
    /// How often this attempt was snoozed, this time included.
    pub snoozes: u16,
    /// Who met the limit.
    pub worker: String,
    /// Why there was no room.
    pub class: FailureClass,
    /// When the attempt may be made again.
    pub until: Timestamp,
}

/// Payload of `execution.dismissed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Dismissed {
    /// Which run it is of.
    pub run_id: TestRunId,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// Who dismissed it.
    pub dismissed_by: ActorId,
}

/// A payload whose fields may be sealed.
macro_rules! guarded {
    ($($payload:ty),*) => { $(
        impl Guarded for $payload {
            fn subject(&self) -> Option<&Subject> {
                self.subject.as_ref()
            }

            fn subject_mut(&mut self) -> Option<&mut Subject> {
                self.subject.as_mut()
            }

            fn put_back(&mut self, fields: Map<String, Value>) -> Result<(), serde_json::Error> {
                put_back(self, fields)
            }
        }
    )* };
}
guarded!(Finished, AttemptFailed, DeadLettered);

impl ExecutionEvent {
    /// Whose data the case is made of, where it is a person's.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Finished(e) => e.subject.as_ref(),
            Self::AttemptFailed(e) => e.subject.as_ref(),
            Self::DeadLettered(e) => e.subject.as_ref(),
            Self::Snoozed(_) | Self::Dismissed(_) => None,
        }
    }

    pub(crate) fn guarded(&mut self) -> Option<&mut dyn Guarded> {
        match self {
            Self::Finished(e) => Some(e),
            Self::AttemptFailed(e) => Some(e),
            Self::DeadLettered(e) => Some(e),
            Self::Snoozed(_) | Self::Dismissed(_) => None,
        }
    }
}

/// What went wrong in an attempt.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Failure {
    /// The kind of error.
    pub class: FailureClass,
    /// For a person; at most [`crate::limits::ERROR_BYTES_MAX`] bytes. It may quote the case or the answer.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub error: String,
}

/// Kinds of errors of an attempt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The provider's rate limit.
    RateLimited,
    /// The provider has too much to do, or a server error.
    Overloaded,
    /// No connection, or it broke.
    Connection,
    /// No answer in time.
    Timeout,
    /// The answer broke off.
    Truncated,
    /// The provider calls the request wrong.
    BadRequest,
    /// The prompt is longer than the model's context.
    ContextOverflow,
    /// The provider refuses the credentials.
    AuthFailed,
    /// The provider filters the content.
    ContentFiltered,
    /// The answer is not of the provider's format.
    MalformedResponse,
    /// The answer is larger than may be recorded.
    OutputTooLarge,
    /// The prompt can't be rendered or the output can't be graded.
    Grading,
    /// The model, provider or recording is not known to the worker.
    UnknownModel,
    /// The worker itself failed.
    Worker,
    /// The case is made of a data subject's data, and their key was destroyed.
    SubjectShredded,
    /// Workers that had it were lost, again and again: it may be what ends them.
    WorkerLost,
    /// It was not begun within the time that its run allows.
    Expired,
}

impl FailureClass {
    /// The word in events, tables and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::BadRequest => "bad_request",
            Self::ContextOverflow => "context_overflow",
            Self::AuthFailed => "auth_failed",
            Self::ContentFiltered => "content_filtered",
            Self::MalformedResponse => "malformed_response",
            Self::OutputTooLarge => "output_too_large",
            Self::Grading => "grading",
            Self::UnknownModel => "unknown_model",
            Self::Worker => "worker",
            Self::SubjectShredded => "subject_shredded",
            Self::WorkerLost => "worker_lost",
            Self::Expired => "expired",
        }
    }

    /// Whether another attempt could go better.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Connection
            | Self::Timeout
            | Self::Truncated
            | Self::Worker => true,
            Self::BadRequest
            | Self::ContextOverflow
            | Self::AuthFailed
            | Self::ContentFiltered
            | Self::MalformedResponse
            | Self::OutputTooLarge
            | Self::Grading
            | Self::UnknownModel
            | Self::SubjectShredded
            | Self::WorkerLost
            | Self::Expired => false,
        }
    }
}

/// An execution as its history left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Execution {
    /// Waiting for its result.
    Waiting {
        /// How many attempts failed.
        failed_attempts: u16,
        /// How often the attempt after these was snoozed.
        snoozes: u16,
    },
    /// It has its result: an answer, or an error that somebody has dismissed.
    Recorded,
    /// Its result is an error that is still to be looked at.
    DeadLetter(TestRunId),
}

impl Default for Execution {
    fn default() -> Self {
        Self::Waiting { failed_attempts: 0, snoozes: 0 }
    }
}

impl Aggregate for Execution {
    type Command = ExecutionCommand;
    type Event = ExecutionEvent;
    type Rejection = ExecutionRejection;

    fn decide(&self, command: ExecutionCommand, at: Timestamp) -> Result<Vec<ExecutionEvent>, ExecutionRejection> {
        decide::decide(self, command, at)
    }

    fn evolve(&mut self, event: ExecutionEvent) {
        *self = match event {
            ExecutionEvent::Finished(_) | ExecutionEvent::Dismissed(_) => Self::Recorded,
            ExecutionEvent::DeadLettered(e) => Self::DeadLetter(e.cell.run_id),
            ExecutionEvent::AttemptFailed(e) => Self::Waiting { failed_attempts: e.attempt, snoozes: 0 },
            ExecutionEvent::Snoozed(e) => {
                Self::Waiting { failed_attempts: e.attempt.saturating_sub(1), snoozes: e.snoozes }
            }
        }
    }
}
