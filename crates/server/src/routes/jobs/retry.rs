//! Runs that repeat what another run left undone: its dead letters, or what was not done when it was cancelled.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::execution::FailureClass;
use pcs_domain::ids::{ActorId, ExecutionId, TenantId, TestRunId};
use pcs_domain::test_run::{Budget, Lane, Requested, Retry, Terms, TestRun, TestRunCommand, TestRunRejection};
use pcs_relay::inspect;
use pcs_store::{CommandContext, Executed, execute_new};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::wait_for_desk;
use crate::edge::command::{Command, CommandBody};
use crate::edge::parameters::Path;
use crate::openapi::answers::RunDoc;
use crate::problem::Problem;
use crate::routes::{at, is_of_another_kind, run_answer};
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(retry))
}

/// What is run again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryBody {
    /// The executions that ended as errors.
    #[serde(default = "yes")]
    errors: bool,
    /// Of those, only these kinds of errors, such as `timeout`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    classes: Vec<FailureClass>,
    /// The executions that had no result when the run was cancelled.
    #[serde(default = "yes")]
    unfinished: bool,
    /// Only these executions of the run; at most 1,000.
    #[schema(value_type = Option<Vec<Uuid>>)]
    execution_ids: Option<Vec<ExecutionId>>,
    /// How important the new run is; as the other one where it is absent.
    #[schema(value_type = Option<crate::openapi::answers::Lane>)]
    lane: Option<Lane>,
    /// What the new run may use; not limited where it is absent.
    #[serde(default)]
    #[schema(value_type = Option<crate::openapi::answers::BudgetDoc>)]
    budget: Budget,
}

fn yes() -> bool {
    true
}

impl CommandBody for RetryBody {
    const OPTIONAL: bool = true;
}

/// Starts a run of what another run left undone. It has ended; its other results stay as they are.
#[utoipa::path(post, path = "/runs/{run_id}/retry", tag = "runs", request_body = Option<RetryBody>,
    params(("run_id" = Uuid, Path)), responses((status = 202, body = RunDoc, description = "The new run")))]
async fn retry(
    State(state): State<AppState>,
    Path(of): Path<TestRunId>,
    command: Command<RetryBody>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::StartRun)?;
    let Command { body, principal, context, .. } = command;
    let retry = Retry {
        of,
        errors: body.errors.then_some(body.classes),
        unfinished: body.unfinished,
        execution_ids: body.execution_ids,
    };
    let repeat = Repeat { retry, lane: body.lane, budget: body.budget };
    let (id, executed) = start(&state, &context, repeat, principal.account_id).await?;
    let response = run_answer::answer(&state, principal.tenant, id, executed).await?;
    Ok(at(response, &format!("runs/{id}")))
}

/// What shall be repeated, and on which terms.
pub(super) struct Repeat {
    pub(super) retry: Retry,
    pub(super) lane: Option<Lane>,
    pub(super) budget: Budget,
}

/// Requests a run that repeats part of another one.
pub(super) async fn start(
    state: &AppState,
    context: &CommandContext,
    repeat: Repeat,
    account: ActorId,
) -> Result<(TestRunId, Executed<TestRun>), Problem> {
    // From the command, so that a retry of the command finds the run of the first time.
    let id = TestRunId(Uuid::new_v5(&context.command_id.0, repeat.retry.of.0.as_bytes()));
    let first = state.store().load::<TestRun>(context.tenant, id.0).await?;
    let request = match first.state.request() {
        Some(request) => request.clone(),
        None => request(state, context.tenant, repeat, account).await?,
    };
    let command = TestRunCommand::Request(Box::new(request));
    Ok((id, execute_new::<TestRun>(state.store(), context, id.0, command).await?))
}

async fn request(state: &AppState, tenant: TenantId, repeat: Repeat, account: ActorId) -> Result<Requested, Problem> {
    let of = repeat.retry.of;
    let loaded = state.store().load::<TestRun>(tenant, of.0).await;
    let run = loaded.map_err(|error| {
        if is_of_another_kind::<TestRun>(&error) { TestRunRejection::NotFound.into() } else { Problem::from(error) }
    })?;
    let request = match run.state {
        TestRun::Absent => return Err(TestRunRejection::NotFound.into()),
        TestRun::Running(_) => {
            let detail = "the run is still running: cancel it, or wait for its end";
            return Err(Problem::new(StatusCode::CONFLICT, "run_is_running", detail));
        }
        TestRun::Cancelled(request) | TestRun::Completed(request, _) => request,
    };
    // The scheduler has to have come to the run's end, or it would not know what is left.
    wait_for_desk(state, Some(state.store().head().await?)).await?;
    let executions = count(state, tenant, &repeat.retry).await?;
    if executions == 0 {
        let detail = "nothing of the run is left to be run again: it was repeated or dismissed before, or never failed";
        return Err(Problem::new(StatusCode::CONFLICT, "nothing_to_retry", detail));
    }
    let mut name = format!("retry of {}", if request.name.is_empty() { of.to_string() } else { request.name.clone() });
    name.truncate(name.floor_char_boundary(pcs_domain::limits::NAME_CHARS_MAX));
    Ok(Requested {
        name,
        executions,
        lane: repeat.lane.unwrap_or(request.lane),
        requested_by: account,
        terms: Terms { budget: repeat.budget, cache: request.terms.cache, ..Terms::default() },
        retry: Some(repeat.retry),
        schedule_id: None,
        ..request
    })
}

async fn count(state: &AppState, tenant: TenantId, retry: &Retry) -> Result<u64, Problem> {
    let ids: Option<Vec<Uuid>> = retry.execution_ids.as_ref().map(|ids| ids.iter().map(|id| id.0).collect());
    let undone = inspect::undone(state.store().pool(), tenant.0, retry.of.0, ids.as_deref()).await?;
    let wanted = |class: Option<&str>| match (class, &retry.errors) {
        (None, _) => retry.unfinished,
        (Some(_), None) => false,
        (Some(class), Some(classes)) => classes.is_empty() || classes.iter().any(|known| known.name() == class),
    };
    let found = undone.iter().filter(|row| wanted(row.class.as_deref())).map(|row| row.executions).sum::<i64>();
    Ok(u64::try_from(found).unwrap_or(0))
}
