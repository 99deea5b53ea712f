//! The routes, one file per group: extract, authorise, execute, answer.

pub(crate) mod cards;
pub(crate) mod card_answer;
pub(crate) mod card_versions;
pub(crate) mod lint;
pub(crate) mod labels;
pub(crate) mod prompts;
pub(crate) mod langfuse;
pub(crate) mod cases;
pub(crate) mod usage;
pub(crate) mod runs;
pub(crate) mod jobs;
mod subjects;
pub(crate) mod partials;
pub(crate) mod run_answer;
pub(crate) mod run_request;
mod model_faults;
mod run_skips;
pub(crate) mod results;
pub(crate) mod comparison;
pub(crate) mod case_schema;
pub(crate) mod playground;
pub(crate) mod run_metrics;
pub(crate) mod regrades;
pub(crate) mod overrides;
pub(crate) mod reviews;
pub(crate) mod review_reads;
pub(crate) mod certificates;
pub(crate) mod projections;
pub(crate) mod past;
pub(crate) mod system;

pub(crate) use system::OPENMETRICS;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use pcs_domain::{Aggregate, Category, DecodeError, EventSet};
use pcs_projections::wait_for_position;
use pcs_store::StoreError;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::edge::authenticate::{Gate, authenticated, authenticated_by_password};
use crate::openapi::ApiDoc;
use crate::problem::Problem;
use crate::state::AppState;

/// Where the versioned API lives.
const API: &str = "/api/v1";
/// How long a read waits for its read model to have `min_position`.
const READ_WAIT: Duration = Duration::from_secs(5);
/// When to come back to a read model that is behind.
const BEHIND_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The header of a command's position.
const POSITION: HeaderName = HeaderName::from_static("pcs-position");
/// Says that an answer is the first one again.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// All routes with their descriptions, as yet without the gate.
pub(crate) fn documented() -> OpenApiRouter<AppState> {
    let own = OpenApiRouter::with_openapi(ApiDoc::openapi()).nest(API, gated()).merge(system::routes());
    own.merge(langfuse::gated()).merge(langfuse::open())
}

/// The routes that need an account.
fn gated() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(cards::routes())
        .merge(card_versions::routes())
        .merge(lint::routes())
        .merge(labels::routes())
        .merge(prompts::routes())
        .merge(cases::routes())
        .merge(case_schema::routes())
        .merge(usage::routes())
        .merge(runs::routes())
        .merge(results::routes())
        .merge(comparison::routes())
        .merge(run_metrics::routes())
        .merge(regrades::routes())
        .merge(reviews::routes())
        .merge(review_reads::routes())
        .merge(overrides::routes())
        .merge(playground::routes())
        .merge(certificates::routes())
        .merge(jobs::routes())
        .merge(projections::routes())
        .merge(subjects::routes())
}

/// All routes, with the gate before those that need an account.
pub(crate) fn router(state: AppState) -> Router {
    let gate = Gate::of(&state);
    let gated = gated().route_layer(from_fn_with_state(gate.clone(), authenticated));
    let langfuse = langfuse::gated().route_layer(from_fn_with_state(gate, authenticated_by_password));
    let own = OpenApiRouter::new().nest(API, gated).merge(system::routes());
    let (router, _) = own.merge(langfuse).merge(langfuse::open()).split_for_parts();
    router.with_state(state)
}

/// Waits until a projection has what the client wants to see.
async fn wait(state: &AppState, projection: &str, min_position: Option<i64>) -> Result<(), Problem> {
    let Some(position) = min_position else {
        return Ok(());
    };
    if wait_for_position(state.store().pool(), projection, position, READ_WAIT).await? {
        return Ok(());
    }
    let detail = format!("the read model {projection} has not come to position {position} yet");
    Err(Problem::unavailable("read_model_behind", detail, BEHIND_RETRY_AFTER))
}

/// Whether the id is that of another kind of thing: its stream exists, and has no events of this aggregate.
fn is_of_another_kind<A: Aggregate>(error: &StoreError) -> bool {
    match error {
        StoreError::Decode { source: DecodeError::UnknownType { name, .. }, .. } => {
            let category = name.split('.').next().unwrap_or_default();
            let own = A::Event::CATEGORY.name();
            category != own && Category::ALL.iter().any(|known| known.name() == category)
        }
        _ => false,
    }
}

/// The revision of what is answered, as clients send it back in `If-Match`.
fn with_revision(mut response: Response, revision: i64) -> Response {
    if let Ok(etag) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// What every command's answer carries.
fn of_command(response: Response, revision: i64, position: i64, replayed: bool) -> Response {
    let mut response = with_revision(response, revision);
    response.headers_mut().insert(POSITION, HeaderValue::from(position));
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Where a new thing can be read.
fn at(mut response: Response, path: &str) -> Response {
    if let Ok(location) = HeaderValue::try_from(format!("{API}/{path}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
