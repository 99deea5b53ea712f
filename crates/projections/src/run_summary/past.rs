//! The counts of runs as they were: of their results up to a position, as the fold counts them one by one.

use std::borrow::Cow;

use pcs_domain::ids::{TenantId, TestRunId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use super::{Changes, Counts, save};
use crate::ProjectionError;

/// Results of one model of a run that took equally long.
struct Equal {
    run_id: Uuid,
    model: String,
    latency_ms: Option<i64>,
    counts: Counts,
}

impl FromRow<'_, PgRow> for Equal {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            run_id: row.try_get("run_id")?,
            model: row.try_get("model")?,
            latency_ms: row.try_get("latency_ms")?,
            counts: Counts {
                passed: row.try_get("passed")?,
                failed: row.try_get("failed")?,
                errors: row.try_get("errors")?,
                input_tokens: row.try_get("input_tokens")?,
                output_tokens: row.try_get("output_tokens")?,
                cost_micro_usd: row.try_get("cost_micro_usd")?,
                priced: row.try_get("priced")?,
            },
        })
    }
}

/// Counts the results of some runs that are not beyond a position, into the tables that the connection finds first.
///
/// Results are read from their rows, which are written once and never change, and not from their events: a run may have
/// a million of them, with all that the models said. What is equal in time is added up by the database, so that the
/// fold gets a number of rows that does not grow with the run.
pub(crate) async fn count_past(
    connection: &mut PgConnection,
    tenant: TenantId,
    runs: &[Uuid],
    position: i64,
) -> Result<(), ProjectionError> {
    let rows: Vec<Equal> = sqlx::query_as(include_str!("../../queries/run_count_past.sql"))
        .persistent(false)
        .bind(tenant.0)
        .bind(runs)
        .bind(position)
        .fetch_all(&mut *connection)
        .await?;
    let mut changes = Changes::default();
    for Equal { run_id, model, latency_ms, counts } in rows {
        let latency_ms = latency_ms.and_then(|latency| u64::try_from(latency).ok());
        changes.add((tenant, TestRunId(run_id), Cow::Owned(model)), latency_ms, counts);
    }
    save::save(&changes, connection).await
}
