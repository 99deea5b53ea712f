//! Reviews of runs by people: a queue is opened, its answers are taken and scored, and it is closed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::RejectionCode;
use pcs_domain::ids::{ActorId, ExecutionId, TenantId, TestRunId};
use pcs_domain::limits::REVIEW_ITEMS_MAX;
use pcs_domain::review::{
    ItemsAdded, ItemsAssigned, ItemsReleased, Opened, Review, ReviewCommand, ReviewRejection, ScoreConfig, Scored,
    Scores,
};
use pcs_projections::execution_results::{self, AnswerFilter, ResultStatus};
use pcs_store::{Executed, Expected, execute};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::of_command;
use super::results::wait_for_results;
use super::run_answer::must_exist;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::Path;
use crate::openapi::reviews::{ReviewAnswerDoc, ScoreConfigDoc};
use crate::problem::Problem;
use crate::state::AppState;

/// How many people score an answer, where nobody says.
const REVIEWERS_DEFAULT: u8 = 1;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(add))
        .routes(routes!(assign))
        .routes(routes!(next))
        .routes(routes!(score))
        .routes(routes!(close))
        .routes(routes!(reopen))
}

/// Which answers of the run; what is absent is no condition. What ended without an answer is never among them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    /// How they came out.
    #[schema(inline)]
    status: Option<Outcome>,
    /// Of the model with this name in the run.
    model: Option<String>,
    /// Only so many of them, drawn by chance: the same ones each time.
    #[schema(minimum = 1)]
    sample: Option<u32>,
    /// These executions only.
    #[schema(value_type = Option<Vec<Uuid>>)]
    execution_ids: Option<Vec<ExecutionId>>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

/// A review to open.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReview {
    /// How people call it.
    #[serde(default)]
    title: String,
    /// What reviewers are told.
    #[serde(default)]
    instructions: String,
    /// What each answer is scored by.
    #[schema(value_type = Vec<ScoreConfigDoc>)]
    scores: Vec<ScoreConfig>,
    /// How many people score each answer.
    #[serde(default = "one_reviewer")]
    #[schema(minimum = 1, maximum = 20, default = 1)]
    reviewers_per_item: u8,
    /// Whether nobody sees the scores of others before they gave their own.
    #[serde(default)]
    blind: bool,
    /// Which answers; all where it is absent.
    #[serde(default)]
    select: Selection,
}

impl CommandBody for NewReview {}

fn one_reviewer() -> u8 {
    REVIEWERS_DEFAULT
}

/// Answers to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewItems {
    /// Which answers.
    select: Selection,
}

impl CommandBody for NewItems {}

/// Who is to score which answers, or not any more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    #[schema(value_type = Vec<Uuid>)]
    execution_ids: Vec<ExecutionId>,
    #[schema(value_type = Uuid)]
    reviewer: ActorId,
    /// Whether they are released from it instead.
    #[serde(default)]
    release: bool,
}

impl CommandBody for Assignment {}

/// What is given to an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewScores {
    /// A value for each score of the review, by its name.
    #[schema(value_type = Object)]
    scores: Scores,
    /// What else is to be said of it.
    #[serde(default)]
    comment: String,
}

impl CommandBody for NewScores {}

/// A review after a command.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) run_id: TestRunId,
    pub(crate) items: usize,
    pub(crate) closed: bool,
    /// What the caller is to score next, where they asked for it.
    pub(crate) next: Option<ExecutionId>,
}

/// Opens the review of a run: a queue of its answers, and what people score them by.
#[utoipa::path(post, path = "/runs/{run_id}/review", tag = "reviews", request_body = NewReview,
    params(("run_id" = Uuid, Path)), responses((status = 201, body = ReviewAnswerDoc, description = "The review")))]
async fn open(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<NewReview>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let of = (command.principal.tenant, run_id);
    must_exist(&state, of.0, run_id, i64::MAX).await?;
    let card = execution_results::card_of(state.store().pool(), of.0, run_id).await?;
    let card_id = card.ok_or_else(|| no_answers("select"))?;
    let NewReview { title, instructions, scores, reviewers_per_item, blind, select } = command.body.clone();
    let items = selected(&state, of, select).await?;
    let opened_by = command.principal.account_id;
    let opened = Opened { run_id, card_id, title, instructions, scores, reviewers_per_item, blind, opened_by };
    let mut response = act(&state, &command, run_id, ReviewCommand::Open(Box::new(opened), items)).await?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(super::at(response, &format!("runs/{run_id}/review")))
}

/// Puts further answers into the queue.
#[utoipa::path(post, path = "/runs/{run_id}/review/items", tag = "reviews", request_body = NewItems,
    params(("run_id" = Uuid, Path)), responses((status = 200, body = ReviewAnswerDoc, description = "The review")))]
async fn add(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<NewItems>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let items = selected(&state, (command.principal.tenant, run_id), command.body.select.clone()).await?;
    let added_by = command.principal.account_id;
    act(&state, &command, run_id, ReviewCommand::Add(ItemsAdded { items, added_by })).await
}

/// Has somebody score answers, or releases them from it.
#[utoipa::path(post, path = "/runs/{run_id}/review/assignments", tag = "reviews", request_body = Assignment,
    params(("run_id" = Uuid, Path)), responses((status = 200, body = ReviewAnswerDoc, description = "The review")))]
async fn assign(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<Assignment>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let by = command.principal.account_id;
    let Assignment { execution_ids: items, reviewer, release } = &command.body;
    let (items, reviewer) = (items.clone(), *reviewer);
    let change = if *release {
        ReviewCommand::Release(ItemsReleased { items, reviewer, released_by: by })
    } else {
        ReviewCommand::Assign(ItemsAssigned { items, reviewer, assigned_by: by })
    };
    act(&state, &command, run_id, change).await
}

