//! Reads of results: those of a run, and one with all its attempts.

use std::ops::DerefMut;

use pcs_domain::Timestamp;
use pcs_domain::data_subject::{Guarded, Subject};
use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, TenantId, TestCaseId, TestRunId};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row, storable, subject};

/// How an execution came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// The output met all demands.
    Passed,
    /// It did not.
    Failed,
    /// There is no output.
    Error,
}

impl ResultStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Error];

    /// Its name in tables and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// A result as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultRow {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Its run.
    pub run_id: TestRunId,
    /// The card.
    pub card_id: PromptCardId,
    /// The prompt version.
    pub version: u32,
    /// The case.
    pub case_id: TestCaseId,
    /// How the case is called now; absent until the cards' read model has it.
    pub case_name: Option<String>,
    /// The model's name in the run.
    pub model: String,
    /// Which repeat, from 0.
    pub repeat: i32,
    /// How it came out.
    pub status: ResultStatus,
    /// Whether it passed.
    pub success: bool,
    /// The weighted mean of the verdicts; absent where there is no output.
    pub score: Option<f64>,
    /// The case's variables.
    pub input: Map<String, Value>,
    /// What the model said.
    pub output: Option<String>,
    /// What each assertion said about it.
    pub verdicts: Vec<Value>,
    /// How long the answer took.
    pub latency_ms: Option<i64>,
    /// Tokens of the prompt.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer.
    pub output_tokens: Option<i64>,
    /// What it cost, where the price is known.
    pub cost_usd: Option<f64>,
    /// Why there is no output.
    pub error: Option<ResultError>,
    /// Whose data the case is made of, where it is a person's. Until it is revealed, what is theirs is empty.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "subject::shown")]
    pub subject: Option<Subject>,
    /// Which attempt it was, from 1.
    pub attempt: i32,
    /// Who did it.
    pub worker: String,
    /// When it was recorded.
    pub executed_at: Timestamp,
    /// The version of what graded it.
    pub grader: Option<String>,
    /// Whether the model was not asked, because the same question had an answer.
    pub cached: bool,
    /// The place of its event in the log; also where the next page begins.
    pub position: i64,
    /// The verdict of a person that takes the place of the recorded one.
    #[serde(rename = "override")]
    pub overridden: Option<Override>,
}

/// A person's verdict in the place of the recorded one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Override {
    /// Whether the answer passes.
    pub passed: bool,
    /// Why, in their words.
    pub reason: String,
    /// Who says so.
    pub by: ActorId,
    /// When they said it.
    pub at: Timestamp,
}

/// Why an execution has no output.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ResultError {
    /// The kind of error.
    pub class: String,
    /// For a person.
    pub message: String,
}

/// An attempt that failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// Which attempt, from 1.
    pub attempt: i32,
    /// Who did it.
    pub worker: String,
    /// The kind of error.
    pub class: String,
    /// For a person.
    pub error: String,
    /// When the next attempt could start; absent where there was none.
    pub retry_at: Option<Timestamp>,
    /// When it was recorded.
    pub at: Timestamp,
    /// Whose data the case is made of.
    #[serde(skip)]
    pub subject: Option<Subject>,
}

/// A result with the attempts that failed before it, or with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutionDetail {
    /// The result.
    #[serde(flatten)]
    pub result: ResultRow,
    /// Attempts that failed, in order.
    pub attempts: Vec<Attempt>,
}

impl Guarded for ResultRow {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, mut fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        self.input = subject::field(&mut fields, "/input")?.unwrap_or_default();
        if let Some(output) = subject::field(&mut fields, "/output")? {
            self.output = Some(output);
        }
        subject::into_verdicts(&mut self.verdicts, &mut fields);
        if let (Some(error), Some(message)) = (&mut self.error, subject::field(&mut fields, "/error")?) {
            error.message = message;
        }
        Ok(())
    }
}

impl Guarded for Attempt {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, mut fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        self.error = subject::field(&mut fields, "/error")?.unwrap_or_default();
        Ok(())
    }
}

impl ResultRow {
    /// Says in every text that is gone that it was shredded; to be called when the row was revealed.
    pub fn mark_shredded(&mut self) {
        let subject = self.subject.as_ref();
        self.output.iter_mut().for_each(|output| subject::mark(subject, output));
        self.error.iter_mut().for_each(|error| subject::mark(subject, &mut error.message));
        subject::mark_verdicts(subject, &mut self.verdicts);
    }
}

impl ExecutionDetail {
    /// Everything in it that may be sealed.
    pub fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        let attempts = self.attempts.iter_mut().map(|attempt| attempt as &mut dyn Guarded);
        std::iter::once(&mut self.result as &mut dyn Guarded).chain(attempts).collect()
    }

    /// As [`ResultRow::mark_shredded`].
    pub fn mark_shredded(&mut self) {
        self.result.mark_shredded();
        self.attempts.iter_mut().for_each(|attempt| subject::mark(attempt.subject.as_ref(), &mut attempt.error));
    }
}

/// Which results of a run; an absent field is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultFilter {
    /// Of the model with this name.
    pub model: Option<String>,
    /// Passed, or not: failed and error alike.
    pub success: Option<bool>,
    /// Of this prompt version.
    pub version: Option<u32>,
    /// Of this case.
    pub case_id: Option<TestCaseId>,
    /// Recorded at or before this position.
    pub up_to: Option<i64>,
}

