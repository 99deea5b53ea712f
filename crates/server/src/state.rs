//! What the routes work with: the store, the accounts, the metrics and the checks of readiness.

use std::sync::Arc;

use pcs_auth::Authenticator;
use pcs_store::Store;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// Most requested runs that are checked at once: each may keep a core busy for seconds.
const RUN_CHECKS_MAX: usize = 2;
/// Most reads of the past at once: each holds two connections while it folds.
const PAST_READS_MAX: usize = 3;

/// Everything that a route may use; clones share it.
#[derive(Clone)]
pub struct AppState {
    store: Store,
    authenticator: Authenticator,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    run_checks: Arc<Semaphore>,
    past_reads: Arc<Semaphore>,
}

impl AppState {
    /// The state of one server; its metrics start at zero.
    #[must_use]
    pub fn new(store: Store, authenticator: Authenticator, readiness: Readiness) -> Self {
        Self {
            store,
            authenticator,
            readiness: Arc::new(readiness),
            metrics: Arc::new(Metrics::new()),
            run_checks: Arc::new(Semaphore::new(RUN_CHECKS_MAX)),
            past_reads: Arc::new(Semaphore::new(PAST_READS_MAX)),
        }
    }

    /// The metrics, for what else the process counts; see [`crate::metrics_follower`].
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Places for checks of requested runs.
    pub(crate) fn run_checks(&self) -> &Arc<Semaphore> {
        &self.run_checks
    }

    /// Places for reads of the past.
    pub(crate) fn past_reads(&self) -> &Arc<Semaphore> {
        &self.past_reads
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").finish_non_exhaustive()
    }
}
