//! Reads and decodes the next pages while one is written: two cores work, and a few pages are in memory, not more.

use pcs_store::{LogPage, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::spawn;
use crate::Projection;

/// Pages that wait for the writer: one is enough to keep it busy.
const PAGES_AHEAD: usize = 1;

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
        let task = spawn(async move {
            let mut position = position;
            loop {
                let page = store.read_page(position, page_len, &subscribed).await;
                let more = page.as_ref().is_ok_and(|page| page.full);
                position = page.as_ref().map_or(position, |page| page.up_to);
                // Nobody to send to: the build has ended.
                if sender.send(page).await.is_err() || !more {
                    return;
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
