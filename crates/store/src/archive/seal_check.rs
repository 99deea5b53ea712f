//! Compares the batches of archived events with their seals, which stay in the database.

use std::collections::VecDeque;

use crate::Store;
use crate::error::StoreError;
use crate::rows::Row;
use crate::verify::seals::{self, EventRow, SealRow, Sealed};

/// A walk over a partition's events in the order of their positions.
///
/// A batch is looked at where it ends: of one that goes on in the next partition, the look at that one takes the events
/// of both.
pub(crate) struct SealCheck<'a> {
    store: &'a Store,
    /// The last position of the partition.
    to: i64,
    before: Option<Sealed>,
    seals: VecDeque<SealRow>,
    batch: Vec<EventRow>,
}

impl<'a> SealCheck<'a> {
    pub(crate) fn new(store: &'a Store, to: i64) -> Self {
        Self { store, to, before: None, seals: VecDeque::new(), batch: Vec::new() }
    }

    /// What is wrong with the batch that ends with this event, and where.
    pub(crate) async fn faults(&mut self, row: &Row) -> Result<Vec<(i64, String)>, StoreError> {
        if self.seals.front().is_none_or(|seal| seal.last_position < row.position) {
            self.go_to(row.position).await?;
        }
        let Some(seal) = self.seals.front().filter(|seal| seal.first_position <= row.position) else {
            return Ok(vec![(row.position, "it is of a batch that is not sealed".to_owned())]);
        };
        self.batch.push(event(row));
        if row.position < seal.last_position {
            return Ok(Vec::new());
        }
        let before = match self.before {
            Some(before) => before,
            None => seals::before(self.store, seal.first_position).await?,
        };
        let is_whole =
            i64::try_from(self.batch.len()).is_ok_and(|len| len == seal.last_position - seal.first_position + 1);
        // An event that is missing has been told; the seal could say no more.
        let faults = if is_whole { seals::faults(&before, seal, &self.batch) } else { Vec::new() };
        self.before = Some(seal.sealed());
        self.seals.pop_front();
        self.batch.clear();
        Ok(faults)
    }

    /// To the batch that has this position, with those of its events that come before it.
    async fn go_to(&mut self, position: i64) -> Result<(), StoreError> {
        self.batch.clear();
        while self.seals.front().is_some_and(|seal| seal.last_position < position) {
            self.before = self.seals.pop_front().map(|seal| seal.sealed());
        }
        if self.seals.is_empty() {
            self.seals = seals::after(self.store, position - 1, self.to).await?.into();
        }
        let Some(seal) = self.seals.front() else { return Ok(()) };
        let mut read_to = seal.first_position - 1;
        while read_to < position - 1 {
            let rows = self.store.rows_after(read_to, position - 1 - read_to).await?;
            self.batch.extend(rows.iter().map(event));
            let Some(last) = rows.last() else { break };
            read_to = last.position;
        }
        Ok(())
    }
}

fn event(row: &Row) -> EventRow {
    EventRow { position: row.position, recorded_at: row.recorded_at, hash: row.hash.clone() }
}
