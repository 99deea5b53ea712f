//! Results of runs, and the whole story of one execution.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::Timestamp;
use pcs_domain::data_subject::Guarded;
use pcs_domain::ids::{ExecutionId, TestCaseId, TestRunId};
use pcs_projections::execution_results::{self, ExecutionDetail, ResultFilter, ResultRow};
use pcs_projections::{reviews, run_summary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::ReadQuery;
use super::{past, run_answer, wait};
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query, RESULTS_LIMIT_MAX, limit};
use crate::openapi::answers::{ExecutionDoc, PageOf, ResultDoc};
use crate::problem::Problem;
use crate::state::AppState;

/// Most events of an execution that are shown; it has one per attempt.
const EVENTS_MAX: i64 = 100;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResultQuery {
    /// Of the model with this name.
    model: Option<String>,
    /// Passed, or not: failed and error alike.
    success: Option<bool>,
    /// Of this prompt version.
    version: Option<u32>,
    /// Of this case.
    #[param(value_type = Option<Uuid>)]
    case_id: Option<TestCaseId>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// An event of an execution.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecutionEvent {
    /// Its place in the log.
    pub(crate) position: i64,
    /// Its wire name.
    pub(crate) r#type: String,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) recorded_at: Timestamp,
}

/// An execution's result, its attempts and its events.
#[derive(Debug, Serialize)]
struct Story {
    #[serde(flatten)]
    detail: ExecutionDetail,
    events: Vec<ExecutionEvent>,
}

/// Lists a run's results in the order they were recorded.
#[utoipa::path(get, path = "/runs/{run_id}/results", tag = "results", params(("run_id" = Uuid, Path), ResultQuery),
    responses((status = 200, body = PageOf<ResultDoc>, description = "A page of results")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<TestRunId>,
    Query(query): Query<ResultQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, RESULTS_LIMIT_MAX)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait_for_results(&state, past::least_position(past.as_ref(), query.min_position)).await?;
    let ResultQuery { model, success, version, case_id, cursor, .. } = query;
    let filter = ResultFilter { model, success, version, case_id, up_to: None };
    let (pool, cursor) = (state.store().pool(), cursor.as_deref());
    let mut page = match &past {
        Some(past) => pcs_projections::past::results(past.moment, id, &filter, cursor, limit).await?,
        None => execution_results::page(pool, principal.tenant, id, &filter, cursor, limit).await?,
    };
    let sealed = page.items.iter_mut().map(|result| result as &mut dyn Guarded);
    state.store().reveal(principal.tenant, sealed).await?;
    page.items.iter_mut().for_each(ResultRow::mark_shredded);
    if page.items.is_empty() {
        run_answer::must_exist(&state, principal.tenant, id, past::last_position(past.as_ref())).await?;
    }
    Ok(past::answer(past.as_ref(), page))
}

/// Waits until the results are as new as the runs' summaries: who saw a run completed shall find all of its results.
pub(super) async fn wait_for_results(state: &AppState, min_position: Option<i64>) -> Result<(), Problem> {
    let summarised = pcs_projections::position(state.store().pool(), run_summary::NAME).await?;
    wait(state, execution_results::NAME, Some(min_position.unwrap_or(0).max(summarised))).await?;
    // What people made of them.
    wait(state, reviews::NAME, min_position).await
}

/// Reads an execution that has its result.
#[utoipa::path(get, path = "/executions/{execution_id}", tag = "results",
    params(("execution_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = ExecutionDoc, description = "The execution")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<ExecutionId>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait_for_results(&state, query.min_position).await?;
    let detail = match &past {
        Some(past) => pcs_projections::past::execution(past.moment, id).await?,
        None => execution_results::by_id(state.store().pool(), principal.tenant, id).await?,
    };
    let none = || Problem::not_found("execution_not_found", "there is no such execution, or it has no result yet");
    let mut detail = detail.ok_or_else(none)?;
    state.store().reveal(principal.tenant, detail.guarded()).await?;
    detail.mark_shredded();
    let recorded = state.store().read_stream(principal.tenant, id.0, 0, EVENTS_MAX).await?;
    let last = past::last_position(past.as_ref());
    let events = recorded.into_iter().filter(|event| event.position <= last).map(|event| ExecutionEvent {
        position: event.position,
        r#type: event.type_name.to_string(),
        recorded_at: event.recorded_at,
    });
    Ok(past::answer(past.as_ref(), Story { detail, events: events.collect() }))
}
