//! What workers and the relay tell each other about data subjects, sealed: the broker and its listeners see none of it.

use pcs_domain::execution::ExecutionRef;
use pcs_domain::ids::TenantId;
use pcs_domain::jobs::test_execution::{Outcome, Reply, Report, Told, session_place};
use pcs_domain::prompt_card::TestCase;
use pcs_store::{PrivacyError, Store, StoreError};

/// Seals a case for the worker that asks for it.
pub(crate) fn sealed_case(
    store: &Store,
    (tenant, cell): (TenantId, &ExecutionRef),
    case: &TestCase,
    worker_key: &str,
) -> Result<Reply, StoreError> {
    let (master, relay_key) = store.relay_key()?;
    let session = store.worker_session(&master, worker_key)?;
    let text = serde_json::to_vec(case)?;
    let place = session_place(tenant, cell);
    let case = session.seal_answer(place.as_bytes(), &text).map_err(PrivacyError::from)?;
    Ok(Reply::SealedCase { relay_key, master, case })
}

/// A report whose outcome is in clear; none where what is sealed can't be opened, which no repetition would change.
pub(crate) fn opened(store: &Store, mut report: Report) -> Result<Option<Report>, StoreError> {
    let Outcome::Sealed { master, worker_key, told } = &report.outcome else { return Ok(Some(report)) };
    let place = session_place(report.tenant, &report.cell);
    let session = store.worker_session(master, worker_key)?;
    let Ok(text) = session.open_report(place.as_bytes(), told) else {
        tracing::warn!(execution.id = %report.execution_id(), "a sealed report can't be opened");
        return Ok(None);
    };
    let Ok(Told { input, outcome }) = serde_json::from_slice(&text) else { return Ok(None) };
    (report.input, report.outcome) = (input, outcome);
    Ok(Some(report))
}
