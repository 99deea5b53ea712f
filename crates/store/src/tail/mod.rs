//! One reader of the log per process: each event is read and decoded once, whatever the number of followers.
//!
//! The reader keeps the newest events in a ring ([`ring`]); followers look there, each at its own pace and with its own
//! filter. One that is behind the ring reads pages by itself ([`pages`]) until it has caught up: it slows nobody down.

mod entry;
mod filter;
mod follower;
mod pages;
mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::entry::Entry;
pub use self::filter::{Filter, InvalidLane, LANES_MAX, Lane};
pub use self::follower::{Follower, Page};
use self::pages::{PAGE_LEN, Pages};
use self::ring::{RING_LEN_MAX, Ring};
use crate::error::StoreError;
use crate::{Inner, Store};

/// Longest wait until the log is looked at again: the truth, while wake-ups are hints that may be lost.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Shortest time between two looks that found less than a page: a busy log is read in larger pages.
const PACE: Duration = Duration::from_millis(2);
/// The pause after the log could not be read.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// The process's reader of the log, which starts with its first follower.
pub(crate) struct Tail {
    shared: Arc<Shared>,
    /// The reader's task; it is aborted with the store.
    task: Mutex<JoinSet<()>>,
}

struct Shared {
    /// None until the reader knows where the log ends, and while it can't read it.
    ring: Mutex<Option<Ring>>,
    pages: Pages,
    /// The end of the ring.
    end: watch::Sender<i64>,
    /// Something may have been appended, or somebody has begun to follow.
    wake: Notify,
}

impl Tail {
    pub(crate) fn new() -> Self {
        let shared =
            Shared { ring: Mutex::new(None), pages: Pages::default(), end: watch::Sender::new(0), wake: Notify::new() };
        Self { shared: Arc::new(shared), task: Mutex::default() }
    }

    /// Starts the reader where it does not run.
    fn ensure_running(&self, store: &Store) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = task.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the reader of the log ended and is started again");
            }
        }
        if task.is_empty() {
            task.spawn(run(Arc::downgrade(&store.inner), Arc::clone(&self.shared)));
        }
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the next page into the ring; answers whether it was full.
    async fn advance(&self, store: &Store) -> Result<bool, StoreError> {
        let known = self.ring().as_ref().map(Ring::end);
        let after = match known {
            Some(end) => end,
            None => self.begin(store).await?,
        };
        let page = store.entries_after(after, PAGE_LEN).await?;
        let full = i64::try_from(page.len()).is_ok_and(|len| len >= PAGE_LEN);
        let end = {
            let mut ring = self.ring();
            let ring = ring.get_or_insert_with(|| Ring::at(after));
            ring.push(page);
            ring.end()
        };
        self.end.send_if_modified(|known| std::mem::replace(known, end) != end);
        Ok(full)
    }

    /// Where the ring begins: at the end of the log, or where it stopped if that is not far.
    async fn begin(&self, store: &Store) -> Result<i64, StoreError> {
        let (head, last) = (store.head().await?, *self.end.borrow());
        let near = last > 0 && head - last <= i64::try_from(RING_LEN_MAX).unwrap_or(i64::MAX);
        Ok(if near { last } else { head })
    }
}

/// Reads until the store is gone; rests while nobody follows.
async fn run(store: Weak<Inner>, shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        while shared.end.receiver_count() == 0 {
            // What is appended meanwhile would only push older events out.
            shared.ring().take();
            shared.wake.notified().await;
        }
        let Some(store) = store.upgrade().map(|inner| Store { inner }) else { return };
        let mut appended = store.inner.newest.subscribe();
        appended.borrow_and_update();
        let started = Instant::now();
        match shared.advance(&store).await {
            Ok(full) => {
                if failing {
                    tracing::info!("the log is read again");
                    failing = false;
                }
                if full {
                    continue;
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the log can't be read; it is tried again");
                    failing = true;
                }
                // Followers look for themselves meanwhile, and have the error.
                shared.ring().take();
                drop(store);
                tokio::time::sleep(FAILURE_PAUSE).await;
                continue;
            }
        }
        // Only followers keep the store: the reader must not.
        drop(store);
        tokio::select! {
            _ = appended.changed() => (),
            () = shared.wake.notified() => (),
            () = tokio::time::sleep(POLL_INTERVAL) => (),
        }
        tokio::time::sleep_until(started + PACE).await;
    }
}
