//! The named metrics of a run.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::TestRunId;
use pcs_projections::comparison::CountedRun;
use pcs_projections::run_metrics::{ArmMetrics, metrics_of};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::ReadQuery;
use super::past::{answer, last_position, least_position, past};
use super::results::wait_for_results;
use super::run_answer::must_exist;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::comparison::RunMetricsDoc;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// A run's named metrics.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) run_id: TestRunId,
    pub(crate) arms: Vec<ArmMetrics>,
}

/// Says what the assertions that have a metric's name come to, by version and model.
#[utoipa::path(get, path = "/runs/{run_id}/metrics", tag = "results", params(("run_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = RunMetricsDoc, description = "The metrics")))]
async fn metrics(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(run_id): Path<TestRunId>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let past = past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait_for_results(&state, least_position(past.as_ref(), query.min_position)).await?;
    let up_to = last_position(past.as_ref());
    must_exist(&state, principal.tenant, run_id, up_to).await?;
    let counted = CountedRun::read(state.store().pool(), (principal.tenant, run_id), up_to).await?;
    Ok(answer(past.as_ref(), Answer { run_id, arms: metrics_of(&counted) }))
}
