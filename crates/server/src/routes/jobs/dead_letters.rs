//! Dead letters: looked at, run again, or dismissed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::execution::{Execution, ExecutionCommand, ExecutionRejection, FailureClass};
use pcs_domain::ids::{CommandId, ExecutionId, PromptCardId, TestRunId};
use pcs_domain::limits::RETRY_EXECUTIONS_MAX;
use pcs_domain::test_run::{Budget, Lane, Retry};
use pcs_projections::Page;
use pcs_relay::inspect::{self, DeadLetterFilter, DeadLetterRow};
use pcs_store::{CommandContext, ExecuteError, Expected, execute};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::retry::{Repeat, start};
use super::wait_for_desk;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody};
use crate::edge::parameters::{LIMIT_MAX, Query, limit};
use crate::openapi::answers::PageOf;
use crate::openapi::jobs::DeadLetterDoc;
use crate::problem::Problem;
use crate::state::AppState;

/// Most dead letters that one command works on; it says whether there are more.
const AT_ONCE_MAX: i64 = 1_000;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(redrive)).routes(routes!(dismiss))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterQuery {
    /// Of this run.
    #[param(value_type = Option<Uuid>)]
    run_id: Option<TestRunId>,
    /// Of this card.
    #[param(value_type = Option<Uuid>)]
    card_id: Option<PromptCardId>,
    /// Of this kind of error, such as `timeout`.
    #[param(value_type = Option<String>)]
    class: Option<FailureClass>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the scheduler has this position.
    min_position: Option<i64>,
}

/// Which dead letters: all that fit, at most 1,000 at once.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterChoice {
    /// These.
    #[schema(value_type = Option<Vec<Uuid>>)]
    execution_ids: Option<Vec<ExecutionId>>,
    /// Of this run.
    #[schema(value_type = Option<Uuid>)]
    run_id: Option<TestRunId>,
    /// Of this card.
    #[schema(value_type = Option<Uuid>)]
    card_id: Option<PromptCardId>,
    /// Of this kind of error.
    #[schema(value_type = Option<String>)]
    class: Option<FailureClass>,
    /// Whether all of them, where nothing else is named.
    #[serde(default)]
    all: bool,
    /// Why they are dismissed; may be empty.
    #[serde(default)]
    reason: String,
}

impl CommandBody for DeadLetterChoice {}

/// What became of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Handled {
    /// How many were run again or dismissed.
    executions: usize,
    /// The runs that run them again, by the run that they are of.
    #[schema(value_type = std::collections::BTreeMap<String, Uuid>)]
    runs: BTreeMap<TestRunId, TestRunId>,
    /// Whether there may be more that fit.
    more: bool,
}

/// Lists dead letters, the newest first. Their attempts are read at `/executions/{execution_id}`.
#[utoipa::path(get, path = "/dead-letters", tag = "jobs", params(DeadLetterQuery),
    responses((status = 200, body = PageOf<DeadLetterDoc>, description = "A page of dead letters")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<DeadLetterQuery>,
) -> Result<Json<Page<DeadLetterRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    wait_for_desk(&state, query.min_position).await?;
    let before = query.cursor.as_deref().map(str::parse::<i64>).transpose().map_err(|_| {
        Problem::unprocessable("invalid_cursor", "the cursor is not one of this list").field("cursor", "is not known")
    })?;
    let filter = DeadLetterFilter {
        run_id: query.run_id.map(|id| id.0),
        class: query.class.map(|class| class.name().to_owned()),
        card_id: query.card_id.map(|id| id.0),
    };
    let items = inspect::dead_letters(state.store().pool(), principal.tenant.0, &filter, before, limit).await?;
    let is_full = i64::try_from(items.len()).is_ok_and(|len| len == limit);
    let next_cursor = items.last().filter(|_| is_full).map(|last| last.position.to_string());
    Ok(Json(Page { items, next_cursor }))
}

/// Runs dead letters again, in a new run for each run that they are of.
#[utoipa::path(post, path = "/dead-letters/redrive", tag = "jobs", request_body = DeadLetterChoice,
    responses((status = 202, body = Handled, description = "The new runs")))]
