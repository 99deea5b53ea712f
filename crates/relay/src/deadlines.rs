//! What has a time: runs that took as long as they may, and executions that were not begun in time.

use pcs_domain::execution::{ExecutionRef, FailureClass};
use pcs_domain::ids::{TenantId, TestCaseId, TestRunId};
use pcs_store::Store;

use crate::RelayError;
use crate::desk::{self, Expired};
use crate::recorder::record_error;
use crate::runs::Runs;
use crate::scheduler::stop_run;

/// Executions that are given up at once; the others follow at the next look.
const EXPIRED_LEN_MAX: u32 = 1_000;
/// Executions that are recorded at the same time.
const RECORDED_AT_ONCE: usize = 64;

/// Looks for times that have come.
pub(crate) struct Deadlines {
    store: Store,
    runs: Runs,
}

impl Deadlines {
    pub(crate) fn new(store: Store, runs: Runs) -> Self {
        Self { store, runs }
    }

    /// Looks once.
    pub(crate) async fn look(&self) -> Result<(), RelayError> {
        if !desk::has_deadlines(self.store.pool()).await? {
            return Ok(());
        }
        for run in desk::spent_runs(self.store.pool()).await? {
            let (tenant, run_id, cause) = (TenantId(run.tenant_id), TestRunId(run.run_id), run.cause());
            let reason = "the run has taken as long as it may".to_owned();
            stop_run(&self.store, (tenant, run_id), cause, reason).await?;
        }
        let expired = desk::expired(self.store.pool(), EXPIRED_LEN_MAX).await?;
        for some in expired.chunks(RECORDED_AT_ONCE) {
            futures_util::future::try_join_all(some.iter().map(|one| self.expire(one))).await?;
        }
        Ok(())
    }

    /// Gives an execution its result: an error that says that it was never begun.
    async fn expire(&self, expired: &Expired) -> Result<(), RelayError> {
        let (tenant, run_id) = (TenantId(expired.tenant_id), TestRunId(expired.run_id));
        let Some(run) = self.runs.context(tenant, run_id).await? else { return Ok(()) };
        let cell = ExecutionRef {
            run_id,
            card_id: run.request.card_id,
            version: u32::try_from(expired.version).unwrap_or_default(),
            case_id: TestCaseId(expired.case_id),
            model: expired.model.clone(),
            repeat: u16::try_from(expired.repeat).unwrap_or_default(),
        };
        let error = "it was not begun within the time that its run allows".to_owned();
        record_error(&self.store, &self.runs, (tenant, cell), FailureClass::Expired, error).await?;
        Ok(())
    }
}
