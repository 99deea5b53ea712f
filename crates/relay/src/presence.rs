//! Which workers are there, and how many jobs they can do at once, from their heartbeats.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcs_bus::{Heartbeat, WorkerPresence};
use pcs_domain::jobs::JobKind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A worker that was silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A worker that was heard of lately.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) heartbeat: Heartbeat,
    /// How long ago it was heard of first.
    pub(crate) known_for: Duration,
    /// How long ago it was heard of last.
    pub(crate) silent_for: Duration,
}

struct Entry {
    heartbeat: Heartbeat,
    first: Instant,
    last: Instant,
}

/// The workers that were heard of lately; clones share them.
#[derive(Clone)]
pub(crate) struct Presence {
    workers: Arc<Mutex<HashMap<String, Entry>>>,
    since: Instant,
}

impl Default for Presence {
    fn default() -> Self {
        Self { workers: Arc::default(), since: Instant::now() }
    }
}

impl Presence {
    /// The slots of all workers that take jobs of a kind.
    pub(crate) fn slots(&self, kind: JobKind) -> usize {
        let takes = |seen: &Seen| !seen.heartbeat.draining && seen.heartbeat.kind == kind.name;
        self.workers().iter().filter(|seen| takes(seen)).map(|seen| seen.heartbeat.slots as usize).sum()
    }

    /// All workers that are there.
    pub(crate) fn workers(&self) -> Vec<Seen> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|_, entry| entry.last.elapsed() < SILENCE_MAX);
        let seen = |entry: &Entry| Seen {
            heartbeat: entry.heartbeat.clone(),
            known_for: entry.first.elapsed(),
            silent_for: entry.last.elapsed(),
        };
        workers.values().map(seen).collect()
    }

    /// The names of all workers that are there.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.workers().into_iter().map(|seen| seen.heartbeat.worker).collect()
    }

    /// Whether it has listened for long enough to have heard of every worker that is there.
    pub(crate) fn is_settled(&self) -> bool {
        self.since.elapsed() >= SILENCE_MAX
    }

    /// Listens until told to stop.
    pub(crate) async fn follow(self, mut heartbeats: WorkerPresence, stop: CancellationToken) {
        while let Some(heartbeat) = heartbeats.next(&stop).await {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            workers.retain(|_, entry| entry.last.elapsed() < SILENCE_MAX);
            let now = Instant::now();
            let first = workers.get(&heartbeat.worker).map_or(now, |entry| entry.first);
            workers.insert(heartbeat.worker.clone(), Entry { heartbeat, first, last: now });
        }
    }
}