/// Takes the next answer for the caller to score: the one that they have, or else one that lacks the fewest reviewers.
#[utoipa::path(post, path = "/runs/{run_id}/review/next", tag = "reviews", params(("run_id" = Uuid, Path)),
    responses((status = 200, body = ReviewAnswerDoc, description = "What to score")))]
async fn next(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    act(&state, &command, run_id, ReviewCommand::TakeNext(command.principal.account_id)).await
}

/// Scores an answer; what the caller gave it before no longer counts.
#[utoipa::path(put, path = "/runs/{run_id}/review/items/{execution_id}/scores", tag = "reviews", request_body = NewScores,
    params(("run_id" = Uuid, Path), ("execution_id" = Uuid, Path)),
    responses((status = 200, body = ReviewAnswerDoc, description = "The review")))]
async fn score(
    State(state): State<AppState>,
    Path((run_id, execution_id)): Path<(TestRunId, ExecutionId)>,
    command: Command<NewScores>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    let (values, comment) = (command.body.scores.clone(), command.body.comment.clone());
    let reviewer = command.principal.account_id;
    let scored = ReviewCommand::Score(Scored { execution_id, reviewer, values, comment });
    act(&state, &command, run_id, scored).await
}

/// Closes the queue: nothing is scored any more.
#[utoipa::path(post, path = "/runs/{run_id}/review/close", tag = "reviews", params(("run_id" = Uuid, Path)),
    responses((status = 200, body = ReviewAnswerDoc, description = "The review")))]
async fn close(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    act(&state, &command, run_id, ReviewCommand::Close(command.principal.account_id)).await
}

/// Opens a closed queue again.
#[utoipa::path(post, path = "/runs/{run_id}/review/reopen", tag = "reviews", params(("run_id" = Uuid, Path)),
    responses((status = 200, body = ReviewAnswerDoc, description = "The review")))]
async fn reopen(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::ReviewRun)?;
    act(&state, &command, run_id, ReviewCommand::Reopen(command.principal.account_id)).await
}

async fn selected(state: &AppState, of: (TenantId, TestRunId), select: Selection) -> Result<Vec<ExecutionId>, Problem> {
    let Selection { status, model, sample, execution_ids } = select;
    let status = status.map(|outcome| match outcome {
        Outcome::Passed => ResultStatus::Passed,
        Outcome::Failed => ResultStatus::Failed,
    });
    let asked = execution_ids.clone();
    wait_for_results(state, None).await?;
    let filter = AnswerFilter { status, model, among: execution_ids };
    // One more than may be there, so that too many are refused instead of cut.
    let most = i64::try_from(REVIEW_ITEMS_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let limit = sample.map_or(most, |sample| i64::from(sample).min(most));
    let found = execution_results::answer_ids(state.store().pool(), of, &filter, limit).await?;
    if let Some(missing) = asked.iter().flatten().find(|id| !found.contains(id)).filter(|_| sample.is_none()) {
        let detail = format!("the run has no such answer as that of the execution {missing}");
        return Err(Problem::unprocessable("no_such_answer", &detail).field("select.execution_ids", &detail));
    }
    if found.is_empty() { Err(no_answers("select")) } else { Ok(found) }
}

fn no_answers(field: &str) -> Problem {
    let detail = "the run has no such answers yet";
    Problem::unprocessable("no_answers", detail).field(field, detail)
}

async fn act<T>(
    state: &AppState,
    command: &Command<T>,
    run_id: TestRunId,
    change: ReviewCommand,
) -> Result<Response, Problem> {
    let executed = review(state, command, run_id, change.clone()).await?;
    let review = &executed.state;
    let next = match change {
        ReviewCommand::TakeNext(reviewer) => review.next_for(reviewer),
        _ => None,
    };
    let answer = Answer { run_id, items: review.items.len(), closed: review.closed, next };
    answered(state, Json(answer).into_response(), &executed).await
}

/// Executes a command on the review of a run.
pub(super) async fn review<T>(
    state: &AppState,
    command: &Command<T>,
    run_id: TestRunId,
    change: ReviewCommand,
) -> Result<Executed<Review>, Problem> {
    let expected = command.if_match.unwrap_or(Expected::Any);
    Ok(execute::<Review>(state.store(), &command.context, Review::id(run_id), expected, change).await?)
}

pub(super) async fn answered(
    state: &AppState,
    response: Response,
    executed: &Executed<Review>,
) -> Result<Response, Problem> {
    let position = match executed.position {
        Some(position) => position,
        None => state.store().head().await?,
    };
    Ok(of_command(response, executed.revision, position, executed.duplicate))
}

impl From<ReviewRejection> for Problem {
    fn from(rejection: ReviewRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            ReviewRejection::NotFound
            | ReviewRejection::NoSuchItem { .. }
            | ReviewRejection::NothingLeft
            | ReviewRejection::NotOverridden { .. } => refused(StatusCode::NOT_FOUND),
            ReviewRejection::AlreadyOpen
            | ReviewRejection::Closed
            | ReviewRejection::Full { .. }
            | ReviewRejection::AlreadyScored { .. } => refused(StatusCode::CONFLICT),
            ReviewRejection::TooMany { what, .. } => wrong(match *what {
                "scores" => "scores",
                "items" => "select",
                _ => "reviewers_per_item",
            }),
            ReviewRejection::InvalidConfig { .. } | ReviewRejection::InvalidScore { .. } => wrong("scores"),
            ReviewRejection::InvalidText { field, .. } => wrong(field),
        }
    }
}
