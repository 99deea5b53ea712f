//! Runs: requested, found, followed and stopped.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, Principal, authorize};
use pcs_domain::ids::{PromptCardId, TestRunId};
use pcs_domain::limits;
use pcs_domain::test_run::{CancelCause, Requested, TestRun, TestRunCommand, TestRunRejection};
use pcs_projections::execution_results;
use pcs_projections::run_summary::{self, RunFilter};
use pcs_store::{CommandContext, ExecuteError, Loaded, execute, execute_new};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::cards::{ReadQuery, Reason};
use super::partials;
use super::run_request::{self, NewRun};
use super::run_skips;
use super::{at, card_answer, is_of_another_kind, past, run_answer, wait, with_revision};
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::command::Command;
use crate::edge::parameters::{LIMIT_MAX, Path, Query, limit};
use crate::openapi::answers::{PageOf, RunDoc};
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(request, list)).routes(routes!(read)).routes(routes!(cancel))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Of this card.
    #[param(value_type = Option<Uuid>)]
    card_id: Option<PromptCardId>,
    #[param(inline, value_type = Option<crate::openapi::answers::RunStatus>)]
    status: Option<Status>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Running,
    Completed,
    Cancelled,
}

impl From<Status> for run_summary::RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Completed => Self::Completed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// Starts a run, after checking that it can work: templates, variables, assertions and models.
#[utoipa::path(post, path = "/runs", tag = "runs", request_body = NewRun,
    responses((status = 202, body = RunDoc, description = "The run")))]
async fn request(State(state): State<AppState>, command: Command<NewRun>) -> Result<Response, Problem> {
    let Command { body, principal, context, .. } = command;
    authorize(&principal, Action::StartRun)?;
    // From the command, so that a retry finds the run of the first time.
    let id = TestRunId(Uuid::new_v5(&context.command_id.0, b"test_run"));
    let requested = match first_request(&state, &context, id).await? {
        Some(requested) => requested,
        None => checked(&state, body, &principal).await?,
    };
    let request = TestRunCommand::Request(Box::new(requested));
    let executed = execute_new::<TestRun>(state.store(), &context, id.0, request).await?;
    let response = run_answer::answer(&state, principal.tenant, id, executed).await?;
    Ok(at(response, &format!("runs/{id}")))
}

/// What the same command asked for the first time: the card may have changed since, and a retry must not notice. The
/// store compares what was sent, and refuses another request with the same key.
async fn first_request(
    state: &AppState,
    context: &CommandContext,
    id: TestRunId,
) -> Result<Option<Requested>, Problem> {
    if context.fingerprint.is_none() {
        return Ok(None);
    }
    let run = state.store().load::<TestRun>(context.tenant, id.0).await?;
    Ok(run.state.request().cloned())
}

async fn checked(state: &AppState, mut body: NewRun, principal: &Principal) -> Result<Requested, Problem> {
    let (source, skips) = (body.take_source()?, body.take_skips());
    // Templates and assertions are checked against what the cases really say.
    let Loaded { state: card, revision, .. } = card_answer::loaded(state, principal.tenant, body.card_id).await?;
    let (account, template) = (principal.account_id, body.into_template());
    let included = partials::find(state, principal.tenant, &template, &card, revision).await?;
    let place = state.run_checks().clone().acquire_owned().await;
    let checked = tokio::task::spawn_blocking(move || {
        let _place = place;
        let requested = run_request::check(&template, &card, revision, account, included)?;
        run_skips::without(requested, card.card(), skips)
    });
    let requested = checked.await.unwrap_or_else(|error| Err(Problem::internal(error.to_string())))?;
    Ok(Requested { source, ..requested })
}

/// Finds runs, the newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = PageOf<RunDoc>, description = "A page of runs")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<RunQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, run_summary::NAME, past::least_position(past.as_ref(), query.min_position)).await?;
    let filter = RunFilter { card_id: query.card_id, status: query.status.map(Into::into) };
    let cursor = query.cursor.as_deref();
    let page = match &past {
        Some(past) => {
            wait(&state, execution_results::NAME, Some(past.moment.position)).await?;
            pcs_projections::past::runs(past.moment, &filter, cursor, limit).await?
        }
        None => run_summary::page(state.store().pool(), principal.tenant, &filter, cursor, limit).await?,
    };
    Ok(past::answer(past.as_ref(), page))
}

/// Reads a run with the results so far.
#[utoipa::path(get, path = "/runs/{run_id}", tag = "runs", params(("run_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = RunDoc, description = "The run")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<TestRunId>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, run_summary::NAME, query.min_position).await?;
    let run = match &past {
        Some(past) => {
            wait(&state, execution_results::NAME, Some(past.moment.position)).await?;
            pcs_projections::past::run(past.moment, id).await?
        }
        None => run_summary::by_id(state.store().pool(), principal.tenant, id).await?,
    };
    let run = run.ok_or(TestRunRejection::NotFound)?;
    let revision = run.revision;
    Ok(with_revision(past::answer(past.as_ref(), run), revision))
}

/// Stops a run: executions without a result will not get one.
#[utoipa::path(post, path = "/runs/{run_id}/cancel", tag = "runs", request_body = Option<Reason>,
    params(("run_id" = Uuid, Path)), responses((status = 202, body = RunDoc, description = "The run")))]
async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<TestRunId>,
    command: Command<Reason>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::CancelRun)?;
    let expected = command.expected();
    let Command { body: Reason { reason }, principal, context, .. } = command;
    if reason.len() > limits::MESSAGE_BYTES_MAX {
        let message = format!("reason has more than {} bytes", limits::MESSAGE_BYTES_MAX);
        return Err(Problem::unprocessable("field_too_long", &message).field("reason", &message));
    }
    let cancel = TestRunCommand::Cancel { reason, cancelled_by: Some(principal.account_id), cause: CancelCause::Asked };
    let executed = execute::<TestRun>(state.store(), &context, id.0, expected, cancel).await;
    let executed = executed.map_err(|error| match error {
        ExecuteError::Conflict { actual: 0, .. } => TestRunRejection::NotFound.into(),
        ExecuteError::Store(error) if is_of_another_kind::<TestRun>(&error) => TestRunRejection::NotFound.into(),
        error => Problem::from(error),
    })?;
    run_answer::answer(&state, principal.tenant, id, executed).await
}
