//! The runs that a worker works for at the moment, so that it can ask whether they are over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pcs_domain::ids::{TenantId, TestRunId};
use pcs_domain::jobs::test_execution::Ticket;

/// Jobs by run; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Working {
    runs: Arc<Mutex<HashMap<(TenantId, TestRunId), usize>>>,
}

/// One job that is worked on; dropped at its end.
pub(crate) struct Begun {
    working: Working,
    run: (TenantId, TestRunId),
}

impl Working {
    pub(crate) fn begin(&self, ticket: &Ticket) -> Begun {
        let run = (ticket.tenant, ticket.cell.run_id);
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default() += 1;
        Begun { working: self.clone(), run }
    }

    /// The runs.
    pub(crate) fn runs(&self) -> Vec<(TenantId, TestRunId)> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut runs = self.working.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = runs.get_mut(&self.run) {
            *jobs -= 1;
            if *jobs == 0 {
                runs.remove(&self.run);
            }
        }
    }
}
