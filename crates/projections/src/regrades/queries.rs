//! Reads of regrades.

use pcs_domain::Timestamp;
use pcs_domain::data_subject::{Guarded, Subject};
use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, RegradeId, TenantId, TestCaseId, TestRunId};
use pcs_domain::regrade::{Graded, Requested};
use pcs_store::Recorded;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row, storable, subject};

/// How far a regrade is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegradeStatus {
    /// Some answers may still wait.
    Running,
    /// All have their new grade.
    Completed,
}

/// A regrade as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegradeRow {
    /// The regrade.
    pub id: RegradeId,
    /// The run whose answers it grades.
    pub run_id: TestRunId,
    /// The run's card.
    pub card_id: PromptCardId,
    /// How people call it.
    pub name: String,
    /// How far it is.
    pub status: RegradeStatus,
    /// Answers that were graded.
    pub answers: i64,
    /// They meet the demands now.
    pub passed: i64,
    /// They do not.
    pub failed: i64,
    /// They meet them now, and did not before: what graded them changed, and the answers did not.
    pub turned_to_passed: i64,
    /// They do not now, and did before.
    pub turned_to_failed: i64,
    /// Verdicts there are.
    pub verdicts: i64,
    /// Who asked.
    pub requested_by: ActorId,
    /// When.
    pub requested_at: Timestamp,
    /// When the last answer had its grade.
    pub ended_at: Option<Timestamp>,
    /// The version of its stream.
    pub revision: i64,
}

impl RegradeRow {
    pub(super) fn requested(recorded: &Recorded, request: &Requested) -> Self {
        Self {
            id: RegradeId(recorded.stream_id),
            run_id: request.run_id,
            card_id: request.card_id,
            name: request.name.clone(),
            status: RegradeStatus::Running,
            answers: 0,
            passed: 0,
            failed: 0,
            turned_to_passed: 0,
            turned_to_failed: 0,
            verdicts: 0,
            requested_by: request.requested_by,
            requested_at: recorded.recorded_at,
            ended_at: None,
            revision: recorded.version,
        }
    }

    pub(super) fn add(&mut self, graded: &Graded) {
        for one in &graded.grades {
            let (passed, before) = (one.grade.passed, one.passed_before);
            self.answers += 1;
            self.passed += i64::from(passed);
            self.failed += i64::from(!passed);
            self.turned_to_passed += i64::from(passed && !before);
            self.turned_to_failed += i64::from(!passed && before);
            self.verdicts += storable::count(one.grade.verdicts.len());
        }
    }
}

impl FromRow<'_, PgRow> for RegradeRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status = match row.try_get("status")? {
            "running" => RegradeStatus::Running,
            "completed" => RegradeStatus::Completed,
            other => return Err(row::unreadable("status", format!("there is no status {other:?}"))),
        };
        Ok(Self {
            id: row::id(row, "id", RegradeId)?,
            run_id: row::id(row, "run_id", TestRunId)?,
            card_id: row::id(row, "card_id", PromptCardId)?,
            name: row.try_get("name")?,
            status,
            answers: row.try_get("answers")?,
            passed: row.try_get("passed")?,
            failed: row.try_get("failed")?,
            turned_to_passed: row.try_get("turned_to_passed")?,
            turned_to_failed: row.try_get("turned_to_failed")?,
            verdicts: row.try_get("verdicts")?,
            requested_by: row::id(row, "requested_by", ActorId)?,
            requested_at: row::timestamp(row, "requested_at")?,
            ended_at: row::timestamp_opt(row, "ended_at")?,
            revision: row.try_get("revision")?,
        })
    }
}

/// A regrade with its tenant, for the fold.
pub(super) struct Stored {
    pub(super) tenant: TenantId,
    pub(super) row: RegradeRow,
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self { tenant: TenantId(row.try_get("tenant_id")?), row: RegradeRow::from_row(row)? })
    }
}

