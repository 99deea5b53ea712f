//! Verdicts of people in the place of recorded ones, which stay in their events.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::ids::{ExecutionId, TenantId, TestRunId};
use pcs_domain::review::{ReviewCommand, VerdictReplaced, VerdictRestored};
use pcs_projections::execution_results::{self, ResultStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::reviews::{answered, review};
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::Path;
use crate::openapi::reviews::OverrideAnswerDoc;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(put, withdraw))
}

/// A person's verdict.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVerdict {
    /// Whether the answer passes.
    passed: bool,
    /// Why.
    reason: String,
}

impl CommandBody for NewVerdict {}

/// What counts after the command.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) execution_id: ExecutionId,
    pub(crate) run_id: TestRunId,
    /// Whether the answer passes, by what counts now.
    pub(crate) passed: bool,
    /// Whether it does by what was recorded.
    pub(crate) recorded: bool,
}

/// Puts the caller's verdict in the place of the recorded one: comparisons, repeats and a run's `overrides` count it.
#[utoipa::path(put, path = "/executions/{execution_id}/override", tag = "reviews", request_body = NewVerdict,
    params(("execution_id" = Uuid, Path)),
    responses((status = 200, body = OverrideAnswerDoc, description = "What counts now")))]
async fn put(
    State(state): State<AppState>,
    Path(execution_id): Path<ExecutionId>,
    command: Command<NewVerdict>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let (run_id, recorded) = recorded(&state, command.principal.tenant, execution_id).await?;
    let NewVerdict { passed, ref reason } = command.body;
    let verdict = VerdictReplaced {
        run_id,
        execution_id,
        passed,
        passed_before: recorded,
        reason: reason.clone(),
        replaced_by: command.principal.account_id,
    };
    let executed = review(&state, &command, run_id, ReviewCommand::Override(verdict)).await?;
    let answer = Answer { execution_id, run_id, passed, recorded };
    answered(&state, Json(answer).into_response(), &executed).await
}

/// Lets the recorded verdict count again.
#[utoipa::path(delete, path = "/executions/{execution_id}/override", tag = "reviews",
    params(("execution_id" = Uuid, Path)),
    responses((status = 200, body = OverrideAnswerDoc, description = "What counts now")))]
async fn withdraw(
    State(state): State<AppState>,
    Path(execution_id): Path<ExecutionId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let (run_id, recorded) = recorded(&state, command.principal.tenant, execution_id).await?;
    let withdrawn = VerdictRestored { execution_id, restored_by: command.principal.account_id };
    let executed = review(&state, &command, run_id, ReviewCommand::WithdrawOverride(withdrawn)).await?;
    let answer = Answer { execution_id, run_id, passed: recorded, recorded };
    answered(&state, Json(answer).into_response(), &executed).await
}

/// The run of an execution, and whether its answer passed.
async fn recorded(state: &AppState, tenant: TenantId, id: ExecutionId) -> Result<(TestRunId, bool), Problem> {
    let detail = execution_results::by_id(state.store().pool(), tenant, id).await?;
    let none = || Problem::not_found("execution_not_found", "there is no such execution, or it has no result yet");
    let result = detail.ok_or_else(none)?.result;
    if result.status == ResultStatus::Error {
        let detail = "the execution ended without an answer, so there is no verdict to override; retry it";
        return Err(Problem::unprocessable("no_answers", detail));
    }
    Ok((result.run_id, result.success))
}
