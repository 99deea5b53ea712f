//! Executions: one cell of a run's matrix, with exactly one recorded result.

mod backoff;
mod decide;
mod reading;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::decide::{ExecutionCommand, ExecutionRejection};
use crate::aggregate::Aggregate;
use crate::assertion::Grade;
use crate::data_subject::{Guarded, Subject, put_back};
use crate::event::events;
use crate::ids::{ExecutionId, PromptCardId, TestCaseId, TestRunId};
use crate::timestamp::Timestamp;
use crate::upcast::unchanged;

events! {
    /// What happened to an execution.
    pub enum ExecutionEvent in Execution {
        /// A model answered and the answer was graded: the one result.
        Finished(Finished) = "execution.finished" version 2
            formerly "execution.finished" version 1 with unchanged,
        /// An attempt failed; the next one starts at `retry_at`.
        AttemptFailed(AttemptFailed) = "execution.attempt_failed" version 2
            formerly "execution.attempt_failed" version 1 with unchanged,
        /// No attempt is left, or none would help: the one result is an error.
        DeadLettered(DeadLettered) = "execution.dead_lettered" version 2
            formerly "execution.dead_lettered" version 1 with unchanged,
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
/// Payload of `execution.finished` version 2.
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
}

/// Payload of `execution.attempt_failed` version 2.
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

/// Payload of `execution.dead_lettered` version 2.
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
        }
    }

    pub(crate) fn guarded(&mut self) -> &mut dyn Guarded {
        match self {
            Self::Finished(e) => e,
            Self::AttemptFailed(e) => e,
            Self::DeadLettered(e) => e,
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
}

impl FailureClass {
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
            | Self::SubjectShredded => false,
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
    },
    /// It has its result.
    Recorded,
}

impl Default for Execution {
    fn default() -> Self {
        Self::Waiting { failed_attempts: 0 }
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
            ExecutionEvent::Finished(_) | ExecutionEvent::DeadLettered(_) => Self::Recorded,
            ExecutionEvent::AttemptFailed(e) => Self::Waiting { failed_attempts: e.attempt },
        }
    }
}
