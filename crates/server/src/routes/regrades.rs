//! Regrades: the recorded answers of a run, graded once more by changed demands, without asking any model.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, Principal, authorize};
use pcs_domain::DomainEvent;
use pcs_domain::RejectionCode;
use pcs_domain::assertion::Assertion;
use pcs_domain::data_subject::Guarded;
use pcs_domain::ids::{CommandId, JobId, RegradeId, TestRunId};
use pcs_domain::job::{Job, JobCommand, JobRejection, Requested as JobRequested};
use pcs_domain::jobs::maintenance::{KIND, Task};
use pcs_domain::prompt_card::PromptCard;
use pcs_domain::regrade::{Regrade, RegradeCommand, RegradeRejection, Requested};
use pcs_domain::test_run::{Lane, TestRun, TestRunEvent, TestRunRejection};
use pcs_grading::Check;
use pcs_projections::Page;
use pcs_projections::execution_results;
use pcs_projections::regrades::{self, RegradeRow, RegradedRow};
use pcs_store::{CommandContext, ExecuteError, Loaded, execute_new};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::cards::ReadQuery;
use super::{at, of_command, wait};
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody};
use crate::edge::parameters::{LIMIT_MAX, Path, Query, RESULTS_LIMIT_MAX, limit};
use crate::openapi::AssertionDoc;
use crate::openapi::answers::PageOf;
use crate::openapi::regrades::{RegradeAnswerDoc, RegradeDoc, RegradedDoc};
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(of_run, request)).routes(routes!(read)).routes(routes!(results))
}

/// A regrade to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRegrade {
    /// How people call it.
    #[serde(default)]
    name: String,
    /// Demands on every output, instead of the run's; the run's where it is absent.
    #[schema(value_type = Option<Vec<AssertionDoc>>)]
    assertions: Option<Vec<Assertion>>,
    /// The score from which a case without a threshold of its own passes; the run's where it is absent.
    threshold: Option<f64>,
    /// Which demands of the cases count: those of the time of the run, or those of now.
    #[serde(default)]
    #[schema(inline)]
    cases: CaseDemands,
}

impl CommandBody for NewRegrade {}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaseDemands {
    /// As they were when the run was asked for.
    #[default]
    AsRun,
    /// As they are on the card now.
    Now,
}

/// A regrade that was asked for, and the job that makes it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) id: RegradeId,
    pub(crate) job_id: JobId,
    #[serde(flatten)]
    pub(crate) request: &'a Requested,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfRunQuery {
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RegradedQuery {
    /// Those that came out otherwise than before, or those that did not.
    turned: Option<bool>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

/// Grades the answers of a run that has ended once more; no model is asked.
#[utoipa::path(post, path = "/runs/{run_id}/regrades", tag = "regrades", request_body = NewRegrade,
    params(("run_id" = Uuid, Path)), responses((status = 202, body = RegradeAnswerDoc, description = "The regrade")))]
async fn request(
    State(state): State<AppState>,
    Path(run_id): Path<TestRunId>,
    command: Command<NewRegrade>,
) -> Result<Response, Problem> {
    let Command { body, principal, context, .. } = command;
    authorize(&principal, Action::StartRun)?;
    let id = RegradeId(Uuid::new_v5(&context.command_id.0, b"regrade"));
    // A retry must not notice that the card has changed since.
    let first = state.store().load::<Regrade>(principal.tenant, id.0).await?;
    let requested = match first.state {
        Regrade::Running { request, .. } | Regrade::Completed(request, _) => request,
        Regrade::Absent => requested(&state, &principal, run_id, body).await?,
    };
    let command = RegradeCommand::Request(Box::new(requested.clone()));
    let executed = execute_new::<Regrade>(state.store(), &context, id.0, command).await?;
    let job_id = job(&state, &context, id).await?;
    let position = executed.position.unwrap_or(0);
    let mut response = Json(Answer { id, job_id, request: &requested }).into_response();
    *response.status_mut() = StatusCode::ACCEPTED;
    let response = of_command(response, executed.revision, position, executed.duplicate);
    Ok(at(response, &format!("regrades/{id}")))
}

