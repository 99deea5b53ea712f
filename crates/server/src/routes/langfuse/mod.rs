//! What Langfuse's clients ask for to fetch prompts: our cards, read at its paths and answered in its shapes.
//!
//! A prompt's name is its card's title, its config the card's metadata. Templates are handed over as they are.

mod answer;
pub(crate) mod content;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::Timestamp;
use pcs_projections::card_list::{self, PromptFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::answer::{Listed, Meta, Prompt, PromptMeta};
use super::prompts::{self, Wanted};
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query, limit};
use crate::openapi::langfuse::{LangfusePromptDoc, LangfusePromptsDoc};
use crate::problem::Problem;
use crate::state::AppState;

/// Most prompts of a page; Langfuse's own limit.
const LIMIT_MAX: i64 = 100;
/// The last page that can be asked for: positions beyond it have no number.
const PAGE_MAX: i64 = i64::MAX / LIMIT_MAX;

/// The routes that need an account, by HTTP Basic.
pub(crate) fn gated() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(prompt)).routes(routes!(prompts))
}

/// The routes for everybody.
pub(crate) fn open() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PromptQuery {
    /// This version.
    version: Option<u32>,
    /// The version that has this label, or the newest for `latest`; `production` where neither it nor a version is asked
    /// for.
    label: Option<String>,
    /// Taken and without effect: prompts do not refer to each other here.
    #[serde(rename = "resolve")]
    #[param(rename = "resolve")]
    _resolve: Option<bool>,
}

/// Reads a version of a prompt, as Langfuse's clients do.
#[utoipa::path(get, path = "/api/public/v2/prompts/{prompt_name}", tag = "langfuse",
    params(("prompt_name" = String, Path, description = "The title of its card; a slash is written %2F"), PromptQuery),
    responses((status = 200, body = LangfusePromptDoc, description = "The prompt")))]
async fn prompt(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(name): Path<String>,
    Query(query): Query<PromptQuery>,
) -> Result<Json<Prompt>, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let wanted = Wanted::of(query.version, query.label)?;
    let found = prompts::find(&state, principal.tenant, &name, wanted, None).await?;
    Ok(Json(Prompt::of(found)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct PromptsQuery {
    /// Exactly this name.
    name: Option<String>,
    /// Has a version with this label; only that version is then shown.
    label: Option<String>,
    /// Has this tag.
    tag: Option<String>,
    /// The number of the page, from 1.
    #[param(minimum = 1)]
    page: Option<i64>,
    /// Prompts of a page.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Its card changed at this time or later (RFC 3339).
    #[param(value_type = Option<String>)]
    from_updated_at: Option<Timestamp>,
    /// Its card last changed before this time (RFC 3339).
    #[param(value_type = Option<String>)]
    to_updated_at: Option<Timestamp>,
}

/// Lists prompts by name, as Langfuse's clients do.
#[utoipa::path(get, path = "/api/public/v2/prompts", tag = "langfuse", params(PromptsQuery),
    responses((status = 200, body = LangfusePromptsDoc, description = "A page of prompts")))]
async fn prompts(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<PromptsQuery>,
) -> Result<Json<Listed>, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    let page = query.page.unwrap_or(1);
    if !(1..=PAGE_MAX).contains(&page) {
        return Err(Problem::invalid_query("page", format!("must be from 1 to {PAGE_MAX}")));
    }
    let filter = PromptFilter {
        title: query.name,
        label: query.label,
        tag: query.tag,
        updated_from: query.from_updated_at,
        updated_before: query.to_updated_at,
    };
    let pool = state.store().pool();
    let found = card_list::prompts(pool, principal.tenant, &filter, (page - 1) * limit, limit).await?;
    let meta = Meta::of(page, limit, found.total);
    let is_of_label = filter.label.is_some();
    let data = found.prompts.into_iter().map(|prompt| PromptMeta::of(prompt, is_of_label)).collect();
    Ok(Json(Listed { data, meta }))
}

/// How this server is, as Langfuse says it.
#[derive(Serialize, ToSchema)]
#[schema(as = LangfuseHealth)]
struct Health {
    /// `OK`, or why not.
    status: &'static str,
    /// The version of this server.
    version: &'static str,
}

/// Says whether the process can do its work, as Langfuse's clients ask.
#[utoipa::path(get, path = "/api/public/health", tag = "langfuse", responses(
    (status = 200, body = inline(Health), description = "It can"),
    (status = 503, body = inline(Health), description = "It can't; /readyz says why")))]
async fn health(State(state): State<AppState>) -> Response {
    let ready = state.readiness().report().await.ready;
    let (code, status) = if ready { (StatusCode::OK, "OK") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(Health { status, version: env!("CARGO_PKG_VERSION") })).into_response()
}