async fn redrive(State(state): State<AppState>, command: Command<DeadLetterChoice>) -> Result<Response, Problem> {
    authorize(&command.principal, Action::StartRun)?;
    let Command { body, principal, context, .. } = command;
    let chosen = choose(&state, principal.tenant.0, &body).await?;
    let mut by_run: BTreeMap<TestRunId, Vec<ExecutionId>> = BTreeMap::new();
    for row in &chosen {
        by_run.entry(TestRunId(row.run_id)).or_default().push(ExecutionId(row.execution_id));
    }
    let mut runs = BTreeMap::new();
    for (of, ids) in by_run {
        let retry = Retry { of, errors: Some(Vec::new()), unfinished: false, execution_ids: Some(ids) };
        let repeat = Repeat { retry, lane: None::<Lane>, budget: Budget::default() };
        // One command for each run, derived from the one that was sent: sending it again finds the same runs.
        let command_id = CommandId::derived(context.command_id.0, &of.to_string());
        let context = CommandContext { command_id, fingerprint: None, ..context.clone() };
        let (id, _) = start(&state, &context, repeat, principal.account_id).await?;
        runs.insert(of, id);
    }
    let handled = Handled { executions: chosen.len(), runs, more: is_full(&chosen) };
    Ok((axum::http::StatusCode::ACCEPTED, Json(handled)).into_response())
}

/// Dismisses dead letters: nothing shall be done about them. Their results stay errors.
#[utoipa::path(post, path = "/dead-letters/dismiss", tag = "jobs", request_body = DeadLetterChoice,
    responses((status = 200, body = Handled, description = "How many")))]
async fn dismiss(State(state): State<AppState>, command: Command<DeadLetterChoice>) -> Result<Response, Problem> {
    authorize(&command.principal, Action::CancelRun)?;
    let Command { body, principal, context, .. } = command;
    let chosen = choose(&state, principal.tenant.0, &body).await?;
    for row in &chosen {
        let command_id = CommandId::derived(context.command_id.0, &row.execution_id.to_string());
        let context = CommandContext { command_id, fingerprint: None, ..context.clone() };
        let dismiss = ExecutionCommand::Dismiss { reason: body.reason.clone(), dismissed_by: principal.account_id };
        match execute::<Execution>(state.store(), &context, row.execution_id, Expected::Exists, dismiss).await {
            // Somebody was faster.
            Ok(_) | Err(ExecuteError::Rejected(ExecutionRejection::NoDeadLetter)) => (),
            Err(error) => return Err(error.into()),
        }
    }
    let handled = Handled { executions: chosen.len(), runs: BTreeMap::new(), more: is_full(&chosen) };
    Ok(Json(handled).into_response())
}

fn is_full(chosen: &[DeadLetterRow]) -> bool {
    i64::try_from(chosen.len()).is_ok_and(|len| len >= AT_ONCE_MAX)
}

async fn choose(state: &AppState, tenant: i32, choice: &DeadLetterChoice) -> Result<Vec<DeadLetterRow>, Problem> {
    let named = choice.execution_ids.as_ref().map_or(0, Vec::len);
    let has_filter = choice.run_id.is_some() || choice.card_id.is_some() || choice.class.is_some();
    if named == 0 && !has_filter && !choice.all {
        let detail = "name execution_ids, run_id, card_id or class, or say all: true";
        return Err(Problem::unprocessable("nothing_chosen", detail));
    }
    if named > RETRY_EXECUTIONS_MAX {
        let message = format!("{named} executions are named, and at most {RETRY_EXECUTIONS_MAX} are allowed");
        return Err(Problem::unprocessable("too_many_items", &message).field("execution_ids", &message));
    }
    wait_for_desk(state, Some(state.store().head().await?)).await?;
    let filter = DeadLetterFilter {
        run_id: choice.run_id.map(|id| id.0),
        class: choice.class.map(|class| class.name().to_owned()),
        card_id: choice.card_id.map(|id| id.0),
    };
    let pool = state.store().pool();
    let mut rows = match &choice.execution_ids {
        None => inspect::dead_letters(pool, tenant, &filter, None, AT_ONCE_MAX).await?,
        Some(ids) => inspect::dead_letters_of(pool, tenant, &ids.iter().map(|id| id.0).collect::<Vec<_>>()).await?,
    };
    rows.retain(|row| {
        filter.run_id.is_none_or(|id| id == row.run_id)
            && filter.card_id.is_none_or(|id| id == row.card_id)
            && filter.class.as_ref().is_none_or(|class| *class == row.class)
    });
    Ok(rows)
}

impl From<ExecutionRejection> for Problem {
    fn from(rejection: ExecutionRejection) -> Self {
        use axum::http::StatusCode;
        use pcs_domain::RejectionCode;
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        match &rejection {
            ExecutionRejection::AlreadyRecorded
            | ExecutionRejection::StaleAttempt { .. }
            | ExecutionRejection::NoDeadLetter => refused(StatusCode::CONFLICT),
            ExecutionRejection::InvalidText { field, .. } => {
                refused(StatusCode::UNPROCESSABLE_ENTITY).field(*field, rejection.to_string())
            }
        }
    }
}
