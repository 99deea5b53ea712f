//! Run certificates: what a run was and came to, signed, so that somebody without access to the system can check it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, Principal, authorize};
use pcs_domain::certificate::{self, Certificate, FORMAT, SignedCertificate};
use pcs_domain::ids::TestRunId;
use pcs_domain::prompt_card::{PromptCard, TestCase};
use pcs_domain::test_run::{Requested, RunTotals, TestRun, TestRunEvent, TestRunRejection};
use pcs_domain::{Aggregate, DomainEvent, Timestamp};
use pcs_projections::execution_results;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::ReadQuery;
use super::wait;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::certificates::SignedCertificateDoc;
use crate::problem::Problem;
use crate::state::AppState;

/// Most events of a run: it has one when it is asked for, and one when it ends.
const RUN_EVENTS_MAX: i64 = 10;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(key))
}

/// The key that certificates are signed with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CertificateKey {
    /// The Ed25519 public key, in hexadecimal. Keep it: who checks a certificate has to know it from elsewhere.
    pub(crate) public_key: String,
}

/// Certifies a run that has ended.
#[utoipa::path(get, path = "/runs/{run_id}/certificate", tag = "runs", params(("run_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = SignedCertificateDoc, description = "The certificate")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<TestRunId>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, execution_results::NAME, query.min_position).await?;
    let ended = ended(&state, &principal, id).await?;
    wait(&state, execution_results::NAME, Some(ended.position)).await?;
    let certificate = certified(&state, &principal, id, ended).await?;
    let text = certificate.text().map_err(|error| Problem::internal(error.to_string()))?;
    let signer = signer(&state)?;
    let (public_key, signature) = (signer.public_key(), signer.sign(text.as_bytes()));
    Ok(Json(SignedCertificate { certificate, public_key, signature }).into_response())
}

/// Reads the public key that certificates are checked with.
#[utoipa::path(get, path = "/certificate-key", tag = "runs", params(ReadQuery),
    responses((status = 200, body = CertificateKey, description = "The key")))]
async fn key(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Json<CertificateKey>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, execution_results::NAME, query.min_position).await?;
    Ok(Json(CertificateKey { public_key: signer(&state)?.public_key() }))
}

fn signer(state: &AppState) -> Result<pcs_store::Signer, Problem> {
    state.store().signer().map_err(|error| {
        let detail = format!("this server can't sign: {error}; start it with the master key");
        Problem::new(StatusCode::CONFLICT, "no_signing_key", detail)
    })
}

/// A run that is over, by its own history.
struct Ended {
    request: Requested,
    completed: bool,
    requested_at: Timestamp,
    ended_at: Timestamp,
    position: i64,
}

async fn ended(state: &AppState, principal: &Principal, id: TestRunId) -> Result<Ended, Problem> {
    let history = state.store().read_stream(principal.tenant, id.0, 0, RUN_EVENTS_MAX).await?;
    let mut run = TestRun::default();
    let (mut requested_at, mut ended_at, mut position) = (Timestamp::EPOCH, Timestamp::EPOCH, 0);
    for recorded in history {
        (ended_at, position) = (recorded.recorded_at, recorded.position);
        let DomainEvent::TestRun(event) = recorded.into_record().event else {
            return Err(TestRunRejection::NotFound.into());
        };
        if matches!(event, TestRunEvent::Requested(_)) {
            requested_at = ended_at;
        }
        run.evolve(event);
    }
    let (request, completed) = match run {
        TestRun::Absent => return Err(TestRunRejection::NotFound.into()),
        TestRun::Running(_) => {
            let detail = "the run is still running: wait for its end";
            return Err(Problem::new(StatusCode::CONFLICT, "run_is_running", detail));
        }
        TestRun::Cancelled(request) => (request, false),
        TestRun::Completed(request, _) => (request, true),
    };
    Ok(Ended { request, completed, requested_at, ended_at, position })
}

async fn certified(
    state: &AppState,
    principal: &Principal,
    run_id: TestRunId,
    ended: Ended,
) -> Result<Certificate, Problem> {
    let Ended { request, completed, requested_at, ended_at, .. } = ended;
    let card_id = request.card_id;
    let loaded = state.store().load_at::<PromptCard>(principal.tenant, card_id.0, request.card_revision).await?;
    let Some(card) = loaded.state.card() else {
        return Err(Problem::internal(format!("the card {card_id} of the run {run_id} has no history")));
    };
    let cases: Vec<&TestCase> = match &request.case_ids {
        Some(ids) => ids.iter().filter_map(|id| card.cases.get(id)).collect(),
        None => card.cases_in_order().collect(),
    };
    let results = execution_results::certified(state.store().pool(), principal.tenant, run_id).await?;
    let count = |status: &str| results.iter().filter(|result| result.status == status).count() as u64;
    let totals = RunTotals {
        executions: results.len() as u64,
        passed: count("passed"),
        failed: count("failed"),
        errors: count("error"),
    };
    let tip = state.store().load::<TestRun>(principal.tenant, run_id.0).await?.tip;
    Ok(Certificate {
        format: FORMAT.to_owned(),
        run_id,
        name: request.name.clone(),
        card_id,
        completed,
        requested_at,
        ended_at,
        prompts: certificate::prompts(card, &request.versions),
        models: request.models.clone(),
        cases: request.cases,
        repeats: request.repeats,
        dataset_sha256: certificate::dataset_sha256(&cases),
        graders_sha256: certificate::graders_sha256(&request, &cases),
        totals,
        results_sha256: certificate::results_sha256(results),
        stream_hash: tip.map(|tip| hex::encode(tip.hash)),
    })
}
