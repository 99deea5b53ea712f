//! Writes what a page of events changes in runs: at most one statement for each table and kind of change.

use std::borrow::Cow;

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, PromptCardId, TenantId, TestRunId};
use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::{Lane, Source};
use serde::Serialize;
use sqlx::PgConnection;

use super::queries::RunStatus;
use super::{Changes, NAME, Started};
use crate::{ProjectionError, storable};

pub(super) async fn save(changes: &Changes<'_>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    if !changes.started.is_empty() {
        save_started(changes, connection).await?;
    }
    if !changes.ended.is_empty() {
        save_ended(changes, connection).await?;
    }
    if !changes.counts.is_empty() {
        save_counts(changes, connection).await?;
    }
    if !changes.latencies.is_empty() {
        save_latencies(changes, connection).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct SavedRun<'a> {
    tenant_id: TenantId,
    id: TestRunId,
    name: &'a str,
    status: RunStatus,
    card_id: PromptCardId,
    card_revision: i64,
    versions: &'a [u32],
    models: &'a [ModelSpec],
    repeats: u16,
    cases: u32,
    planned: u64,
    lane: Lane,
    requested_by: ActorId,
    requested_at: Timestamp,
    revision: i64,
    branch: Option<Cow<'a, str>>,
    commit_id: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct SavedModel<'a> {
    tenant_id: TenantId,
    run_id: TestRunId,
    ordinal: usize,
    model: &'a str,
}

fn source<'a>(started: &'a Started<'_>, of: impl Fn(&'a Source) -> Option<&'a str>) -> Option<Cow<'a, str>> {
    started.request.source.as_ref().and_then(of).map(storable::text)
}

async fn save_started(changes: &Changes<'_>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let runs = changes.started.iter().map(|started| SavedRun {
        tenant_id: started.tenant,
        id: started.run_id,
        name: &started.request.name,
        status: RunStatus::Running,
        card_id: started.request.card_id,
        card_revision: started.request.card_revision,
        versions: &started.request.versions,
        models: &started.request.models,
        repeats: started.request.repeats,
        cases: started.request.cases,
        planned: started.request.executions,
        lane: started.request.lane,
        requested_by: started.request.requested_by,
        requested_at: started.at,
        revision: started.revision,
        branch: source(started, |source| source.branch.as_deref()),
        commit_id: source(started, |source| source.commit.as_deref()),
    });
    for array in storable::json_arrays(runs)? {
        sqlx::query(include_str!("../../queries/run_save.sql")).bind(array).execute(&mut *connection).await?;
    }
    let models = changes.started.iter().flat_map(|started| {
        started.request.models.iter().enumerate().map(|(ordinal, model)| SavedModel {
            tenant_id: started.tenant,
            run_id: started.run_id,
            ordinal,
            model: model.name(),
        })
    });
    for array in storable::json_arrays(models)? {
        sqlx::query(
            "insert into run_model (tenant_id, run_id, ordinal, model)
             select tenant_id, run_id, ordinal, model
             from jsonb_to_recordset($1::jsonb) as r (tenant_id int, run_id uuid, ordinal int, model text)
             on conflict (tenant_id, run_id, ordinal) do nothing",
        )
        .bind(array)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn save_ended(changes: &Changes<'_>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let keys = || changes.ended.keys();
    let ends = || changes.ended.values();
    // Planned anew each time, as the others: a plan made while the table was empty would scan it for ever.
    sqlx::query(
        "update run r set status = e.status, ended_at = e.ended_at, revision = e.revision
         from unnest($1::int[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[])
              as e (tenant_id, run_id, status, ended_at, revision)
         where r.tenant_id = e.tenant_id and r.id = e.run_id and r.status = 'running'",
    )
    .persistent(false)
    .bind(keys().map(|(tenant, _)| tenant.0).collect::<Vec<_>>())
    .bind(keys().map(|(_, run)| run.0).collect::<Vec<_>>())
    .bind(ends().map(|ended| ended.status.name()).collect::<Vec<_>>())
    .bind(ends().map(|ended| ended.at.get()).collect::<Vec<_>>())
    .bind(ends().map(|ended| ended.revision).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn save_counts(changes: &Changes<'_>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let keys = || changes.counts.keys();
    let counts = || changes.counts.values();
    let updated = sqlx::query(include_str!("../../queries/run_count.sql"))
        .persistent(false)
        .bind(keys().map(|(tenant, _, _)| tenant.0).collect::<Vec<_>>())
        .bind(keys().map(|(_, run, _)| run.0).collect::<Vec<_>>())
        .bind(keys().map(|(_, _, model)| model.as_ref()).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.passed).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.failed).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.errors).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.input_tokens).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.output_tokens).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.cost_micro_usd).collect::<Vec<_>>())
        .bind(counts().map(|counts| counts.priced).collect::<Vec<_>>())
        .execute(connection)
        .await?
        .rows_affected();
    let expected = changes.counts.len() as u64;
    if updated != expected {
        // A result says which run and model it is of; one of neither belongs to no summary.
        let strange = expected.saturating_sub(updated);
        tracing::warn!(projection = NAME, strange, "there are results of {strange} runs or models that don't exist");
    }
    Ok(())
}

async fn save_latencies(changes: &Changes<'_>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let keys = || changes.latencies.keys();
    sqlx::query(include_str!("../../queries/run_latency_save.sql"))
        .persistent(false)
        .bind(keys().map(|((tenant, _, _), _)| tenant.0).collect::<Vec<_>>())
        .bind(keys().map(|((_, run, _), _)| run.0).collect::<Vec<_>>())
        .bind(keys().map(|((_, _, model), _)| model.as_ref()).collect::<Vec<_>>())
        .bind(keys().map(|(_, bucket)| *bucket).collect::<Vec<_>>())
        .bind(changes.latencies.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
