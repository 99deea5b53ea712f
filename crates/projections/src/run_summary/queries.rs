//! Reads of runs: their request, how far they are, and what each model did.

use std::collections::HashMap;
use std::ops::DerefMut;

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, PromptCardId, TenantId, TestRunId};
use pcs_domain::test_run::Lane;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::latency;
use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row};

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Results are missing.
    Running,
    /// Every execution has its result.
    Completed,
    /// Somebody stopped it.
    Cancelled,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Running, Self::Completed, Self::Cancelled];

    /// Its name in tables and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A run as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// The run.
    pub id: TestRunId,
    /// How people call it; may be empty.
    pub name: String,
    /// Whether it goes on.
    pub status: RunStatus,
    /// The card.
    pub card_id: PromptCardId,
    /// The version of the card's stream that it uses.
    pub card_revision: i64,
    /// The prompt versions.
    pub versions: Vec<i64>,
    /// The models, each as it was asked for.
    pub models: Vec<Value>,
    /// How often each cell runs.
    pub repeats: i32,
    /// How many cases run.
    pub cases: i64,
    /// How important it is beside others.
    pub lane: Lane,
    /// Who asked for it.
    pub requested_by: ActorId,
    /// When.
    pub requested_at: Timestamp,
    /// When it was completed or cancelled.
    pub ended_at: Option<Timestamp>,
    /// The version of its stream.
    pub revision: i64,
    /// The branch that was checked out where it was asked from.
    pub branch: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The counts of all models together.
    pub totals: Totals,
    /// What people made of recorded verdicts; the counts are of what was recorded.
    pub overrides: Overrides,
    /// The counts of each model, in the order of `models`.
    pub by_model: Vec<ModelSummary>,
}

/// How many executions a run has, and how they ended so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// Executions of the whole run.
    pub planned: i64,
    /// Executions with a result so far.
    pub executions: i64,
    /// Their outputs met all demands.
    pub passed: i64,
    /// Their outputs did not.
    pub failed: i64,
    /// They have no output.
    pub errors: i64,
}

/// Recorded verdicts in whose place people put others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Overrides {
    /// Answers that failed, and pass by a person's verdict.
    pub to_passed: i64,
    /// Answers that passed, and fail by a person's verdict.
    pub to_failed: i64,
}

/// What one model of a run did so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Its name in the run.
    pub model: String,
    /// Executions with a result.
    pub executions: i64,
    /// Their outputs met all demands.
    pub passed: i64,
    /// Their outputs did not.
    pub failed: i64,
    /// They have no output.
    pub errors: i64,
    /// `passed` of `executions`; absent before the first result.
    pub pass_rate: Option<f64>,
    /// How long answers took.
    pub latency_ms: Latency,
    /// Tokens of all answers.
    pub tokens: Tokens,
    /// What all answers cost; absent unless the price of each is known.
    pub cost_usd: Option<f64>,
}

/// Percentiles of latencies in milliseconds: exact below 128, within 1 % above; absent before the first answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the answers took at most this long.
    pub p50: Option<u64>,
    /// 95 of 100 answers took at most this long.
    pub p95: Option<u64>,
}

/// Sums of tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tokens {
    /// Of prompts.
    pub input: i64,
    /// Of answers.
    pub output: i64,
}

/// Which runs; an absent field is no condition.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RunFilter {
    /// Of this card.
    pub card_id: Option<PromptCardId>,
    /// In this status.
    pub status: Option<RunStatus>,
}

impl FromRow<'_, PgRow> for Run {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (status, lane): (String, String) = (row.try_get("status")?, row.try_get("lane")?);
        Ok(Self {
            id: row::id(row, "id", TestRunId)?,
            name: row.try_get("name")?,
            status: RunStatus::parse(&status).ok_or_else(|| row::unreadable("status", status))?,
            card_id: row::id(row, "card_id", PromptCardId)?,
            card_revision: row.try_get("card_revision")?,
            versions: row.try_get("versions")?,
            models: row::json(row, "models")?,
            repeats: row.try_get("repeats")?,
            cases: row.try_get("cases")?,
            lane: Lane::parse(&lane).ok_or_else(|| row::unreadable("lane", lane))?,
            requested_by: row::id(row, "requested_by", ActorId)?,
            requested_at: row::timestamp(row, "requested_at")?,
            ended_at: row::timestamp_opt(row, "ended_at")?,
            revision: row.try_get("revision")?,
            branch: row.try_get("branch")?,
            commit: row.try_get("commit_id")?,
            totals: Totals { planned: row.try_get("planned")?, ..Totals::default() },
            overrides: Overrides::default(),
            by_model: Vec::new(),
        })
    }
}

impl ModelSummary {
    fn of(row: &PgRow, latency_ms: Latency) -> Result<Self, sqlx::Error> {
        let (passed, failed): (i64, i64) = (row.try_get("passed")?, row.try_get("failed")?);
        let (errors, priced): (i64, i64) = (row.try_get("errors")?, row.try_get("priced")?);
        let (answers, executions) = (passed + failed, passed + failed + errors);
        let cost_micro_usd: i64 = row.try_get("cost_micro_usd")?;
        Ok(Self {
            model: row.try_get("model")?,
            executions,
            passed,
            failed,
            errors,
            pass_rate: (executions > 0).then(|| row::float(passed) / row::float(executions)),
            latency_ms,
            tokens: Tokens { input: row.try_get("input_tokens")?, output: row.try_get("output_tokens")? },
            cost_usd: (answers > 0 && priced == answers).then(|| row::usd(cost_micro_usd)),
        })
    }
}