/// What is to be graded by what: checked, so that it can work.
async fn requested(
    state: &AppState,
    principal: &Principal,
    run_id: TestRunId,
    body: NewRegrade,
) -> Result<Requested, Problem> {
    let (run, after, until) = ended(state, principal, run_id).await?;
    let asked = run.request().ok_or(TestRunRejection::NotFound)?;
    let assertions = body.assertions.unwrap_or_else(|| asked.assertions.clone());
    check(&assertions, &asked.assertions)?;
    let card_revision = match body.cases {
        CaseDemands::AsRun => asked.card_revision,
        CaseDemands::Now => {
            let Loaded { state: mut card, revision, .. } =
                state.store().load::<PromptCard>(principal.tenant, asked.card_id.0).await?;
            state.store().reveal_state(principal.tenant, &mut card).await?;
            let cases = card.card().into_iter().flat_map(|card| card.cases.values());
            for case in cases {
                Check::compile_all(&case.assertions).map_err(|error| {
                    let message = format!("case {:?}: {error}", case.name);
                    Problem::unprocessable("invalid_assertion", &message).field("cases", &message)
                })?;
            }
            revision
        }
    };
    Ok(Requested {
        name: body.name,
        run_id,
        card_id: asked.card_id,
        card_revision,
        after,
        until,
        assertions,
        threshold: body.threshold.or(asked.threshold),
        requested_by: principal.account_id,
    })
}

/// The run, and between which positions of the log its answers are.
async fn ended(state: &AppState, principal: &Principal, run_id: TestRunId) -> Result<(TestRun, i64, i64), Problem> {
    let history = state.store().read_stream(principal.tenant, run_id.0, 0, RUN_EVENTS_MAX).await?;
    let mut run = TestRun::default();
    let (mut after, mut until) = (0, 0);
    for recorded in history {
        let position = recorded.position;
        let DomainEvent::TestRun(event) = recorded.into_record().event else {
            return Err(TestRunRejection::NotFound.into());
        };
        match &event {
            TestRunEvent::Requested(_) => after = position,
            TestRunEvent::Completed(_) => until = position,
            // Results of calls that were on their way may have come in afterwards.
            TestRunEvent::Cancelled(_) => until = state.store().head().await?,
        }
        pcs_domain::Aggregate::evolve(&mut run, event);
    }
    match run {
        TestRun::Absent => Err(TestRunRejection::NotFound.into()),
        TestRun::Running(_) => {
            let detail = "the run is still running: cancel it, or wait for its end";
            Err(Problem::new(StatusCode::CONFLICT, "run_is_running", detail))
        }
        run @ (TestRun::Cancelled(_) | TestRun::Completed(..)) => Ok((run, after, until)),
    }
}

/// Most events of a run: it has one when it is asked for, and one when it ends.
const RUN_EVENTS_MAX: i64 = 10;

/// No judge is asked again: its verdicts are there only where the run had the same demand.
fn check(assertions: &[Assertion], of_run: &[Assertion]) -> Result<(), Problem> {
    for (nth, assertion) in assertions.iter().enumerate() {
        let refused = |message: String| {
            Problem::unprocessable("invalid_assertion", &message).field(format!("assertions[{nth}]"), &message)
        };
        let check = Check::compile(assertion).map_err(|error| refused(error.to_string()))?;
        if check.is_judged() && !of_run.iter().any(|was| is_same_demand(was, assertion)) {
            let kind = &assertion.kind;
            return Err(refused(format!("{kind} asks a judge, and the run did not ask it this: run the cases again")));
        }
    }
    Ok(())
}

fn is_same_demand(one: &Assertion, other: &Assertion) -> bool {
    let bare = |of: &Assertion| Assertion { weight: 1.0, metric: None, ..of.clone() };
    bare(one) == bare(other)
}

