//! Reads and decodes the next pages while one is written: all cores work, and a few pages are in memory, not more.

use futures_util::StreamExt;
use futures_util::stream;
use pcs_store::{LogPage, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::spawn;
use crate::Projection;

/// Pages that wait for the writer: one is enough to keep it busy.
const PAGES_AHEAD: usize = 1;
/// Pages that are read at once, over a connection each.
const READS_AT_ONCE: usize = 2;

/// The pages of the log up to its head, read ahead.
pub(super) struct Reader {
    pages: mpsc::Receiver<Result<LogPage, StoreError>>,
    _task: AbortOnDropHandle<()>,
}

impl Reader {
    /// Reads from `position` until it has reached the head of the log.
    pub(super) fn start(store: &Store, projection: &dyn Projection, position: i64, page_len: i64) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let (store, subscribed) = (store.clone(), projection.subscribed());
        let read = move |from: i64, len: i64| {
            let store = store.clone();
            async move { store.read_page(from, len, &subscribed).await }
        };
        let task = spawn(async move {
            // Positions have no gaps, so it is known where each page begins.
            let starts = (0..).map(|nth: i64| position.saturating_add(nth.saturating_mul(page_len)));
            let reads = stream::iter(starts).map(|from| {
                let task = spawn(read(from, page_len));
                async move { (from, task.await) }
            });
            let mut reads = reads.buffered(READS_AT_ONCE);
            while let Some((from, page)) = reads.next().await {
                let mut page = page.unwrap_or(Err(StoreError::Closed));
                let end = from.saturating_add(page_len);
                loop {
                    let up_to = page.as_ref().ok().filter(|page| page.full).map(|page| page.up_to);
                    // Nobody to send to: the build has ended.
                    if sender.send(page).await.is_err() {
                        return;
                    }
                    match up_to {
                        None => return,
                        Some(up_to) if up_to >= end => break,
                        // Large events, or the end of a partition: the rest of the stretch comes before the next.
                        Some(up_to) => page = read(up_to, end - up_to).await,
                    }
                }
            }
        });
        Self { pages, _task: task }
    }

    /// The next page; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<LogPage>, StoreError> {
        self.pages.recv().await.transpose()
    }
}