/// A page of a tenant's runs, the newest first.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn page(
    pool: &PgPool,
    tenant: TenantId,
    filter: &RunFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<Run>, ReadError> {
    let after = cursor.map(|cursor| List::Runs.moment(cursor)).transpose()?;
    let mut reader = Reader::living(pool).await?;
    let rows = rows_in(&mut reader, tenant, filter, after, page::len(limit) + 1).await?;
    let mut page = Page::new(rows, limit, |run| List::Runs.after_moment(run.requested_at, run.id.0));
    add_models(&mut reader, tenant, &mut page.items).await?;
    Ok(page)
}

/// The newest runs before a moment and an id, at most `limit`, as yet without their models.
pub(crate) async fn rows_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    filter: &RunFilter,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<Run>, sqlx::Error> {
    let (after_at, after_id) = after.unzip();
    sqlx::query_as(reader.sql(include_str!("../../queries/run_page.sql")))
        .persistent(false)
        .bind(tenant.0)
        .bind(filter.card_id.map(|card| card.0))
        .bind(filter.status.map(RunStatus::name))
        .bind(after_at)
        .bind(after_id)
        .bind(limit)
        .fetch_all(reader.connection())
        .await
}

/// The run with an id.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_id(pool: &PgPool, tenant: TenantId, id: TestRunId) -> Result<Option<Run>, ReadError> {
    by_id_in(&mut Reader::living(pool).await?, tenant, id).await
}

pub(crate) async fn by_id_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    id: TestRunId,
) -> Result<Option<Run>, ReadError> {
    let run: Option<Run> = sqlx::query_as(reader.sql(
        "select id, name, status, card_id, card_revision, versions, models, repeats, cases, planned, lane,
                requested_by, requested_at, ended_at, revision, branch, commit_id
         from read.run where tenant_id = $1 and id = $2",
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_optional(reader.connection())
    .await?;
    let mut runs: Vec<Run> = run.into_iter().collect();
    add_models(reader, tenant, &mut runs).await?;
    Ok(runs.pop())
}

/// Adds the models' counts, and their sums as the runs' totals.
pub(crate) async fn add_models<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    runs: &mut [Run],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
    let percentiles = percentiles(reader, tenant, &ids).await?;
    let rows = sqlx::query(reader.sql(
        "select run_id, ordinal, model, passed, failed, errors, input_tokens, output_tokens, cost_micro_usd, priced
         from read.run_model where tenant_id = $1 and run_id = any($2::uuid[]) order by run_id, ordinal",
    ))
    .bind(tenant.0)
    .bind(&ids)
    .fetch_all(reader.connection())
    .await?;
    let mut models = HashMap::<Uuid, Vec<ModelSummary>>::new();
    for row in rows {
        let run_id: Uuid = row.try_get("run_id")?;
        let latency_ms = percentiles.get(&(run_id, row.try_get("ordinal")?)).copied().unwrap_or_default();
        models.entry(run_id).or_default().push(ModelSummary::of(&row, latency_ms)?);
    }
    let overrides = overrides(reader, tenant, &ids).await?;
    for run in runs {
        run.overrides = overrides.get(&run.id.0).copied().unwrap_or_default();
        run.by_model = models.remove(&run.id.0).unwrap_or_default();
        for model in &run.by_model {
            run.totals.executions += model.executions;
            run.totals.passed += model.passed;
            run.totals.failed += model.failed;
            run.totals.errors += model.errors;
        }
    }
    Ok(())
}

async fn overrides<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Overrides>, sqlx::Error> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(reader.sql(
        "select run_id, count(*) filter (where passed and not passed_before),
                count(*) filter (where passed_before and not passed)
         from read.verdict_override
         where tenant_id = $1 and run_id = any($2::uuid[])
           and position <= $3 and (until_position is null or until_position > $3)
         group by run_id",
    ))
    .bind(tenant.0)
    .bind(ids)
    .bind(reader.up_to())
    .fetch_all(reader.connection())
    .await?;
    Ok(rows.into_iter().map(|(run, to_passed, to_failed)| (run, Overrides { to_passed, to_failed })).collect())
}

async fn percentiles<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    ids: &[Uuid],
) -> Result<HashMap<(Uuid, i32), Latency>, sqlx::Error> {
    let rows: Vec<(Uuid, i32, Option<i16>, Option<i16>)> =
        sqlx::query_as(reader.sql(include_str!("../../queries/run_percentiles.sql")))
            .bind(tenant.0)
            .bind(ids)
            .fetch_all(reader.connection())
            .await?;
    let latency = |p50: Option<i16>, p95: Option<i16>| Latency {
        p50: p50.map(latency::latency_ms),
        p95: p95.map(latency::latency_ms),
    };
    Ok(rows.into_iter().map(|(run, ordinal, p50, p95)| ((run, ordinal), latency(p50, p95))).collect())
}
