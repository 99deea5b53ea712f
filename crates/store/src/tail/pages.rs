//! Pages for followers that are behind the ring: those that catch up side by side read and decode each page once, and
//! the next ones are read while one is worked on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::entry::Entry;
use crate::Store;
use crate::error::StoreError;

/// Events of one page. Pages begin at multiples of it, so that two followers ask for the same ones.
pub(crate) const PAGE_LEN: i64 = 2_000;
/// Pages that are read ahead of a follower: the database reads one, and another is decoded.
const PAGES_AHEAD: i64 = 2;
/// Most pages that are kept.
const PAGES_LEN_MAX: usize = 8;
/// Most payload in the pages that are kept, in bytes.
const PAGES_BYTES_MAX: usize = 64 * 1024 * 1024;

type Cell = Arc<OnceCell<Arc<[Entry]>>>;

/// The pages that were read last, oldest first, and the tasks that read further ones.
#[derive(Default)]
pub(crate) struct Pages {
    kept: Mutex<VecDeque<(i64, Cell)>>,
    ahead: Mutex<JoinSet<()>>,
}

impl Pages {
    /// A page that has what follows a position; empty at the end of the log.
    pub(crate) async fn after(&self, store: &Store, after: i64) -> Result<Arc<[Entry]>, StoreError> {
        let start = after - after.rem_euclid(PAGE_LEN);
        let page = self.page(store, start).await?;
        let last = page.last().map_or(start, |entry| entry.position);
        if last == start + PAGE_LEN {
            self.read_ahead(store, last);
        }
        if last > after { Ok(page) } else { Ok(store.entries_after(after, PAGE_LEN).await?.into()) }
    }

    async fn page(&self, store: &Store, start: i64) -> Result<Arc<[Entry]>, StoreError> {
        let cell = self.cell(start);
        let read = || async { Ok::<_, StoreError>(store.entries_after(start, PAGE_LEN).await?.into()) };
        let page = Arc::clone(cell.get_or_try_init(read).await?);
        if page.last().is_none_or(|last| last.position < start + PAGE_LEN) {
            // The end of the log, or large events: what is missing comes later, so the page is not kept.
            self.forget(&cell);
        }
        self.shrink();
        Ok(page)
    }

    /// Begins to read what a follower will ask for next.
    fn read_ahead(&self, store: &Store, from: i64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        while ahead.try_join_next().is_some() {}
        for start in (0..PAGES_AHEAD).map(|nth| from + nth * PAGE_LEN) {
            if self.is_kept(start) {
                continue;
            }
            // Claimed here, so that the next call does not read it once more.
            self.cell(start);
            let store = store.clone();
            ahead.spawn(async move {
                // Who needs the page tries again, and has the error.
                drop(store.inner.tail.shared.pages.page(&store, start).await);
            });
        }
    }

    fn is_kept(&self, start: i64) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(|(page, _)| *page == start)
    }

    fn cell(&self, start: i64) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = kept.iter().find(|(page, _)| *page == start) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        kept.push_back((start, Arc::clone(&cell)));
        cell
    }

    fn forget(&self, cell: &Cell) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, other)| !Arc::ptr_eq(other, cell));
    }

    fn shrink(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |cell: &Cell| cell.get().map_or(0, |page| page.iter().map(|entry| entry.bytes).sum::<usize>());
        while kept.len() > PAGES_LEN_MAX || kept.iter().map(|(_, cell)| bytes(cell)).sum::<usize>() > PAGES_BYTES_MAX {
            if kept.pop_front().is_none() {
                return;
            }
        }
    }
}
