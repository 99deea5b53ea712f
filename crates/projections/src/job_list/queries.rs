//! Reads of the job list.

use pcs_domain::Timestamp;
use pcs_domain::execution::FailureClass;
use pcs_domain::ids::{ActorId, JobId, TenantId};
use pcs_domain::test_run::Lane;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row};

/// How a job is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It has no result yet.
    Waiting,
    /// It is done.
    Finished,
    /// Its result is an error.
    Dead,
    /// Nobody wanted it any more.
    Cancelled,
}

impl JobStatus {
    /// The word in tables and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// How important it is.
    pub lane: Lane,
    /// How it is.
    pub status: JobStatus,
    /// What is to be done.
    pub input: Map<String, Value>,
    /// What came of it.
    pub output: Option<Map<String, Value>>,
    /// The number of the last attempt that ended.
    pub attempts: u16,
    /// Who made it.
    pub worker: Option<String>,
    /// The kind of its error.
    pub error_class: Option<FailureClass>,
    /// Its error.
    pub error: Option<String>,
    /// Who asked for it; absent where the system did.
    pub requested_by: Option<ActorId>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Not to be begun before.
    pub not_before: Option<Timestamp>,
    /// When it had its result or was cancelled.
    pub ended_at: Option<Timestamp>,
    /// The version of its stream.
    pub revision: i64,
}

/// A word of a column as the type that it is a name in.
fn word<T: DeserializeOwned>(column: &str, word: &str) -> Result<T, sqlx::Error> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word))
        .map_err(|error| row::unreadable(column, error))
}

impl FromRow<'_, PgRow> for JobRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let class: Option<&str> = row.try_get("error_class")?;
        Ok(Self {
            id: row::id(row, "id", JobId)?,
            kind: row.try_get("kind")?,
            lane: word("lane", row.try_get("lane")?)?,
            status: word("status", row.try_get("status")?)?,
            input: row::json(row, "input")?,
            output: row::json_opt(row, "output")?,
            attempts: u16::try_from(row.try_get::<i32, _>("attempts")?).map_err(|e| row::unreadable("attempts", e))?,
            worker: row.try_get("worker")?,
            error_class: class.map(|class| word("error_class", class)).transpose()?,
            error: row.try_get("error")?,
            requested_by: row.try_get::<Option<_>, _>("requested_by")?.map(ActorId),
            requested_at: row::timestamp(row, "requested_at")?,
            not_before: row::timestamp_opt(row, "not_before")?,
            ended_at: row::timestamp_opt(row, "ended_at")?,
            revision: row.try_get("revision")?,
        })
    }
}

/// A job with its tenant, for the fold.
pub(super) struct Stored {
    pub(super) tenant: TenantId,
    pub(super) job: JobRow,
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self { tenant: TenantId(row.try_get("tenant_id")?), job: JobRow::from_row(row)? })
    }
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobAttempt {
    /// Which, from 1.
    pub attempt: u16,
    /// Who made it.
    pub worker: String,
    /// The kind of error.
    pub class: String,
    /// For a person.
    pub error: String,
    /// When the next one could start; absent after the last.
    pub retry_at: Option<Timestamp>,
    /// When it was recorded.
    pub at: Timestamp,
}

impl FromRow<'_, PgRow> for JobAttempt {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            attempt: u16::try_from(row.try_get::<i32, _>("attempt")?).map_err(|e| row::unreadable("attempt", e))?,
            worker: row.try_get("worker")?,
            class: row.try_get("class")?,
            error: row.try_get("error")?,
            retry_at: row::timestamp_opt(row, "retry_at")?,
            at: row::timestamp(row, "at")?,
        })
    }
}

/// Which jobs; an absent field is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<String>,
    /// That are so.
    pub status: Option<JobStatus>,
}

/// A page of a tenant's jobs, the newest first.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn page(
    pool: &PgPool,
    tenant: TenantId,
    filter: &JobFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<JobRow>, ReadError> {
    let (after_at, after_id) = cursor.map(|cursor| List::Jobs.moment(cursor)).transpose()?.unzip();
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query_as(reader.sql(include_str!("../../queries/job_page.sql")))
        .persistent(false)
        .bind(tenant.0)
        .bind(&filter.kind)
        .bind(filter.status.map(JobStatus::name))
        .bind(after_at)
        .bind(after_id)
        .bind(page::len(limit) + 1)
        .fetch_all(reader.connection())
        .await?;
    Ok(Page::new(rows, limit, |job: &JobRow| List::Jobs.after_moment(job.requested_at, job.id.0)))
}

/// The job with an id.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_id(pool: &PgPool, tenant: TenantId, id: JobId) -> Result<Option<JobRow>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let row = sqlx::query_as(reader.sql(
        "select id, kind, lane, status, input, output, attempts, worker, error_class, error, requested_by, requested_at,
                not_before, ended_at, revision
         from read.job where tenant_id = $1 and id = $2",
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_optional(reader.connection())
    .await?;
    Ok(row)
}

/// The failed attempts of a job, in their order.
///
/// # Errors
/// Where the database does not answer.
pub async fn attempts(pool: &PgPool, tenant: TenantId, id: JobId) -> Result<Vec<JobAttempt>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query_as(reader.sql(
        "select attempt, worker, class, error, retry_at, at from read.job_attempt
         where tenant_id = $1 and job_id = $2 order by attempt",
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_all(reader.connection())
    .await?;
    Ok(rows)
}
