//! Schedules: runs at the times of a cron expression.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::RejectionCode;
use pcs_domain::ids::ScheduleId;
use pcs_domain::prompt_card::PromptCard;
use pcs_domain::schedule::{Created, MissedPolicy, Schedule, ScheduleCommand, ScheduleRejection};
use pcs_projections::Page;
use pcs_relay::inspect::{self, ScheduleRow};
use pcs_store::{Executed, Expected, execute, execute_new};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::wait_for_desk;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::{Path, Query};
use crate::openapi::answers::PageOf;
use crate::openapi::jobs::{ScheduleAnswer, ScheduleDoc};
use crate::problem::Problem;
use crate::routes::cards::ReadQuery;
use crate::routes::partials;
use crate::routes::run_request::{self, NewRun};
use crate::routes::{at, of_command};
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// A schedule to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSchedule {
    /// How people call it.
    name: String,
    /// Minute, hour, day of the month, month, day of the week; or `@daily` and the like.
    cron: String,
    /// The time zone of these, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    time_zone: String,
    /// What becomes of times that pass while nobody looks.
    #[serde(default)]
    #[schema(value_type = Option<crate::openapi::jobs::MissedDoc>)]
    missed: MissedPolicy,
    /// The run, as for `POST /runs`. Labels and cases are looked up each time.
    run: NewRun,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl CommandBody for NewSchedule {}

/// A schedule as a command left it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) id: ScheduleId,
    #[serde(flatten)]
    pub(crate) created: &'a Created,
    pub(crate) paused: bool,
}

/// Makes a schedule, after checking that its run could work now.
#[utoipa::path(post, path = "/schedules", tag = "schedules", request_body = NewSchedule,
    responses((status = 201, body = ScheduleAnswer, description = "The schedule")))]
async fn create(State(state): State<AppState>, command: Command<NewSchedule>) -> Result<Response, Problem> {
    let Command { mut body, principal, context, .. } = command;
    authorize(&principal, Action::StartRun)?;
    if !body.run.take_skips().is_empty() {
        let message = "runs of a schedule leave nothing out: their versions and cases may be others each time";
        return Err(Problem::unprocessable("invalid_skip", message).field("run.skips", message));
    }
    let id = ScheduleId(Uuid::new_v5(&context.command_id.0, b"schedule"));
    let run = body.run.into_template();
    let card = state.store().load::<PromptCard>(principal.tenant, run.card_id.0).await?;
    let included = partials::find(&state, principal.tenant, &run, &card.state, card.revision).await?;
    if let Some(partial) = included.pinned.first() {
        // Whoever asks for the runs of schedules does not look for other cards.
        let message =
            format!("the prompt includes {:?}, and prompts of schedules can't include others yet", partial.name);
        return Err(Problem::unprocessable("partial_in_schedule", &message).field("run.versions", &message));
    }
    run_request::check(&run, &card.state, card.revision, principal.account_id, included)?;
    let NewSchedule { name, cron, time_zone, missed, .. } = body;
    let created = Created { name, cron, time_zone, missed, run, created_by: principal.account_id };
    let create = ScheduleCommand::Create(Box::new(created));
    let executed = execute_new::<Schedule>(state.store(), &context, id.0, create).await?;
    let response = answer(&state, id, executed).await?;
    Ok(at(with_status(response, StatusCode::CREATED), &format!("schedules/{id}")))
}

fn with_status(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response
}

/// Lists the schedules by name, with their next and last times.
#[utoipa::path(get, path = "/schedules", tag = "schedules", params(ReadQuery),
    responses((status = 200, body = PageOf<ScheduleDoc>, description = "All schedules")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Json<Page<ScheduleRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait_for_desk(&state, query.min_position).await?;
    let items = inspect::schedules(state.store().pool(), principal.tenant.0).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Reads a schedule.
#[utoipa::path(get, path = "/schedules/{schedule_id}", tag = "schedules", params(("schedule_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = ScheduleDoc, description = "The schedule")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<ScheduleId>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<ScheduleRow>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait_for_desk(&state, query.min_position).await?;
    let found = inspect::schedule(state.store().pool(), principal.tenant.0, id.0).await?;
    Ok(Json(found.ok_or(ScheduleRejection::NotFound)?))
}

/// Ends a schedule; runs that it has asked for go on.
#[utoipa::path(delete, path = "/schedules/{schedule_id}", tag = "schedules", params(("schedule_id" = Uuid, Path)),
    responses((status = 200, body = ScheduleAnswer, description = "The schedule as it was")))]
async fn delete(
    State(state): State<AppState>,
    Path(id): Path<ScheduleId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let by = command.principal.account_id;
    change(&state, id, &command, ScheduleCommand::Delete { by }).await
}

/// Holds a schedule back.
#[utoipa::path(post, path = "/schedules/{schedule_id}/pause", tag = "schedules", params(("schedule_id" = Uuid, Path)),
    responses((status = 200, body = ScheduleAnswer, description = "The schedule")))]
async fn pause(
    State(state): State<AppState>,
    Path(id): Path<ScheduleId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let by = command.principal.account_id;
    change(&state, id, &command, ScheduleCommand::Pause { by }).await
}

/// Lets a schedule go on; times that passed meanwhile are not made up for.
#[utoipa::path(post, path = "/schedules/{schedule_id}/resume", tag = "schedules", params(("schedule_id" = Uuid, Path)),
    responses((status = 200, body = ScheduleAnswer, description = "The schedule")))]
async fn resume(
    State(state): State<AppState>,
    Path(id): Path<ScheduleId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let by = command.principal.account_id;
    change(&state, id, &command, ScheduleCommand::Resume { by }).await
}

async fn change(
    state: &AppState,
    id: ScheduleId,
    command: &Command<Nothing>,
    change: ScheduleCommand,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::StartRun)?;
    let executed = execute::<Schedule>(state.store(), &command.context, id.0, Expected::Any, change).await?;
    answer(state, id, executed).await
}

async fn answer(state: &AppState, id: ScheduleId, executed: Executed<Schedule>) -> Result<Response, Problem> {
    let Executed { state: schedule, revision, position, duplicate } = executed;
    let created = schedule.created().ok_or(ScheduleRejection::NotFound)?;
    let answer = Answer { id, created, paused: matches!(schedule, Schedule::Paused(_)) };
    let position = match position {
        Some(position) => position,
        None => state.store().head().await?,
    };
    Ok(of_command(Json(answer).into_response(), revision, position, duplicate))
}

impl From<ScheduleRejection> for Problem {
    fn from(rejection: ScheduleRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            ScheduleRejection::NotFound => refused(StatusCode::NOT_FOUND),
            ScheduleRejection::AlreadyExists => refused(StatusCode::CONFLICT),
            ScheduleRejection::Calendar(error) => match error {
                pcs_domain::schedule::CalendarError::Zone { .. } => wrong("time_zone"),
                pcs_domain::schedule::CalendarError::Cron { .. }
                | pcs_domain::schedule::CalendarError::Never { .. } => wrong("cron"),
            },
            ScheduleRejection::InvalidText { field, .. } => wrong(field),
        }
    }
}
