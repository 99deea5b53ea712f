//! What commands on runs answer: the run from the command's own state, or the refusal.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_domain::ids::{TenantId, TestRunId};
use pcs_domain::test_run::{Requested, TestRun, TestRunRejection};
use pcs_domain::{Category, RejectionCode};
use pcs_projections::run_summary::{self, Latency, ModelSummary, Overrides, Run, RunStatus, Tokens, Totals};
use pcs_store::{Executed, Recorded};

use super::of_command;
use crate::problem::Problem;
use crate::state::AppState;

/// The run as a command left it, with the results that the read model has so far.
pub(crate) async fn answer(
    state: &AppState,
    tenant: TenantId,
    id: TestRunId,
    executed: Executed<TestRun>,
) -> Result<Response, Problem> {
    let Executed { state: run, revision, position, duplicate } = executed;
    let last = event_at(state, tenant, id, revision).await?;
    let first = if revision == 1 { last.clone() } else { event_at(state, tenant, id, 1).await? };
    let status = match run {
        TestRun::Absent => return Err(TestRunRejection::NotFound.into()),
        TestRun::Running(_) => RunStatus::Running,
        TestRun::Cancelled(_) => RunStatus::Cancelled,
        TestRun::Completed(..) => RunStatus::Completed,
    };
    let Some(request) = run.request() else {
        return Err(TestRunRejection::NotFound.into());
    };
    let mut answer = requested(id, request, &first)?;
    if revision > 1 {
        if let Some(known) = run_summary::by_id(state.store().pool(), tenant, id).await? {
            (answer.totals, answer.by_model) = (known.totals, known.by_model);
        }
        answer.ended_at = Some(last.recorded_at).filter(|_| status != RunStatus::Running);
    }
    (answer.status, answer.revision) = (status, revision);
    let mut response = Json(answer).into_response();
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(of_command(response, revision, position.unwrap_or(last.position), duplicate))
}

async fn event_at(state: &AppState, tenant: TenantId, id: TestRunId, version: i64) -> Result<Recorded, Problem> {
    let mut events = state.store().read_stream(tenant, id.0, version - 1, 1).await?;
    events.pop().ok_or_else(|| Problem::internal(format!("run {id} has no event {version}")))
}

/// A run before its first result.
fn requested(id: TestRunId, request: &Requested, first: &Recorded) -> Result<Run, Problem> {
    let models = request.models.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    let by_model = request.models.iter().map(|model| ModelSummary {
        model: model.name().to_owned(),
        executions: 0,
        passed: 0,
        failed: 0,
        errors: 0,
        pass_rate: None,
        latency_ms: Latency::default(),
        tokens: Tokens::default(),
        cost_usd: None,
    });
    Ok(Run {
        id,
        name: request.name.clone(),
        status: RunStatus::Running,
        card_id: request.card_id,
        card_revision: request.card_revision,
        versions: request.versions.iter().copied().map(i64::from).collect(),
        models: models.map_err(|error| Problem::internal(error.to_string()))?,
        repeats: i32::from(request.repeats),
        cases: i64::from(request.cases),
        lane: request.lane,
        requested_by: request.requested_by,
        requested_at: first.recorded_at,
        ended_at: None,
        revision: first.version,
        branch: request.source.as_ref().and_then(|source| source.branch.clone()),
        commit: request.source.as_ref().and_then(|source| source.commit.clone()),
        totals: Totals { planned: i64::try_from(request.executions).unwrap_or(i64::MAX), ..Totals::default() },
        overrides: Overrides::default(),
        by_model: by_model.collect(),
    })
}

/// Whether there is such a run at a position, by its own history.
pub(crate) async fn must_exist(
    state: &AppState,
    tenant: TenantId,
    id: TestRunId,
    position: i64,
) -> Result<(), Problem> {
    let first = state.store().read_stream(tenant, id.0, 0, 1).await?;
    match first.first() {
        Some(event) if event.category == Category::TestRun && event.position <= position => Ok(()),
        _ => Err(TestRunRejection::NotFound.into()),
    }
}

impl From<TestRunRejection> for Problem {
    fn from(rejection: TestRunRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        let wrong = |field: &str| refused(StatusCode::UNPROCESSABLE_ENTITY).field(field, rejection.to_string());
        match &rejection {
            TestRunRejection::NotFound => refused(StatusCode::NOT_FOUND),
            TestRunRejection::AlreadyExists
            | TestRunRejection::AlreadyCompleted
            | TestRunRejection::NotAllRecorded { .. } => refused(StatusCode::CONFLICT),
            TestRunRejection::EmptyMatrix { part } | TestRunRejection::TooMany { part, .. } => wrong(part),
            TestRunRejection::SkipOfNothing { .. } => wrong("skips"),
            TestRunRejection::DuplicateModel { .. } => wrong("models"),
            TestRunRejection::DuplicateVersion { .. } => wrong("versions"),
            TestRunRejection::DuplicateCase { .. } | TestRunRejection::CaseCount { .. } => wrong("case_ids"),
            TestRunRejection::InvalidText { field, .. } => wrong(field),
            TestRunRejection::InvalidThreshold => wrong("threshold"),
        }
    }
}
