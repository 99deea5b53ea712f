//! How many jobs the fleet can do at once, from the workers' heartbeats.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcs_bus::{Heartbeat, WorkerPresence};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A worker that was silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The workers that were heard of lately.
#[derive(Clone, Default)]
pub(crate) struct Presence {
    workers: Arc<Mutex<HashMap<String, (Heartbeat, Instant)>>>,
}

impl Presence {
    /// The slots of all workers that take jobs.
    pub(crate) fn slots(&self) -> usize {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|_, (_, heard)| heard.elapsed() < SILENCE_MAX);
        workers
            .values()
            .filter(|(heartbeat, _)| !heartbeat.draining)
            .map(|(heartbeat, _)| heartbeat.slots as usize)
            .sum()
    }

    /// Listens until told to stop.
    pub(crate) async fn follow(self, mut heartbeats: WorkerPresence, stop: CancellationToken) {
        while let Some(heartbeat) = heartbeats.next(&stop).await {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.retain(|_, (_, heard)| heard.elapsed() < SILENCE_MAX);
            workers.insert(heartbeat.worker.clone(), (heartbeat, Instant::now()));
        }
    }
}
