//! What uses a card: which of its versions were run, and which schedules ran it last.

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::{PromptCardId, ScheduleId, TestRunId};
use pcs_projections::run_summary::{self, VersionUsage};
use pcs_relay::inspect;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::jobs::wait_for_desk;
use super::{card_answer, wait};
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::usage::UsageDoc;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// Waits until the read models have this position.
    min_position: Option<i64>,
}

/// What uses a card.
#[derive(Debug, Serialize)]
pub(crate) struct Usage {
    /// The versions that were run, the newest first.
    pub(crate) versions: Vec<VersionUsage>,
    /// The schedules whose last run was of the card, by name.
    pub(crate) schedules: Vec<ScheduleUsage>,
}

/// A schedule whose last run was of the card.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleUsage {
    pub(crate) id: ScheduleId,
    pub(crate) name: String,
    pub(crate) paused: bool,
    pub(crate) last_run_id: TestRunId,
    /// The versions of that run.
    pub(crate) versions: Vec<u32>,
}

/// Says which versions of a card were run, and which schedules ran it last.
#[utoipa::path(get, path = "/cards/{card_id}/usage", tag = "cards", params(("card_id" = Uuid, Path), UsageQuery),
    responses((status = 200, body = UsageDoc, description = "What uses the card")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<PromptCardId>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, run_summary::NAME, query.min_position).await?;
    wait_for_desk(&state, query.min_position).await?;
    let pool = state.store().pool();
    let versions = run_summary::versions_run(pool, principal.tenant, id).await?;
    if versions.is_empty() {
        card_answer::must_exist(&state, principal.tenant, id, i64::MAX).await?;
    }
    let schedules = inspect::schedules(pool, principal.tenant.0).await?;
    let last_runs: Vec<Uuid> = schedules.iter().filter_map(|schedule| schedule.last_run_id).collect();
    let of_card = run_summary::versions_of_runs(pool, principal.tenant, id, &last_runs).await?;
    let schedules = schedules.into_iter().filter_map(|schedule| {
        let (run, versions) = of_card.iter().find(|(run, _)| Some(run.0) == schedule.last_run_id)?;
        Some(ScheduleUsage {
            id: ScheduleId(schedule.id),
            name: schedule.name,
            paused: schedule.paused,
            last_run_id: *run,
            versions: versions.clone(),
        })
    });
    Ok(Json(Usage { versions, schedules: schedules.collect() }))
}
