//! The jobs that a worker works on at the moment, so that it can ask whether they are over.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use pcs_domain::ids::{JobId, TenantId};

/// Jobs in hand; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Working {
    jobs: Arc<Mutex<HashSet<(TenantId, JobId)>>>,
}

/// One job that is worked on; dropped at its end.
pub(crate) struct Begun {
    working: Working,
    job: (TenantId, JobId),
}

impl Working {
    pub(crate) fn begin(&self, tenant: TenantId, job_id: JobId) -> Begun {
        let job = (tenant, job_id);
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        Begun { working: self.clone(), job }
    }

    /// The jobs.
    pub(crate) fn jobs(&self) -> Vec<(TenantId, JobId)> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.working.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}
