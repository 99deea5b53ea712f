//! Queues: how much waits, what is held back, and how to hold back more.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::job_policy::{JobPolicy, JobPolicyCommand, JobPolicyRejection, Scope};
use pcs_domain::test_run::Lane;
use pcs_relay::inspect::{self, Counters, HoldRow, QueueRow};
use pcs_store::{CommandContext, Executed, Expected, execute};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wait_for_desk;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody};
use crate::edge::parameters::Query;
use crate::openapi::jobs::QueuesDoc;
use crate::problem::Problem;
use crate::routes::cards::ReadQuery;
use crate::routes::of_command;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(pause)).routes(routes!(resume))
}

/// What waits, what is held, and what was counted.
#[derive(Debug, Serialize)]
pub(crate) struct Queues {
    pub(crate) queues: Vec<QueueRow>,
    pub(crate) holds: Vec<HoldRow>,
    pub(crate) counters: Counters,
}

/// Which jobs: exactly one of the fields.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeBody {
    /// All of them.
    #[serde(default)]
    everything: bool,
    /// Those of a lane.
    #[schema(value_type = Option<crate::openapi::answers::Lane>)]
    lane: Option<Lane>,
    /// Those of a kind, such as `test_execution`.
    kind: Option<String>,
    /// Those that ask a provider, such as `openai`.
    provider: Option<String>,
    /// Those that ask a model, such as `openai:gpt-4o-mini`.
    model: Option<String>,
    /// Why; read when they are paused.
    #[serde(default)]
    reason: String,
}

impl CommandBody for ScopeBody {}

impl ScopeBody {
    fn scope(&self) -> Result<Scope, Problem> {
        let named = [
            self.everything.then_some(Scope::Everything),
            self.lane.map(Scope::Lane),
            self.kind.clone().map(Scope::Kind),
            self.provider.clone().map(Scope::Provider),
            self.model.clone().map(Scope::Model),
        ];
        let mut named: Vec<Scope> = named.into_iter().flatten().collect();
        match (named.pop(), named.is_empty()) {
            (Some(scope), true) => Ok(scope),
            _ => {
                let detail = "name exactly one of everything, lane, kind, provider and model";
                Err(Problem::unprocessable("invalid_scope", detail))
            }
        }
    }
}

/// Shows what waits by lane and model, what is held, and what was counted.
#[utoipa::path(get, path = "/queues", tag = "jobs", params(ReadQuery),
    responses((status = 200, body = QueuesDoc, description = "The queues")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait_for_desk(&state, query.min_position).await?;
    let (pool, tenant) = (state.store().pool(), principal.tenant.0);
    let queues = inspect::queues(pool, Some(tenant)).await?;
    let holds = inspect::holds(pool, tenant).await?;
    Ok(Json(Queues { queues, holds, counters: inspect::counters(pool).await? }).into_response())
}

/// Holds jobs back: none of them begins, those that run finish, and new runs are accepted.
#[utoipa::path(post, path = "/queues/pause", tag = "jobs", request_body = ScopeBody,
    responses((status = 200, body = crate::openapi::jobs::PolicyDoc, description = "The policy")))]
async fn pause(State(state): State<AppState>, command: Command<ScopeBody>) -> Result<Response, Problem> {
    let (scope, reason) = (command.body.scope()?, command.body.reason.clone());
    let paused_by = command.principal.account_id;
    change(&state, &command, JobPolicyCommand::Pause { scope, reason, paused_by }).await
}

/// Lets jobs go on.
#[utoipa::path(post, path = "/queues/resume", tag = "jobs", request_body = ScopeBody,
    responses((status = 200, body = crate::openapi::jobs::PolicyDoc, description = "The policy")))]
async fn resume(State(state): State<AppState>, command: Command<ScopeBody>) -> Result<Response, Problem> {
    let (scope, resumed_by) = (command.body.scope()?, command.principal.account_id);
    change(&state, &command, JobPolicyCommand::Resume { scope, resumed_by }).await
}

/// Changes the tenant's policy; answers it.
pub(super) async fn change<T>(
    state: &AppState,
    command: &Command<T>,
    change: JobPolicyCommand,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ManageQueues)?;
    let tenant = command.principal.tenant;
    let context = CommandContext { tenant, ..command.context.clone() };
    let executed = execute::<JobPolicy>(state.store(), &context, JobPolicy::id(tenant), Expected::Any, change).await?;
    let Executed { state: policy, revision, position, duplicate } = executed;
    let position = match position {
        Some(position) => position,
        None => state.store().head().await?,
    };
    Ok(of_command(Json(policy).into_response(), revision, position, duplicate))
}

impl From<JobPolicyRejection> for Problem {
    fn from(rejection: JobPolicyRejection) -> Self {
        use axum::http::StatusCode;
        use pcs_domain::RejectionCode;
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            JobPolicyRejection::NoSuchLimit { .. } => refused(StatusCode::NOT_FOUND),
            JobPolicyRejection::TooMany { .. } => refused(StatusCode::CONFLICT),
            JobPolicyRejection::InvalidText { field, .. } => wrong(field),
            JobPolicyRejection::InvalidLimits => refused(StatusCode::UNPROCESSABLE_ENTITY),
            JobPolicyRejection::InvalidWeight => wrong("weight"),
        }
    }
}
