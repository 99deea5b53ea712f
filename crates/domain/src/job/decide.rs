//! What may happen to a job: commands, and the rules that refuse them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{AttemptFailed, Cancelled, DeadLettered, Finished, Job, JobEvent as Event, Requested, Requeued};
use crate::aggregate::RejectionCode;
use crate::execution::{FailureClass, backoff, cut};
use crate::ids::{ActorId, JobId};
use crate::jobs::{self, InputError};
use crate::limits;
use crate::timestamp::Timestamp;

/// What somebody wants to happen to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobCommand {
    /// Do it.
    Request(Box<Requested>),
    /// It is done.
    RecordResult {
        /// What came of it.
        output: Map<String, Value>,
        /// Which attempt, from 1.
        attempt: u16,
        /// Who did it.
        worker: String,
    },
    /// An attempt failed.
    RecordFailure {
        /// Which job: the pause before the next attempt is drawn from it.
        job: JobId,
        /// The kind of error.
        class: FailureClass,
        /// For a person.
        error: String,
        /// How long is to be waited at least.
        retry_after: Option<Duration>,
        /// Which attempt, from 1.
        attempt: u16,
        /// Who did it.
        worker: String,
    },
    /// Nobody wants it any more.
    Cancel {
        /// Why; may be empty.
        reason: String,
        /// Who cancels it.
        by: ActorId,
    },
    /// Try a dead letter again.
    Redrive {
        /// Who wants it.
        by: ActorId,
    },
}

/// Why a command on a job is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobRejection {
    /// The job does not exist.
    #[error("there is no such job")]
    NotFound,
    /// The job exists.
    #[error("the job already exists")]
    AlreadyExists,
    /// No worker does such jobs, or they are not asked for one by one.
    #[error("there is no kind of job {kind:?} that can be asked for; there are {}", jobs::on_request_names())]
    UnknownKind {
        /// The kind.
        kind: String,
    },
    /// The kind does not understand its input.
    #[error("the input of a {kind} job can't be read: {message}")]
    InvalidInput {
        /// The kind.
        kind: String,
        /// Where and why.
        message: String,
    },
    /// The input is too large.
    #[error("the input has {bytes} bytes and may have {max}")]
    InputTooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// It has its result, or was cancelled.
    #[error("the job is over")]
    Over,
    /// That attempt's failure is recorded, and a newer attempt is on its way.
    #[error("attempt {attempt} is over: {failed_attempts} attempts have failed")]
    StaleAttempt {
        /// The attempt of the report.
        attempt: u16,
        /// How many attempts failed.
        failed_attempts: u16,
    },
    /// There is no dead letter to be tried again.
    #[error("the job is no dead letter")]
    NoDeadLetter,
    /// A text is too long, or holds a NUL character.
    #[error("{field} must have at most {max} bytes and no NUL character")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// How many bytes it may have.
        max: usize,
    },
}

impl RejectionCode for JobRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "job_not_found",
            Self::AlreadyExists => "job_already_exists",
            Self::UnknownKind { .. } => "unknown_job_kind",
            Self::InvalidInput { .. } => "invalid_job_input",
            Self::InputTooLarge { .. } => "job_input_too_large",
            Self::Over => "job_over",
            Self::StaleAttempt { .. } => "stale_attempt",
            Self::NoDeadLetter => "no_dead_letter",
            Self::InvalidText { .. } => "invalid_text",
        }
    }
}

type Decision = Result<Vec<Event>, JobRejection>;

pub(super) fn decide(state: &Job, command: JobCommand, at: Timestamp) -> Decision {
    match (state, command) {
        (Job::Absent, JobCommand::Request(request)) => requested(*request),
        (_, JobCommand::Request(_)) => Err(JobRejection::AlreadyExists),
        (Job::Absent, _) => Err(JobRejection::NotFound),
        (Job::Waiting { .. }, JobCommand::RecordResult { output, attempt, worker }) => {
            Ok(vec![Event::Finished(Finished { output: without_nul(output), attempt, worker })])
        }
        (
            Job::Waiting { failed_attempts, forgiven_attempts, .. },
            JobCommand::RecordFailure { job, class, error, retry_after, attempt, worker },
        ) => {
            if attempt <= *failed_attempts {
                return Err(JobRejection::StaleAttempt { attempt, failed_attempts: *failed_attempts });
            }
            let error = cut(error, limits::ERROR_BYTES_MAX);
            let made = attempt.saturating_sub(*forgiven_attempts);
            Ok(vec![if class.is_retryable() && made < limits::ATTEMPTS_MAX {
                let retry_at = at.plus(backoff::pause(job.0, made, retry_after));
                Event::AttemptFailed(AttemptFailed { attempt, worker, class, error, retry_at })
            } else {
                Event::DeadLettered(DeadLettered { attempt, worker, class, error })
            }])
        }
        (Job::Waiting { .. }, JobCommand::Cancel { reason, by }) => {
            let max = limits::MESSAGE_BYTES_MAX;
            if reason.len() > max || reason.contains('\0') {
                return Err(JobRejection::InvalidText { field: "reason", max });
            }
            Ok(vec![Event::Cancelled(Cancelled { reason, cancelled_by: by })])
        }
        (Job::Dead { failed_attempts, .. }, JobCommand::Redrive { by }) => {
            let attempt = failed_attempts.saturating_add(1);
            Ok(vec![Event::Requeued(Requeued { attempt, requeued_by: by })])
        }
        (_, JobCommand::Redrive { .. }) => Err(JobRejection::NoDeadLetter),
        (
            Job::Finished(_) | Job::Dead { .. } | Job::Cancelled(_),
            JobCommand::RecordResult { .. } | JobCommand::RecordFailure { .. } | JobCommand::Cancel { .. },
        ) => Err(JobRejection::Over),
    }
}

fn requested(request: Requested) -> Decision {
    let max = limits::JOB_INPUT_BYTES_MAX;
    let bytes = Value::Object(request.input.clone()).to_string().len();
    if bytes > max {
        return Err(JobRejection::InputTooLarge { bytes, max });
    }
    if without_nul(request.input.clone()) != request.input {
        return Err(JobRejection::InvalidText { field: "input", max });
    }
    match jobs::check_input(&request.kind, &request.input) {
        Ok(()) => Ok(vec![Event::Requested(request)]),
        Err(InputError::UnknownKind) => Err(JobRejection::UnknownKind { kind: request.kind }),
        Err(InputError::Unreadable(message)) => Err(JobRejection::InvalidInput { kind: request.kind, message }),
    }
}

/// A model may say NUL; no text column of PostgreSQL can keep it.
fn without_nul(output: Map<String, Value>) -> Map<String, Value> {
    fn clean(value: Value) -> Value {
        match value {
            Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{FFFD}")),
            Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
            Value::Object(fields) => Value::Object(without_nul(fields)),
            other => other,
        }
    }
    output.into_iter().map(|(key, value)| (key.replace('\0', "\u{FFFD}"), clean(value))).collect()
}