/// The job that makes the regrade: asked for once, however often this is done.
async fn job(state: &AppState, context: &CommandContext, id: RegradeId) -> Result<JobId, Problem> {
    let job_id = JobId(Uuid::new_v5(&id.0, b"job"));
    let task = serde_json::to_value(Task::Regrade { regrade_id: id }).ok();
    let input = task.and_then(|task| task.as_object().cloned()).unwrap_or_default();
    let requested = JobRequested {
        kind: KIND.name.to_owned(),
        lane: Lane::Hi,
        input,
        not_before: None,
        requested_by: context.actor,
    };
    let context = CommandContext { command_id: CommandId::derived(id.0, "job"), fingerprint: None, ..context.clone() };
    match execute_new::<Job>(state.store(), &context, job_id.0, JobCommand::Request(Box::new(requested))).await {
        Ok(_) | Err(ExecuteError::Rejected(JobRejection::AlreadyExists)) => Ok(job_id),
        Err(error) => Err(error.into()),
    }
}

/// Lists the regrades of a run, the newest first.
#[utoipa::path(get, path = "/runs/{run_id}/regrades", tag = "regrades", params(("run_id" = Uuid, Path), OfRunQuery),
    responses((status = 200, body = PageOf<RegradeDoc>, description = "A page of regrades")))]
async fn of_run(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(run_id): Path<TestRunId>,
    Query(query): Query<OfRunQuery>,
) -> Result<Json<Page<RegradeRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    wait(&state, regrades::NAME, query.min_position).await?;
    let of = (principal.tenant, run_id);
    Ok(Json(regrades::of_run(state.store().pool(), of, query.cursor.as_deref(), limit).await?))
}

/// Reads a regrade with the grades so far.
#[utoipa::path(get, path = "/regrades/{regrade_id}", tag = "regrades", params(("regrade_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = RegradeDoc, description = "The regrade")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<RegradeId>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<RegradeRow>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, regrades::NAME, query.min_position).await?;
    let found = regrades::by_id(state.store().pool(), principal.tenant, id).await?;
    Ok(Json(found.ok_or(RegradeRejection::NotFound)?))
}

/// Lists the new grades in the order in which they were given.
#[utoipa::path(get, path = "/regrades/{regrade_id}/results", tag = "regrades",
    params(("regrade_id" = Uuid, Path), RegradedQuery),
    responses((status = 200, body = PageOf<RegradedDoc>, description = "A page of grades")))]
async fn results(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<RegradeId>,
    Query(query): Query<RegradedQuery>,
) -> Result<Json<Page<RegradedRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, RESULTS_LIMIT_MAX)?;
    for projection in [regrades::NAME, execution_results::NAME] {
        wait(&state, projection, query.min_position).await?;
    }
    let (pool, of) = (state.store().pool(), (principal.tenant, id));
    let mut page = regrades::results(pool, of, query.turned, query.cursor.as_deref(), limit).await?;
    let sealed = page.items.iter_mut().map(|row| row as &mut dyn Guarded);
    state.store().reveal(principal.tenant, sealed).await?;
    page.items.iter_mut().for_each(RegradedRow::mark_shredded);
    if page.items.is_empty() && regrades::by_id(pool, principal.tenant, id).await?.is_none() {
        return Err(RegradeRejection::NotFound.into());
    }
    Ok(Json(page))
}

impl From<RegradeRejection> for Problem {
    fn from(rejection: RegradeRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            RegradeRejection::NotFound => refused(StatusCode::NOT_FOUND),
            RegradeRejection::AlreadyExists | RegradeRejection::Graded { .. } => refused(StatusCode::CONFLICT),
            RegradeRejection::TooMany { .. } => wrong("assertions"),
            RegradeRejection::InvalidText { field, .. } => wrong(field),
            RegradeRejection::InvalidThreshold => wrong("threshold"),
        }
    }
}