impl FromRow<'_, PgRow> for ResultRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: String = row.try_get("status")?;
        let status = ResultStatus::ALL.into_iter().find(|known| known.name() == status);
        let status = status.ok_or_else(|| row::unreadable("status", "it is none of passed, failed and error"))?;
        let class: Option<String> = row.try_get("error_class")?;
        let message: Option<String> = row.try_get("error")?;
        Ok(Self {
            execution_id: row::id(row, "execution_id", ExecutionId)?,
            run_id: row::id(row, "run_id", TestRunId)?,
            card_id: row::id(row, "card_id", PromptCardId)?,
            version: row::number(row, "version")?,
            case_id: row::id(row, "case_id", TestCaseId)?,
            case_name: row.try_get("case_name")?,
            model: row.try_get("model")?,
            repeat: row.try_get("repeat")?,
            status,
            success: status == ResultStatus::Passed,
            score: row.try_get("score")?,
            input: row::json(row, "input")?,
            output: row.try_get("output")?,
            verdicts: row::json(row, "verdicts")?,
            latency_ms: row.try_get("latency_ms")?,
            input_tokens: row.try_get("input_tokens")?,
            output_tokens: row.try_get("output_tokens")?,
            cost_usd: row.try_get::<Option<i64>, _>("cost_micro_usd")?.map(row::usd),
            error: class.map(|class| ResultError { class, message: message.unwrap_or_default() }),
            subject: row::json_opt(row, "subject")?,
            attempt: row.try_get("attempt")?,
            worker: row.try_get("worker")?,
            executed_at: row::timestamp(row, "executed_at")?,
            grader: row.try_get("grader")?,
            cached: row.try_get("cached")?,
            position: row.try_get("position")?,
            overridden: overridden(row)?,
        })
    }
}

fn overridden(row: &PgRow) -> Result<Option<Override>, sqlx::Error> {
    let Some(passed) = row.try_get("override_passed")? else { return Ok(None) };
    Ok(Some(Override {
        passed,
        reason: row.try_get("override_reason")?,
        by: row::id(row, "overridden_by", ActorId)?,
        at: row::timestamp(row, "overridden_at")?,
    }))
}

impl FromRow<'_, PgRow> for Attempt {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            attempt: row.try_get("attempt")?,
            worker: row.try_get("worker")?,
            class: row.try_get("class")?,
            error: row.try_get("error")?,
            retry_at: row::timestamp_opt(row, "retry_at")?,
            at: row::timestamp(row, "at")?,
            subject: row::json_opt(row, "subject")?,
        })
    }
}

/// A page of a run's results, in the order they were recorded.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn page(
    pool: &PgPool,
    tenant: TenantId,
    run: TestRunId,
    filter: &ResultFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<ResultRow>, ReadError> {
    page_in(&mut Reader::living(pool).await?, (tenant, run), filter, cursor, limit).await
}

pub(crate) async fn page_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    (tenant, run): (TenantId, TestRunId),
    filter: &ResultFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<ResultRow>, ReadError> {
    let after = cursor.map(|cursor| List::Results.number(cursor)).transpose()?;
    let rows: Vec<ResultRow> = sqlx::query_as(reader.sql(include_str!("../../queries/result_page.sql")))
        .persistent(false)
        .bind(tenant.0)
        .bind(run.0)
        .bind(after.unwrap_or(0))
        .bind(filter.model.as_deref().map(storable::text))
        .bind(filter.success)
        .bind(filter.version.map(i64::from))
        .bind(filter.case_id.map(|case| case.0))
        .bind(page::len(limit) + 1)
        .bind(filter.up_to)
        .bind(filter.up_to.unwrap_or(i64::MAX))
        .fetch_all(reader.connection())
        .await?;
    Ok(Page::new(rows, limit, |result| List::Results.after_number(result.position)))
}

/// The result of an execution and its failed attempts; none while it has no result.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_id(
    pool: &PgPool,
    tenant: TenantId,
    execution: ExecutionId,
) -> Result<Option<ExecutionDetail>, ReadError> {
    by_id_in(&mut Reader::living(pool).await?, tenant, execution).await
}

pub(crate) async fn by_id_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    execution: ExecutionId,
) -> Result<Option<ExecutionDetail>, ReadError> {
    let result: Option<ResultRow> = sqlx::query_as(reader.sql(include_str!("../../queries/result_by_id.sql")))
        .bind(tenant.0)
        .bind(execution.0)
        .bind(reader.up_to())
        .fetch_optional(reader.connection())
        .await?;
    let Some(result) = result else { return Ok(None) };
    Ok(Some(ExecutionDetail { result, attempts: attempts_in(reader, tenant, execution).await? }))
}

/// The failed attempts of an execution, in order; also of one that has no result yet.
///
/// # Errors
/// Where the database does not answer.
pub async fn attempts(pool: &PgPool, tenant: TenantId, execution: ExecutionId) -> Result<Vec<Attempt>, ReadError> {
    attempts_in(&mut Reader::living(pool).await?, tenant, execution).await
}

async fn attempts_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    execution: ExecutionId,
) -> Result<Vec<Attempt>, ReadError> {
    let rows = sqlx::query_as(reader.sql(
        "select attempt, worker, class, error, retry_at, at, subject from read.execution_attempt
         where tenant_id = $1 and execution_id = $2 order by attempt",
    ))
    .bind(tenant.0)
    .bind(execution.0)
    .fetch_all(reader.connection())
    .await?;
    Ok(rows)
}
