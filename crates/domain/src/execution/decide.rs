//! What may happen to an execution: results and failures, and the rules that refuse a second one.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    Answer, AttemptFailed, DeadLettered, Execution, ExecutionEvent as Event, ExecutionRef, Failure, Finished, backoff,
};
use crate::aggregate::RejectionCode;
use crate::assertion::Grade;
use crate::data_subject::Subject;
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
    RecordFailure {
        /// Which cell.
        cell: ExecutionRef,
        /// Whose data the case is made of.
        subject: Option<Subject>,
        /// The case's variables.
        input: Map<String, Value>,
        /// What went wrong.
        failure: Failure,
        /// How long the provider wants to be left alone.
        retry_after: Option<Duration>,
        /// Which attempt, from 1.
        attempt: u16,
        /// Who did it.
        worker: String,
    },
}

/// Why a report is refused. Both mean that the worker has nothing left to do.
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
}

impl RejectionCode for ExecutionRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyRecorded => "already_recorded",
            Self::StaleAttempt { .. } => "stale_attempt",
        }
    }
}

pub(super) fn decide(
    state: &Execution,
    command: ExecutionCommand,
    at: Timestamp,
) -> Result<Vec<Event>, ExecutionRejection> {
    let Execution::Waiting { failed_attempts } = *state else {
        return Err(ExecutionRejection::AlreadyRecorded);
    };
    match command {
        // An answer of an older attempt is as good as one of the newest: it was asked for and paid.
        ExecutionCommand::RecordResult { cell, subject, input, mut answer, mut grade, attempt, worker } => {
            // A model may say NUL; no text column of PostgreSQL can keep it.
            answer.output = without_nul(answer.output);
            answer.finish_reason = answer.finish_reason.map(without_nul);
            for verdict in &mut grade.verdicts {
                verdict.reason = without_nul(std::mem::take(&mut verdict.reason));
            }
            Ok(vec![Event::Finished(Finished { cell, subject, input, answer, grade, attempt, worker })])
        }
        ExecutionCommand::RecordFailure { attempt, .. } if attempt <= failed_attempts => {
            Err(ExecutionRejection::StaleAttempt { attempt, failed_attempts })
        }
        ExecutionCommand::RecordFailure { cell, subject, input, failure, retry_after, attempt, worker } => {
            let failure = Failure { class: failure.class, error: cut(failure.error, limits::ERROR_BYTES_MAX) };
            if failure.class.is_retryable() && attempt < limits::ATTEMPTS_MAX {
                let retry_at = at.plus(backoff::pause(cell.id(), attempt, retry_after));
                Ok(vec![Event::AttemptFailed(AttemptFailed { cell, subject, attempt, worker, failure, retry_at })])
            } else {
                Ok(vec![Event::DeadLettered(DeadLettered { cell, subject, input, attempt, worker, failure })])
            }
        }
    }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

fn cut(text: String, bytes_max: usize) -> String {
    // Before cutting: the replacement is longer than what it replaces.
    let mut text = without_nul(text);
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
}
