//! `execution_results.v1`: the one result of each execution, and each attempt that failed.

mod answers;
mod by_case;
mod certified;
mod load;
mod queries;
mod save;

use std::borrow::Cow;

use pcs_domain::data_subject::Subject;
use pcs_domain::execution::{Answer, ExecutionEvent, ExecutionRef, Failure};
use pcs_domain::ids::{ExecutionId, TenantId};
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::{Category, DomainEvent, EventType, Timestamp};
use pcs_store::Recorded;
use serde_json::{Map, Value};
use sqlx::PgConnection;

pub use self::answers::{AnswerFilter, answer_ids, card_of};
pub use self::by_case::{CaseResults, MetricResults, Sums, by_case, metrics_by_case};
pub use self::certified::certified;
pub use self::queries::{
    Attempt, ExecutionDetail, Override, ResultError, ResultFilter, ResultRow, ResultStatus, attempts, by_id, page,
};
pub(crate) use self::queries::{by_id_in, page_in};
use crate::{BoxFuture, Projection, ProjectionError, storable, subject};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "execution_results.v1";

/// Neither makes a result or an attempt.
const IGNORED: [EventType; 2] =
    [EventType { name: "execution.snoozed", version: 1 }, EventType { name: "execution.dismissed", version: 1 }];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct ExecutionResults;

/// Events of a page from which on its rows are written by COPY, which costs two round trips more.
const LOAD_LEN_MIN: usize = 200;

impl Projection for ExecutionResults {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["execution_result", "execution_attempt"]
    }

    fn ignored(&self) -> &'static [EventType] {
        &IGNORED
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Execution]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            // A row that is there already refuses the COPY; then the page is written once more in parts, the small ones of
            // them by statements that pass over it.
            if batch.len() >= LOAD_LEN_MIN {
                return load::load(connection, batch).await;
            }
            let mut added = Added::default();
            for recorded in batch {
                added.fold(recorded)?;
            }
            added.save(connection).await
        })
    }

    /// Rows are written once and never change, so nothing has to be looked up by a key.
    fn late_keys(&self) -> &'static [&'static str] {
        self.tables()
    }

    fn load<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(load::load(connection, batch))
    }
}

/// A row of `read.execution_result`. Texts are [`Cow`] because a model may answer with a NUL character.
struct SavedResult<'a> {
    tenant: TenantId,
    execution_id: ExecutionId,
    cell: &'a ExecutionRef,
    status: ResultStatus,
    score: Option<f64>,
    /// JSON text.
    input: String,
    answer: Option<&'a Answer>,
    /// What it cost, judges included.
    cost_micro_usd: Option<u64>,
    output: Option<Cow<'a, str>>,
    /// JSON text.
    verdicts: String,
    failure: Option<&'a Failure>,
    /// JSON text: whose data it is, and what is theirs, sealed.
    subject: Option<String>,
    attempt: u16,
    worker: &'a str,
    executed_at: Timestamp,
    position: i64,
    grader: Option<&'a str>,
}

/// A row of `read.execution_attempt`.
struct SavedAttempt<'a> {
    tenant: TenantId,
    execution_id: ExecutionId,
    attempt: u16,
    worker: &'a str,
    failure: &'a Failure,
    /// JSON text: whose data it is, and what is theirs, sealed.
    subject: Option<String>,
    /// Absent where no other attempt follows.
    retry_at: Option<Timestamp>,
    at: Timestamp,
}

/// What a page adds: rows are written once and never change.
#[derive(Default)]
struct Added<'a> {
    results: Vec<SavedResult<'a>>,
    attempts: Vec<SavedAttempt<'a>>,
}

impl<'a> Added<'a> {
    fn fold(&mut self, recorded: &'a Recorded) -> Result<(), serde_json::Error> {
        match &recorded.event {
            DomainEvent::Execution(event) => self.fold_execution(recorded, event),
            DomainEvent::TestRun(
                TestRunEvent::Requested(_) | TestRunEvent::Cancelled(_) | TestRunEvent::Completed(_),
            )
            | DomainEvent::PromptCard(
                PromptCardEvent::Created(_)
                | PromptCardEvent::Revised(_)
                | PromptCardEvent::Described(_)
                | PromptCardEvent::Tagged(_)
                | PromptCardEvent::Labelled(_)
                | PromptCardEvent::Unlabelled(_)
                | PromptCardEvent::LabelProtected(_)
                | PromptCardEvent::LabelUnprotected(_)
                | PromptCardEvent::SchemaChanged(_)
                | PromptCardEvent::Published(_)
                | PromptCardEvent::Unpublished(_)
                | PromptCardEvent::Archived(_)
                | PromptCardEvent::Restored(_)
                | PromptCardEvent::CasesAdded(_)
                | PromptCardEvent::CaseChanged(_)
                | PromptCardEvent::CasesRemoved(_),
            )
            | DomainEvent::DataSubject(_)
            | DomainEvent::JobPolicy(_)
            | DomainEvent::Schedule(_)
            | DomainEvent::Job(_)
            | DomainEvent::Regrade(_)
            | DomainEvent::Review(_)
            | DomainEvent::Unread(_) => Ok(()),
        }
    }

