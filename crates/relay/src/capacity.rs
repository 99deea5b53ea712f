//! Places for calls to model providers: limits, pauses, circuits and kept answers, for the whole fleet.

use std::time::Duration;

use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::ids::TenantId;
use pcs_domain::job::Requested;
use pcs_domain::jobs::on_request::{CallEnd, JobCall, JobReply};
use pcs_domain::jobs::test_execution::{self, Outcome, Reply, Report, Reserve};
use pcs_domain::model::ModelSpec;
use pcs_store::Store;
use sqlx::PgPool;

use crate::RelayError;
use crate::desk::{self, WantedPlace};
use crate::runs::RunContext;

/// How long a model is left alone where its provider has no room and does not say for how long.
const PARK_DEFAULT: Duration = Duration::from_secs(1);
/// How soon a job that waits for room may ask again.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(250);
/// The longest that a provider may ask for.
const PARK_MAX: Duration = Duration::from_secs(3_600);

/// Answers whether a call may be made, and takes the job back where it may not.
pub(crate) async fn reserve(store: &Store, run: &RunContext, wanted: &Reserve) -> Result<Reply, RelayError> {
    let pool = store.pool();
    let Some(model) = run.plan.models.get(&wanted.cell.model) else {
        return Ok(Reply::Unknown { message: format!("the run has no model called {:?}", wanted.cell.model) });
    };
    if let Some(answer) = kept(pool, wanted).await? {
        return Ok(Reply::Cached(Box::new(answer)));
    }
    let place = WantedPlace {
        tenant: wanted.tenant,
        run: wanted.cell.run_id.0,
        call: wanted.claim.dispatch_id.0,
        kind: test_execution::KIND.name,
        lane: run.request.lane.name(),
        model,
        worker: &wanted.claim.worker,
        content: wanted.content.as_deref(),
        tokens: (wanted.input_tokens, wanted.output_tokens),
        call_ms: wanted.call_ms,
    };
    match desk::reserve(pool, &place).await? {
        // Again: whoever asked the same may have kept the answer and given the place back in between.
        Ok(start_in_ms) => match kept(pool, wanted).await? {
            Some(answer) => Ok(Reply::Cached(Box::new(answer))),
            None => Ok(Reply::Reserved { start_in_ms }),
        },
        Err(pause) => {
            desk::snooze(pool, wanted.cell.id(), wanted.claim.dispatch_id, pause).await?;
            Ok(Reply::Snoozed)
        }
    }
}

/// The answer that the question got before; with it no place is needed.
async fn kept(pool: &PgPool, wanted: &Reserve) -> Result<Option<Answer>, RelayError> {
    let Some(content) = &wanted.content else { return Ok(None) };
    let answer = desk::kept_answer(pool, wanted.tenant, content).await?;
    if answer.is_some() {
        desk::settle_place(pool, wanted.claim.dispatch_id.0, (0, 0)).await?;
    }
    Ok(answer)
}

/// Brings limits, pauses and circuits up to how a call went; called before its report is recorded.
///
/// What was not reserved is not settled, but a provider that has no room is left alone whoever found out.
pub(crate) async fn settle(store: &Store, run: &RunContext, report: &Report) -> Result<(), RelayError> {
    let pool = store.pool();
    let Some(model) = run.plan.models.get(&report.cell.model) else { return Ok(()) };
    let used = match &report.outcome {
        Outcome::Finished { answer, .. } => (answer.input_tokens, answer.output_tokens),
        Outcome::Failed { .. } | Outcome::Sealed { .. } => (0, 0),
    };
    learn(pool, model, report).await?;
    // Last: whoever gets the place next has to find what was learnt.
    if report.reserved {
        desk::settle_place(pool, report.dispatch_id.0, used).await?;
    }
    Ok(())
}

async fn learn(pool: &PgPool, model: &ModelSpec, report: &Report) -> Result<(), RelayError> {
    match &report.outcome {
        Outcome::Finished { answer, .. } if report.reserved => {
            desk::clear_faults(pool, report.tenant, model.provider()).await?;
            keep(pool, report, answer).await
        }
        Outcome::Failed { failure, retry_after_ms } => {
            let of = (failure.class, *retry_after_ms);
            note_failure(pool, report.tenant, model, of, report.reserved).await
        }
        Outcome::Finished { .. } | Outcome::Sealed { .. } => Ok(()),
    }
}

/// A provider that has no room is left alone; one that is down is counted, where the call had a place.
async fn note_failure(
    pool: &PgPool,
    tenant: TenantId,
    model: &ModelSpec,
    (class, retry_after_ms): (FailureClass, Option<u64>),
    reserved: bool,
) -> Result<(), RelayError> {
    match class {
        FailureClass::RateLimited => {
            let pause = retry_after_ms.map_or(PARK_DEFAULT, Duration::from_millis).min(PARK_MAX);
            desk::park(pool, tenant, &model.id, pause).await
        }
        FailureClass::Overloaded | FailureClass::Connection | FailureClass::Timeout if reserved => {
            desk::count_fault(pool, tenant, model.provider()).await
        }
        _ => Ok(()),
    }
}

/// Answers whether a job on request may make a call. It stays where it is: it may be in the midst of its work.
pub(crate) async fn reserve_call(store: &Store, request: &Requested, wanted: &JobCall) -> Result<JobReply, RelayError> {
    let place = WantedPlace {
        tenant: wanted.tenant,
        run: wanted.job_id.0,
        call: wanted.call_id,
        kind: &request.kind,
        lane: request.lane.name(),
        model: &wanted.model,
        worker: &wanted.worker,
        content: None,
        tokens: (wanted.input_tokens, wanted.output_tokens),
        call_ms: wanted.call_ms,
    };
    let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    Ok(match desk::reserve(store.pool(), &place).await? {
        Ok(start_in_ms) => JobReply::Reserved { start_in_ms },
        Err(pause) => JobReply::NoRoom { ask_in_ms: millis(pause.max(ASK_AGAIN_MIN)) },
    })
}

/// Brings limits, pauses and circuits up to how a call of a job on request went.
pub(crate) async fn settle_call(store: &Store, end: &CallEnd) -> Result<(), RelayError> {
    let pool = store.pool();
    match end.class {
        None => desk::clear_faults(pool, end.tenant, end.model.provider()).await?,
        Some(class) => note_failure(pool, end.tenant, &end.model, (class, end.retry_after_ms), true).await?,
    }
    desk::settle_place(pool, end.call_id, (end.input_tokens, end.output_tokens)).await
}

async fn keep(pool: &PgPool, report: &Report, answer: &Answer) -> Result<(), RelayError> {
    match &report.content {
        Some(content) => desk::keep_answer(pool, report.tenant, content, answer).await,
        None => Ok(()),
    }
}
