//! One reader's view of the log: what follows a position, filtered, from memory where it is there.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::DomainEvent;
use tokio::sync::watch;

use super::Shared;
use super::entry::{SCAN_LEN_MAX, Scan, scan};
use super::filter::Filter;
use super::ring::Ring;
use crate::Store;
use crate::error::StoreError;
use crate::recorded::Recorded;

/// Follows the log from any position. It keeps no position itself: that is where its owner has stored it.
pub struct Follower {
    store: Store,
    shared: Arc<Shared>,
    filter: Filter,
    end: watch::Receiver<i64>,
}

/// What follows a position.
#[derive(Debug)]
pub struct Page {
    /// The wanted events, in the order of their commits.
    pub events: Vec<Recorded>,
    /// Everything up to here was looked at: where to go on, also where no event was wanted.
    pub position: i64,
    /// Whether this was all that the process knew of.
    pub caught_up: bool,
}

impl Store {
    /// Follows the log; the process's reader starts with its first follower.
    #[must_use]
    pub fn follow(&self, filter: Filter) -> Follower {
        let shared = Arc::clone(&self.inner.tail.shared);
        let end = shared.end.subscribe();
        self.inner.tail.ensure_running(self);
        shared.wake.notify_one();
        Follower { store: self.clone(), shared, filter, end }
    }

    /// Says that somebody has appended up to `position`, so that the log is looked at now instead of at the next poll.
    /// It may be wrong, late or missing.
    pub fn hint(&self, position: i64) {
        let shared = &self.inner.tail.shared;
        if position > *shared.end.borrow() {
            shared.wake.notify_one();
        }
    }

    /// The newest position that this process has appended, as it grows: what other processes are told.
    #[must_use]
    pub fn appended(&self) -> watch::Receiver<i64> {
        self.inner.newest.subscribe()
    }
}

impl Follower {
    /// What follows `after`, at most `limit` wanted events; does not wait for more. An event that another process has
    /// just appended may not be seen yet.
    ///
    /// # Errors
    /// Where the database does not answer. Where the first wanted event can't be read, with its place and type; what
    /// stands before it is answered first.
    pub async fn read(&self, after: i64, limit: usize) -> Result<Page, StoreError> {
        self.store.inner.tail.ensure_running(&self.store);
        let mut page = Page { events: Vec::new(), position: after, caught_up: false };
        let mut scanned = 0;
        while page.events.len() < limit && scanned < SCAN_LEN_MAX && !page.caught_up {
            let found = self.look(page.position, limit - page.events.len()).await?;
            page.caught_up = found.scanned == 0 && found.unreadable.is_none();
            scanned += found.scanned;
            page.position = found.position;
            self.count_unread(&found.events);
            page.events.extend(found.events);
            if let Some(position) = found.unreadable {
                if page.events.is_empty() {
                    self.read_again(position, &mut page).await?;
                }
                break;
            }
        }
        page.caught_up |= page.position >= self.known_end();
        Ok(page)
    }

    /// What follows `after`, as soon as there is something or the time is over.
    ///
    /// # Errors
    /// As [`Follower::read`].
    pub async fn next(&self, after: i64, limit: usize, at_most: Duration) -> Result<Page, StoreError> {
        self.wait(after, at_most).await;
        self.read(after, limit).await
    }

    /// Waits until the log is known to go on after a position, for at most this long.
    pub async fn wait(&self, after: i64, at_most: Duration) {
        let mut end = self.end.clone();
        let moved = end.wait_for(|end| *end > after);
        // Both ends of the race mean the same: look.
        drop(tokio::time::timeout(at_most, moved).await);
    }

    /// How many events the log is known to have after a position.
    #[must_use]
    pub fn lag(&self, position: i64) -> i64 {
        (*self.end.borrow() - position).max(0)
    }

    async fn look(&self, after: i64, limit: usize) -> Result<Scan, StoreError> {
        let kept = self.shared.ring().as_ref().and_then(|ring| ring.scan(after, limit, &self.filter));
        if let Some(found) = kept {
            return Ok(found);
        }
        let page = self.shared.pages.after(&self.store, after).await?;
        let from = page.partition_point(|entry| entry.position <= after);
        Ok(scan(page.iter().skip(from), after, limit, &self.filter))
    }

    /// Reads an event that could not be read before: it has the error, or was mended since.
    async fn read_again(&self, position: i64, page: &mut Page) -> Result<(), StoreError> {
        let mended = self.store.read_after(position - 1, 1).await?;
        page.position = mended.last().map_or(page.position, |event| event.position);
        page.events.extend(mended);
        Ok(())
    }

    fn count_unread(&self, events: &[Recorded]) {
        for recorded in events {
            if let DomainEvent::Unread(unread) = &recorded.event {
                self.store.inner.passed_by.count(recorded, unread);
            }
        }
    }

    fn known_end(&self) -> i64 {
        self.shared.ring().as_ref().map_or(i64::MAX, Ring::end)
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("filter", &self.filter).finish_non_exhaustive()
    }
}