    fn fold_execution(&mut self, recorded: &'a Recorded, event: &'a ExecutionEvent) -> Result<(), serde_json::Error> {
        match event {
            ExecutionEvent::Finished(e) => {
                let status = if e.grade.passed { ResultStatus::Passed } else { ResultStatus::Failed };
                let result = SavedResult {
                    score: Some(e.grade.score),
                    answer: Some(&e.answer),
                    cost_micro_usd: e.cost_micro_usd(),
                    grader: e.grade.grader.as_deref(),
                    output: Some(storable::text(&e.answer.output)),
                    verdicts: storable::json(&e.grade.verdicts)?,
                    ..result(recorded, &e.cell, e.subject.as_ref(), &e.input, status)?
                };
                self.results.push(SavedResult { attempt: e.attempt, worker: &e.worker, ..result });
            }
            ExecutionEvent::AttemptFailed(e) => {
                let attempt = attempt(recorded, (e.attempt, &e.worker), &e.failure, e.subject.as_ref())?;
                self.attempts.push(SavedAttempt { retry_at: Some(e.retry_at), ..attempt });
            }
            ExecutionEvent::DeadLettered(e) => {
                let result = result(recorded, &e.cell, e.subject.as_ref(), &e.input, ResultStatus::Error)?;
                let failure = Some(&e.failure);
                self.results.push(SavedResult { attempt: e.attempt, worker: &e.worker, failure, ..result });
                // The last attempt failed as those before it did.
                self.attempts.push(attempt(recorded, (e.attempt, &e.worker), &e.failure, e.subject.as_ref())?);
            }
            // No attempt was made, and the result of one that is dismissed stays what it is.
            ExecutionEvent::Snoozed(_) | ExecutionEvent::Dismissed(_) => (),
        }
        Ok(())
    }
}

/// What every result has; the event adds how it came out.
fn result<'a>(
    recorded: &'a Recorded,
    cell: &'a ExecutionRef,
    subject: Option<&Subject>,
    input: &'a Map<String, Value>,
    status: ResultStatus,
) -> Result<SavedResult<'a>, serde_json::Error> {
    Ok(SavedResult {
        tenant: recorded.tenant,
        execution_id: ExecutionId(recorded.stream_id),
        cell,
        status,
        score: None,
        input: storable::json(input)?,
        answer: None,
        cost_micro_usd: None,
        output: None,
        verdicts: "[]".to_owned(),
        failure: None,
        subject: subject::column(subject)?,
        attempt: 0,
        worker: "",
        executed_at: recorded.recorded_at,
        position: recorded.position,
        grader: None,
    })
}

fn attempt<'a>(
    recorded: &Recorded,
    (attempt, worker): (u16, &'a str),
    failure: &'a Failure,
    subject: Option<&Subject>,
) -> Result<SavedAttempt<'a>, serde_json::Error> {
    let (tenant, execution_id) = (recorded.tenant, ExecutionId(recorded.stream_id));
    let subject = subject::column(subject)?;
    let at = recorded.recorded_at;
    Ok(SavedAttempt { tenant, execution_id, attempt, worker, failure, subject, retry_at: None, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{attempt_failed, dead_lettered, finished, recorded};

    fn added(history: &[Recorded]) -> Added<'_> {
        let mut added = Added::default();
        history.iter().for_each(|recorded| added.fold(recorded).unwrap());
        added
    }

    #[test]
    fn an_execution_has_one_result_and_every_failed_attempt() {
        let events = [
            ExecutionEvent::AttemptFailed(attempt_failed("a", 0, 1)),
            ExecutionEvent::DeadLettered(dead_lettered("a", 0)),
            ExecutionEvent::Finished(finished("b", 0, true)),
        ];
        let history: Vec<_> = (1..).zip(events).map(|(v, e)| recorded(9, v, DomainEvent::Execution(e))).collect();
        let added = added(&history);
        let statuses: Vec<_> = added.results.iter().map(|result| result.status).collect();
        assert_eq!(statuses, [ResultStatus::Error, ResultStatus::Passed]);
        let retries: Vec<_> = added.attempts.iter().map(|attempt| attempt.retry_at.is_some()).collect();
        assert_eq!(retries, [true, false]);
    }

    #[test]
    fn what_a_model_says_is_made_to_fit_the_columns() {
        let mut answer = finished("a\0", 0, false);
        answer.answer.output = "x\0y".to_owned();
        answer.grade.verdicts[0].reason = "has no x\0".to_owned();
        answer.input.insert("k".to_owned(), Value::from("v\0"));
        let history = [recorded(9, 1, DomainEvent::Execution(ExecutionEvent::Finished(answer)))];
        let added = added(&history);
        let result = &added.results[0];
        assert_eq!(result.output.as_deref(), Some("x\u{FFFD}y"));
        assert!(!result.verdicts.contains("\\u0000") && !result.input.contains("\\u0000"));
    }
}
