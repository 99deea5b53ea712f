//! Jobs on request: asked for, found, cancelled, tried again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, Principal, authorize};
use pcs_domain::ids::{ActorId, JobId};
use pcs_domain::job::{Job, JobCommand, JobRejection, Requested};
use pcs_domain::jobs::maintenance;
use pcs_domain::test_run::Lane;
use pcs_domain::{RejectionCode, Timestamp};
use pcs_projections::Page;
use pcs_projections::job_list::{self, JobAttempt, JobFilter, JobRow, JobStatus};
use pcs_store::{CommandContext, ExecuteError, Executed, Expected, execute, execute_new};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::{LIMIT_MAX, Path, Query, limit};
use crate::openapi::answers::PageOf;
use crate::openapi::jobs::{JobAnswerDoc, JobDoc, JobWithAttemptsDoc};
use crate::problem::Problem;
use crate::routes::cards::{ReadQuery, Reason};
use crate::routes::{at, is_of_another_kind, of_command, wait};
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, request))
        .routes(routes!(read))
        .routes(routes!(cancel))
        .routes(routes!(redrive))
}

/// A job to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    /// Its kind: `swarm_agent`, or `maintenance` for those who see how the system itself is.
    kind: String,
    /// What is to be done, as its kind understands it; at most 64 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    /// How important it is.
    #[serde(default)]
    #[schema(value_type = Option<crate::openapi::answers::Lane>)]
    lane: Lane,
    /// Not to be begun before.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
}

impl CommandBody for NewJob {}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// Of this kind.
    kind: Option<String>,
    /// That are so; `dead` for dead letters.
    #[param(inline, value_type = Option<crate::openapi::jobs::JobStatusDoc>)]
    status: Option<JobStatus>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

/// A job as a command left it.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    id: JobId,
    status: JobStatus,
    #[serde(flatten)]
    request: &'a Requested,
}

/// A job with what went wrong before.
#[derive(Debug, Serialize)]
struct WithAttempts {
    #[serde(flatten)]
    job: JobRow,
    failed_attempts: Vec<JobAttempt>,
}

/// Asks for a job.
#[utoipa::path(post, path = "/jobs", tag = "jobs", request_body = NewJob,
    responses((status = 202, body = JobAnswerDoc, description = "The job")))]
async fn request(State(state): State<AppState>, command: Command<NewJob>) -> Result<Response, Problem> {
    let Command { body, principal, context, .. } = command;
    authorize(&principal, needed(&body.kind))?;
    let id = JobId(Uuid::new_v5(&context.command_id.0, b"job"));
    let NewJob { kind, input, lane, not_before } = body;
    let requested_by: Option<ActorId> = Some(principal.account_id);
    let request = JobCommand::Request(Box::new(Requested { kind, lane, input, not_before, requested_by }));
    let executed = execute_new::<Job>(state.store(), &context, id.0, request).await?;
    let mut response = answer(&state, id, executed).await?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(at(response, &format!("jobs/{id}")))
}

/// What somebody who asks for a job of a kind must be allowed to.
fn needed(kind: &str) -> Action {
    if kind == maintenance::KIND.name { Action::InspectSystem } else { Action::StartRun }
}

/// Lists jobs, the newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs", params(JobQuery),
    responses((status = 200, body = PageOf<JobDoc>, description = "A page of jobs")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<JobQuery>,
) -> Result<Json<Page<JobRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    wait(&state, job_list::NAME, query.min_position).await?;
    let filter = JobFilter { kind: query.kind, status: query.status };
    let pool = state.store().pool();
    Ok(Json(job_list::page(pool, principal.tenant, &filter, query.cursor.as_deref(), limit).await?))
}

/// Reads a job and its failed attempts.
#[utoipa::path(get, path = "/jobs/{job_id}", tag = "jobs", params(("job_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = JobWithAttemptsDoc, description = "The job")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<JobId>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<WithAttempts>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, job_list::NAME, query.min_position).await?;
    let (pool, tenant) = (state.store().pool(), principal.tenant);
    let job = job_list::by_id(pool, tenant, id).await?.ok_or(JobRejection::NotFound)?;
    Ok(Json(WithAttempts { job, failed_attempts: job_list::attempts(pool, tenant, id).await? }))
}

/// Cancels a job: it is not begun any more, and stopped where it was.
#[utoipa::path(post, path = "/jobs/{job_id}/cancel", tag = "jobs", params(("job_id" = Uuid, Path)),
    request_body = Reason, responses((status = 200, body = JobAnswerDoc, description = "The job")))]
async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    command: Command<Reason>,
) -> Result<Response, Problem> {
    let Command { body: Reason { reason }, principal, context, .. } = command;
    let change = |by| JobCommand::Cancel { reason, by };
    change_job(&state, id, (&principal, &context), Action::CancelRun, change).await
}

/// Tries a dead letter again, with all its attempts.
#[utoipa::path(post, path = "/jobs/{job_id}/redrive", tag = "jobs", params(("job_id" = Uuid, Path)),
    responses((status = 202, body = JobAnswerDoc, description = "The job")))]
async fn redrive(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let Command { principal, context, .. } = command;
    let change = |by| JobCommand::Redrive { by };
    let mut response = change_job(&state, id, (&principal, &context), Action::StartRun, change).await?;
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

async fn change_job(
    state: &AppState,
    id: JobId,
    (principal, context): (&Principal, &CommandContext),
    action: Action,
    change: impl FnOnce(ActorId) -> JobCommand,
) -> Result<Response, Problem> {
    authorize(principal, action)?;
    let command = change(principal.account_id);
    let executed = execute::<Job>(state.store(), context, id.0, Expected::Any, command).await;
    let executed = executed.map_err(|error| match error {
        ExecuteError::Store(error) if is_of_another_kind::<Job>(&error) => JobRejection::NotFound.into(),
        error => Problem::from(error),
    })?;
    answer(state, id, executed).await
}

async fn answer(state: &AppState, id: JobId, executed: Executed<Job>) -> Result<Response, Problem> {
    let Executed { state: job, revision, position, duplicate } = executed;
    let status = match &job {
        Job::Absent => return Err(JobRejection::NotFound.into()),
        Job::Waiting { .. } => JobStatus::Waiting,
        Job::Finished(_) => JobStatus::Finished,
        Job::Dead { .. } => JobStatus::Dead,
        Job::Cancelled(_) => JobStatus::Cancelled,
    };
    let request = job.request().ok_or(JobRejection::NotFound)?;
    let position = match position {
        Some(position) => position,
        None => state.store().head().await?,
    };
    Ok(of_command(Json(Answer { id, status, request }).into_response(), revision, position, duplicate))
}

impl From<JobRejection> for Problem {
    fn from(rejection: JobRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            JobRejection::NotFound => refused(StatusCode::NOT_FOUND),
            JobRejection::AlreadyExists
            | JobRejection::Over
            | JobRejection::StaleAttempt { .. }
            | JobRejection::NoDeadLetter => refused(StatusCode::CONFLICT),
            JobRejection::UnknownKind { .. } => wrong("kind"),
            JobRejection::InvalidInput { .. } | JobRejection::InputTooLarge { .. } => wrong("input"),
            JobRejection::InvalidText { field, .. } => wrong(field),
        }
    }
}