/// The new grade of an answer, beside the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegradedRow {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The prompt version.
    pub version: u32,
    /// The case.
    pub case_id: TestCaseId,
    /// The case's name of now, where it is known.
    pub case_name: Option<String>,
    /// The model's name in the run.
    pub model: String,
    /// Which repeat, from 0.
    pub repeat: u16,
    /// Whether it passes now.
    pub passed: bool,
    /// Whether it did when it was recorded.
    pub passed_before: bool,
    /// How well, from 0 to 1.
    pub score: f64,
    /// The new verdicts.
    pub verdicts: Vec<Value>,
    /// The version of what graded it now.
    pub grader: Option<String>,
    /// Whose data the case is made of, where it is a person's. Until it is revealed, what is theirs is empty.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "subject::shown")]
    pub subject: Option<Subject>,
    /// Its place among the grades.
    #[serde(skip)]
    pub ordinal: i64,
}

impl FromRow<'_, PgRow> for RegradedRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let whole = |column: &'static str, number: i64| u32::try_from(number).map_err(|e| row::unreadable(column, e));
        let repeat: i32 = row.try_get("repeat")?;
        Ok(Self {
            execution_id: row::id(row, "execution_id", ExecutionId)?,
            version: whole("version", row.try_get("version")?)?,
            case_id: row::id(row, "case_id", TestCaseId)?,
            case_name: row.try_get("case_name")?,
            model: row.try_get("model")?,
            repeat: u16::try_from(repeat).map_err(|e| row::unreadable("repeat", e))?,
            passed: row.try_get("passed")?,
            passed_before: row.try_get("passed_before")?,
            score: row.try_get("score")?,
            verdicts: row::json(row, "verdicts")?,
            grader: row.try_get("grader")?,
            subject: row::json_opt(row, "subject")?,
            ordinal: row.try_get("ordinal")?,
        })
    }
}

impl Guarded for RegradedRow {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, mut fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        subject::into_verdicts(&mut self.verdicts, &mut fields);
        Ok(())
    }
}

impl RegradedRow {
    /// Says in every text that is gone that it was shredded; to be called when the row was revealed.
    pub fn mark_shredded(&mut self) {
        subject::mark_verdicts(self.subject.as_ref(), &mut self.verdicts);
    }
}

/// The regrade with an id.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_id(pool: &PgPool, tenant: TenantId, id: RegradeId) -> Result<Option<RegradeRow>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let row = sqlx::query_as(reader.sql(
        "select id, run_id, card_id, name, status, answers, passed, failed, turned_to_passed, turned_to_failed, verdicts,
                requested_by, requested_at, ended_at, revision
         from read.regrade where tenant_id = $1 and id = $2",
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_optional(reader.connection())
    .await?;
    Ok(row)
}

/// A page of the regrades of a run, the newest first.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn of_run(
    pool: &PgPool,
    (tenant, run): (TenantId, TestRunId),
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<RegradeRow>, ReadError> {
    let (after_at, after_id) = cursor.map(|cursor| List::Regrades.moment(cursor)).transpose()?.unzip();
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query_as(reader.sql(
        "select id, run_id, card_id, name, status, answers, passed, failed, turned_to_passed, turned_to_failed, verdicts,
                requested_by, requested_at, ended_at, revision
         from read.regrade
         where tenant_id = $1 and run_id = $2 and ($3::timestamptz is null or (requested_at, id) < ($3, $4::uuid))
         order by requested_at desc, id desc limit $5",
    ))
        .persistent(false)
        .bind(tenant.0)
        .bind(run.0)
        .bind(after_at)
        .bind(after_id)
        .bind(page::len(limit) + 1)
        .fetch_all(reader.connection())
        .await?;
    Ok(Page::new(rows, limit, |row: &RegradeRow| List::Regrades.after_moment(row.requested_at, row.id.0)))
}

/// A page of the new grades, in the order in which they were given; those that turned, or did not, where that is asked.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn results(
    pool: &PgPool,
    (tenant, id): (TenantId, RegradeId),
    turned: Option<bool>,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<RegradedRow>, ReadError> {
    let after = cursor.map(|cursor| List::Regraded.number(cursor)).transpose()?;
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query_as(reader.sql(include_str!("../../queries/regrade_results.sql")))
        .persistent(false)
        .bind(tenant.0)
        .bind(id.0)
        .bind(after.unwrap_or(0))
        .bind(turned)
        .bind(page::len(limit) + 1)
        .fetch_all(reader.connection())
        .await?;
    Ok(Page::new(rows, limit, |row: &RegradedRow| List::Regraded.after_number(row.ordinal)))
}
