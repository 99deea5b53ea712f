//! The newest part of the log, decoded once and kept for all followers of the process.

use std::collections::VecDeque;

use super::entry::{Entry, Scan, scan};
use super::filter::Filter;

/// Most events that are kept.
pub(crate) const RING_LEN_MAX: usize = 65_536;
/// Most payload that is kept, in bytes; decoded it takes about three times as much.
pub(crate) const RING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All entries after `start` up to `end`.
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    start: i64,
    end: i64,
}

impl Ring {
    /// An empty one, that will be filled with what comes after a position.
    pub(crate) fn at(position: i64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, start: position, end: position }
    }

    /// The newest position.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Adds the next page, and forgets what is too much.
    pub(crate) fn push(&mut self, page: Vec<Entry>) {
        for entry in page {
            self.bytes += entry.bytes;
            self.end = entry.position;
            self.entries.push_back(entry);
        }
        while self.entries.len() > RING_LEN_MAX || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes;
            self.start = oldest.position;
        }
    }

    /// Looks at what comes after a position; none where that has been forgotten.
    pub(crate) fn scan(&self, after: i64, limit: usize, filter: &Filter) -> Option<Scan> {
        if after < self.start {
            return None;
        }
        let from = self.entries.partition_point(|entry| entry.position <= after);
        Some(scan(self.entries.range(from..), after, limit, filter))
    }
}

#[cfg(test)]
mod tests {
    use pcs_domain::Category;
    use uuid::Uuid;

    use super::*;
    use crate::tail::entry::SCAN_LEN_MAX;

    fn entries(positions: std::ops::RangeInclusive<i64>, bytes: usize) -> Vec<Entry> {
        let entry = |position| Entry {
            position,
            category: if position % 2 == 0 { 1 } else { 2 },
            stream_id: Uuid::nil(),
            type_name: Some("t".into()),
            bytes,
            event: None,
        };
        positions.map(entry).collect()
    }

    #[test]
    fn what_is_kept_is_bounded_in_events_and_in_bytes() {
        let mut ring = Ring::at(0);
        let len = i64::try_from(RING_LEN_MAX).unwrap();
        ring.push(entries(1..=len + 10, 1));
        assert_eq!((ring.entries.len(), ring.start, ring.end()), (RING_LEN_MAX, 10, len + 10));
        ring.push(entries(len + 11..=len + 13, RING_BYTES_MAX / 3));
        assert!(ring.bytes <= RING_BYTES_MAX && ring.entries.len() <= 4, "large events leave room for few");
        ring.push(entries(len + 14..=len + 14, RING_BYTES_MAX + 1));
        assert_eq!((ring.entries.len(), ring.bytes), (0, 0), "an event that is too large alone is not kept");
        assert_eq!((ring.start, ring.end()), (len + 14, len + 14), "and is read by each follower that wants it");
    }

    #[test]
    fn a_follower_behind_it_is_told_so_and_one_ahead_of_it_waits() {
        let mut ring = Ring::at(100);
        ring.push(entries(101..=110, 1));
        assert_eq!(ring.scan(99, 5, &Filter::all()), None);
        let ahead = ring.scan(500, 5, &Filter::all()).unwrap();
        assert_eq!((ahead.position, ahead.scanned, ahead.unreadable), (500, 0, None));
    }

    #[test]
    fn an_event_that_can_not_be_read_stops_only_those_who_want_it() {
        let mut ring = Ring::at(0);
        ring.push(entries(1..=10, 1));
        let met = ring.scan(0, 5, &Filter::all().categories(&[Category::PromptCard])).unwrap();
        assert_eq!((met.position, met.unreadable), (1, Some(2)));
        let other = ring.scan(0, 5, &Filter::all().categories(&[Category::Execution])).unwrap();
        assert_eq!((other.position, other.unreadable), (10, None));
    }

    #[test]
    fn a_filter_that_matches_nothing_moves_on_within_a_bound() {
        let mut ring = Ring::at(0);
        let len = i64::try_from(SCAN_LEN_MAX).unwrap();
        ring.push(entries(1..=len + 10, 1));
        let nothing = Filter::all().types(["nothing.of_the_kind"]);
        let first = ring.scan(0, 5, &nothing).unwrap();
        assert_eq!((first.position, first.events.len()), (len, 0));
        assert_eq!(ring.scan(first.position, 5, &nothing).unwrap().position, len + 10);
    }
}
