//! What may happen to an execution: results and failures, and the rules that refuse a second one.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    Answer, AttemptFailed, DeadLettered, Dismissed, Execution, ExecutionEvent as Event, ExecutionRef, Failure,
    FailureClass, Finished, Snoozed, backoff,
};
use crate::aggregate::RejectionCode;
use crate::assertion::Grade;
use crate::data_subject::Subject;
use crate::ids::ActorId;
use crate::limits;
use crate::timestamp::Timestamp;

/// What a worker reports of an execution.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutionCommand {
    /// A graded answer.
    RecordResult {
        /// Which cell.
        cell: ExecutionRef,
        /// Whose data the case is made of.
        subject: Option<Subject>,
        /// The case's variables.
        input: Map<String, Value>,
        /// The answer.
        answer: Answer,
        /// The verdicts on it.
        grade: Grade,
        /// Which attempt, from 1.
        attempt: u16,
        /// Who did it.
        worker: String,
    },
    /// An attempt without an answer.
    RecordFailure(FailedAttempt),
    /// A dead letter has been seen, and nothing shall be done about it.
    Dismiss {
        /// Why; may be empty.
        reason: String,
        /// Who dismisses it.
        dismissed_by: ActorId,
    },
}

/// An attempt without an answer, as a worker reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// Which cell.
    pub cell: ExecutionRef,
    /// Whose data the case is made of.
    pub subject: Option<Subject>,
    /// The case's variables.
    pub input: Map<String, Value>,
    /// What went wrong.
    pub failure: Failure,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// How often this attempt was snoozed before.
    pub snoozes: u16,
    /// Who did it.
    pub worker: String,
}

/// Why a report is refused, which means that the worker has nothing left to do, or a dismissal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExecutionRejection {
    /// The execution has its one result.
    #[error("the execution already has its result")]
    AlreadyRecorded,
    /// That attempt's failure is recorded, and a newer attempt is on its way.
    #[error("attempt {attempt} is over: {failed_attempts} attempts have failed")]
    StaleAttempt {
        /// The attempt of the report.
        attempt: u16,
        /// How many attempts failed.
        failed_attempts: u16,
    },
    /// There is no dead letter to dismiss.
    #[error("the execution is no dead letter")]
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

impl RejectionCode for ExecutionRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyRecorded => "already_recorded",
            Self::StaleAttempt { .. } => "stale_attempt",
            Self::NoDeadLetter => "no_dead_letter",
            Self::InvalidText { .. } => "invalid_text",
        }
    }
}

pub(super) fn decide(
    state: &Execution,
    command: ExecutionCommand,
    at: Timestamp,
) -> Result<Vec<Event>, ExecutionRejection> {
    match (state, command) {
        (Execution::DeadLetter(run_id), ExecutionCommand::Dismiss { reason, dismissed_by }) => {
            let max = limits::MESSAGE_BYTES_MAX;
            if reason.len() > max || reason.contains('\0') {
                return Err(ExecutionRejection::InvalidText { field: "reason", max });
            }
            Ok(vec![Event::Dismissed(Dismissed { run_id: *run_id, reason, dismissed_by })])
        }
        (_, ExecutionCommand::Dismiss { .. }) => Err(ExecutionRejection::NoDeadLetter),
        (Execution::Recorded | Execution::DeadLetter(_), _) => Err(ExecutionRejection::AlreadyRecorded),
        // An answer of an older attempt is as good as one of the newest: it was asked for and paid.
        (
            Execution::Waiting { .. },
            ExecutionCommand::RecordResult { cell, subject, input, mut answer, mut grade, attempt, worker },
        ) => {
            // A model may say NUL; no text column of PostgreSQL can keep it.
            answer.output = without_nul(answer.output);
            answer.finish_reason = answer.finish_reason.map(without_nul);
            for verdict in &mut grade.verdicts {
                verdict.reason = without_nul(std::mem::take(&mut verdict.reason));
            }
            Ok(vec![Event::Finished(Finished { cell, subject, input, answer, grade, attempt, worker })])
        }
        (Execution::Waiting { failed_attempts, snoozes }, ExecutionCommand::RecordFailure(failed)) => {
            let FailedAttempt { attempt, snoozes: snooze, .. } = failed;
            let is_next = attempt == failed_attempts.saturating_add(1);
            if attempt <= *failed_attempts || (is_next && snooze < *snoozes) {
                return Err(ExecutionRejection::StaleAttempt { attempt, failed_attempts: *failed_attempts });
            }
            Ok(vec![after_failure(failed, at)])
        }
    }
}

/// What follows from a failed attempt: it is snoozed, made once more, or given up.
fn after_failure(failed: FailedAttempt, at: Timestamp) -> Event {
    let FailedAttempt { cell, subject, input, failure, retry_after, attempt, snoozes, worker } = failed;
    let pause = |number| at.plus(backoff::pause(cell.id().0, number, retry_after));
    let failure = Failure { class: failure.class, error: cut(failure.error, limits::ERROR_BYTES_MAX) };
    let class = failure.class;
    if class == FailureClass::RateLimited && snoozes < limits::SNOOZES_MAX {
        let (snoozes, until) = (snoozes + 1, pause(snoozes + 1));
        Event::Snoozed(Snoozed { cell, attempt, snoozes, worker, class, until })
    } else if class.is_retryable() && attempt < limits::ATTEMPTS_MAX {
        let retry_at = pause(attempt);
        Event::AttemptFailed(AttemptFailed { cell, subject, attempt, worker, failure, retry_at })
    } else {
        Event::DeadLettered(DeadLettered { cell, subject, input, attempt, worker, failure })
    }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

pub(crate) fn cut(text: String, bytes_max: usize) -> String {
    // Before cutting: the replacement is longer than what it replaces.
    let mut text = without_nul(text);
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}
