//! What model providers allow, and the tenant's share of the fleet.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::job_policy::{JobPolicyCommand, Limits};
use pcs_projections::Page;
use pcs_relay::inspect::{self, LimitRow};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queues::change;
use super::wait_for_desk;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::{Path, Query};
use crate::openapi::answers::PageOf;
use crate::openapi::jobs::{LimitDoc, PolicyDoc};
use crate::problem::Problem;
use crate::routes::cards::ReadQuery;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, remove)).routes(routes!(weigh))
}

/// What a provider or a model allows; what is absent is not limited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsBody {
    /// Calls that may begin in a minute.
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
    /// Tokens of prompts in a minute.
    #[schema(minimum = 1)]
    input_tokens_per_minute: Option<u64>,
    /// Tokens of answers in a minute.
    #[schema(minimum = 1)]
    output_tokens_per_minute: Option<u64>,
    /// Calls at the same time.
    #[schema(minimum = 1)]
    concurrency: Option<u32>,
}

impl CommandBody for LimitsBody {}

/// A share of the fleet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightBody {
    /// How many shares.
    #[schema(minimum = 1, maximum = 100)]
    weight: u16,
}

impl CommandBody for WeightBody {}

/// Lists the limits, with the calls that have their place and how long the next one waits.
#[utoipa::path(get, path = "/limits", tag = "jobs", params(ReadQuery),
    responses((status = 200, body = PageOf<LimitDoc>, description = "All limits")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Json<Page<LimitRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait_for_desk(&state, query.min_position).await?;
    let items = inspect::limits(state.store().pool(), principal.tenant.0).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Limits the calls to a provider or a model, across the whole fleet. The key is `openai` or `openai:gpt-4o-mini`.
#[utoipa::path(put, path = "/limits/{key}", tag = "jobs", request_body = LimitsBody, params(("key" = String, Path)),
    responses((status = 200, body = PolicyDoc, description = "The policy")))]
async fn set(
    State(state): State<AppState>,
    Path(key): Path<String>,
    command: Command<LimitsBody>,
) -> Result<Response, Problem> {
    let LimitsBody { requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, concurrency } =
        command.body;
    let limits = Limits { requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, concurrency };
    let set_by = command.principal.account_id;
    change(&state, &command, JobPolicyCommand::SetLimit { key, limits, set_by }).await
}

/// Limits them no more.
#[utoipa::path(delete, path = "/limits/{key}", tag = "jobs", params(("key" = String, Path)),
    responses((status = 200, body = PolicyDoc, description = "The policy")))]
async fn remove(
    State(state): State<AppState>,
    Path(key): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let removed_by = command.principal.account_id;
    change(&state, &command, JobPolicyCommand::RemoveLimit { key, removed_by }).await
}

/// Gives the tenant another share of the fleet.
#[utoipa::path(put, path = "/queues/weight", tag = "jobs", request_body = WeightBody,
    responses((status = 200, body = PolicyDoc, description = "The policy")))]
async fn weigh(State(state): State<AppState>, command: Command<WeightBody>) -> Result<Response, Problem> {
    let (weight, set_by) = (command.body.weight, command.principal.account_id);
    change(&state, &command, JobPolicyCommand::SetWeight { weight, set_by }).await
}
