//! Places for calls to model providers: limits, pauses, circuits and kept answers, for the whole fleet.

use std::time::Duration;

use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::jobs::test_execution::{Outcome, Reply, Report, Reserve};
use pcs_store::Store;

use crate::RelayError;
use crate::desk;
use crate::runs::RunContext;

/// How long a model is left alone where its provider has no room and does not say for how long.
const PARK_DEFAULT: Duration = Duration::from_secs(1);
/// The longest that a provider may ask for.
const PARK_MAX: Duration = Duration::from_secs(3_600);

/// Answers whether a call may be made, and takes the job back where it may not.
pub(crate) async fn reserve(store: &Store, run: &RunContext, wanted: &Reserve) -> Result<Reply, RelayError> {
    let pool = store.pool();
    let Some(model) = run.plan.models.get(&wanted.cell.model) else {
        return Ok(Reply::Unknown { message: format!("the run has no model called {:?}", wanted.cell.model) });
    };
    if let Some(content) = &wanted.content
        && let Some(answer) = desk::kept_answer(pool, wanted.tenant, content).await?
    {
        return Ok(Reply::Cached(Box::new(answer)));
    }
    match desk::reserve(pool, wanted, (model.provider(), &model.id, run.request.lane.name())).await? {
        Ok(start_in_ms) => Ok(Reply::Reserved { start_in_ms }),
        Err(pause) => {
            desk::snooze(pool, wanted.cell.id(), wanted.claim.dispatch_id, pause).await?;
            Ok(Reply::Snoozed)
        }
    }
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
    if report.reserved {
        desk::settle_place(pool, report.dispatch_id, used).await?;
    }
    match &report.outcome {
        Outcome::Finished { answer, .. } if report.reserved => {
            desk::clear_faults(pool, report.tenant, model.provider()).await?;
            keep(store, report, answer).await
        }
        Outcome::Failed { failure, retry_after_ms } => match failure.class {
            FailureClass::RateLimited => {
                let pause = retry_after_ms.map_or(PARK_DEFAULT, Duration::from_millis).min(PARK_MAX);
                desk::park(pool, report.tenant, &model.id, pause).await
            }
            FailureClass::Overloaded | FailureClass::Connection | FailureClass::Timeout if report.reserved => {
                desk::count_fault(pool, report.tenant, model.provider()).await
            }
            _ => Ok(()),
        },
        Outcome::Finished { .. } | Outcome::Sealed { .. } => Ok(()),
    }
}

async fn keep(store: &Store, report: &Report, answer: &Answer) -> Result<(), RelayError> {
    match &report.content {
        Some(content) => desk::keep_answer(store.pool(), report.tenant, content, answer).await,
        None => Ok(()),
    }
}
