//! What is done beside the database, as jobs: the archive of old events, the retention of what is kept for a while, and
//! regrades, which read a run's answers from the log.
//!
//! These run beside the database, in the relay's process: no other worker has its credentials.

mod archive;
mod regrade;
mod retention;

use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_domain::execution::FailureClass;
use pcs_domain::ids::TenantId;
use pcs_domain::jobs::maintenance::{KIND, Task as Wanted};
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::jobs::{self, JobKind};
use pcs_store::Store;
use pcs_worker_on_request::{Attempt, Task};
use serde_json::{Map, Value};

pub use self::archive::readers;

/// How long a task may take: an archive of many partitions takes hours. What is begun is gone on with the next time.
const TASK_TIME_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Does `maintenance` jobs.
pub struct Maintenance {
    store: Store,
}

impl Maintenance {
    /// A task on this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn work(&self, tenant: TenantId, input: Map<String, Value>) -> Result<Map<String, Value>, JobFailure> {
        let wanted = jobs::read(&input).map_err(|error| JobFailure::new(FailureClass::BadRequest, error))?;
        match wanted {
            Wanted::Archive { keep, grace_hours } => archive::run(&self.store, keep, grace_hours).await,
            Wanted::Retention { answers_days, unfinished_days } => {
                retention::run(&self.store, answers_days, unfinished_days).await
            }
            Wanted::Regrade { regrade_id } => regrade::run(&self.store, tenant, regrade_id).await,
        }
    }
}

impl Task for Maintenance {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn time_max(&self) -> Duration {
        TASK_TIME_MAX
    }

    fn attempt(&self, attempt: Attempt) -> BoxFuture<'_, Result<Map<String, Value>, JobFailure>> {
        Box::pin(self.work(attempt.tenant, attempt.input))
    }
}

/// A failure of the database or the archive: another attempt may find it well.
fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::new(FailureClass::Worker, error.to_string())
}
