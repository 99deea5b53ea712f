//! Which versions of a card were run, and how often.

use pcs_domain::Timestamp;
use pcs_domain::ids::{PromptCardId, TenantId, TestRunId};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

use crate::{ReadError, row};

/// The runs of a version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionUsage {
    /// The version.
    pub version: u32,
    /// How many runs it was, or is, part of.
    pub runs: i64,
    /// How many of them go on.
    pub running: i64,
    /// The newest of them.
    pub last_run_id: TestRunId,
    /// When that was asked for.
    pub last_requested_at: Timestamp,
}

impl FromRow<'_, PgRow> for VersionUsage {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row::number(row, "version")?,
            runs: row.try_get("runs")?,
            running: row.try_get("running")?,
            last_run_id: row::id(row, "last_run_id", TestRunId)?,
            last_requested_at: row::timestamp(row, "last_requested_at")?,
        })
    }
}

/// The versions of a card that were run, the newest first.
///
/// # Errors
/// Where the database does not answer.
pub async fn versions_run(pool: &PgPool, tenant: TenantId, card: PromptCardId) -> Result<Vec<VersionUsage>, ReadError> {
    let rows = sqlx::query_as(
        "select version, count(*) as runs, count(*) filter (where status = 'running') as running,
                (array_agg(id order by requested_at desc, id desc))[1] as last_run_id,
                max(requested_at) as last_requested_at
         from read.run cross join unnest(versions) as version
         where tenant_id = $1 and card_id = $2
         group by version order by version desc",
    )
    .bind(tenant.0)
    .bind(card.0)
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// Those of these runs that are of a card, with their versions.
///
/// # Errors
/// Where the database does not answer.
pub async fn versions_of_runs(
    pool: &PgPool,
    tenant: TenantId,
    card: PromptCardId,
    runs: &[Uuid],
) -> Result<Vec<(TestRunId, Vec<u32>)>, ReadError> {
    let rows: Vec<(Uuid, Vec<i64>)> = sqlx::query_as(
        "select id, versions from read.run where tenant_id = $1 and card_id = $2 and id = any($3) order by id",
    )
    .bind(tenant.0)
    .bind(card.0)
    .bind(runs)
    .fetch_all(pool)
    .await?;
    let numbers = |versions: Vec<i64>| versions.into_iter().map(u32::try_from).collect::<Result<_, _>>();
    let runs = rows.into_iter().map(|(id, versions)| Ok((TestRunId(id), numbers(versions)?)));
    runs.collect::<Result<_, std::num::TryFromIntError>>().map_err(|source| row::unreadable("versions", source).into())
}
