//! How this process is, and what its API is: open to everybody who reaches the port.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pcs_relay::inspect;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::job_gauges::{JobState, TENANT};
use crate::openapi;
use crate::problem::Problem;
use crate::readiness::ReadinessReport;
use crate::state::AppState;

/// The media type of the text that Prometheus reads.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Longest time for what is measured in the database: a scrape that takes too long is lost as a whole.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(2);

/// What `/` says until the web UI is there.
const WELCOME: &str = "Prompt Card System\n\n\
    API:        /api/v1 (send 'Authorization: Bearer <api key>')\n\
    OpenAPI:    /api/v1/openapi.json\n\
    Health:     /healthz, /readyz\n\
    Metrics:    /metrics\n\n\
    On the command line: pcs --help\n";

/// Made once: the routes don't change while the process runs.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(welcome))
        .routes(routes!(document))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// Says what this is.
#[utoipa::path(get, path = "/", tag = "system",
    responses((status = 200, body = String, content_type = "text/plain", description = "Where to go")))]
async fn welcome() -> &'static str {
    WELCOME
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "system",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// Says that the process is up.
#[utoipa::path(get, path = "/healthz", tag = "system",
    responses((status = 200, body = String, content_type = "text/plain", description = "It is up")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether the process can do its work.
#[utoipa::path(get, path = "/readyz", tag = "system", responses(
    (status = 200, body = ReadinessReport, description = "It can"),
    (status = 503, body = ReadinessReport, description = "It can't; a check says why")))]
async fn readyz(State(state): State<AppState>) -> Response {
    let report = state.readiness().report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn job_state(state: &AppState) -> Result<JobState, sqlx::Error> {
    let pool = state.store().pool();
    let queues = inspect::queues(pool, None).await?;
    Ok(JobState {
        fleet: inspect::fleet(pool, &queues).await?,
        queues,
        limits: inspect::limits(pool, TENANT).await?,
        holds: inspect::holds(pool, TENANT).await?,
        counters: inspect::counters(pool).await?,
        dead_letters: inspect::dead_letter_count(pool).await?,
    })
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "application/openmetrics-text", description = "The metrics")))]
async fn metrics(State(state): State<AppState>) -> Result<Response, Problem> {
    let metrics = state.metrics();
    // A database that is down must not hide the other metrics: these gauges then stay as they were.
    let store = state.store();
    let measured =
        tokio::time::timeout(MEASURE_TIMEOUT, async { (store.head().await, pcs_projections::states(store).await) });
    match measured.await {
        Ok((Ok(head), Ok(states))) => {
            metrics.set_head(head);
            metrics.set_projections(&states);
        }
        Ok((Err(error), _)) => tracing::warn!(error = %error, "the head of the log could not be measured"),
        Ok((_, Err(error))) => tracing::warn!(error = %error, "the lag of projections could not be measured"),
        Err(_) => tracing::warn!("the database was too slow to measure the log"),
    }
    match tokio::time::timeout(MEASURE_TIMEOUT, job_state(&state)).await {
        Ok(Ok(jobs)) => metrics.set_jobs(&jobs),
        Ok(Err(error)) => tracing::warn!(error = %error, "the job system could not be measured"),
        Err(_) => tracing::warn!("the database was too slow to measure the job system"),
    }
    for passed in state.store().passed_by() {
        metrics.set_passed_by(&passed.type_name, passed.schema_version, passed.times);
    }
    let text = metrics.encode().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response())
}
