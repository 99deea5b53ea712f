//! A row of the log as followers share it: the event, or that it can't be read.

use std::sync::Arc;

use pcs_domain::DomainEvent;
use uuid::Uuid;

use super::filter::Filter;
use crate::recorded::Recorded;

/// Most entries that one look goes through: a filter that matches nothing must still answer soon.
pub(crate) const SCAN_LEN_MAX: usize = 16_384;

/// One position of the log.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) position: i64,
    pub(crate) category: i16,
    pub(crate) stream_id: Uuid,
    /// None where the database has a number without a name.
    pub(crate) type_name: Option<Arc<str>>,
    /// The size of its payload.
    pub(crate) bytes: usize,
    /// [`DomainEvent::Unread`] where this build can't read it, and none where it does not even know its kind. The
    /// follower that needs it reads it again, and has the error.
    pub(crate) event: Option<Recorded>,
}

impl Entry {
    fn is_wanted(&self, filter: &Filter) -> bool {
        filter.wants(self.category, self.type_name.as_deref(), self.stream_id)
    }

    /// The event, where a follower can do with it.
    fn event_for(&self, filter: &Filter) -> Option<&Recorded> {
        let event = self.event.as_ref()?;
        let unread = matches!(event.event, DomainEvent::Unread(_));
        (!unread || !filter.needs(self.category)).then_some(event)
    }
}

/// What a look at consecutive entries found.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scan {
    /// The wanted events, in order.
    pub(crate) events: Vec<Recorded>,
    /// Everything up to here was looked at.
    pub(crate) position: i64,
    /// How many entries were looked at.
    pub(crate) scanned: usize,
    /// The wanted event after `position` that can't be read.
    pub(crate) unreadable: Option<i64>,
}

/// Looks for at most `limit` wanted events after a position.
pub(crate) fn scan<'a>(entries: impl Iterator<Item = &'a Entry>, after: i64, limit: usize, filter: &Filter) -> Scan {
    let mut found = Scan { position: after, ..Scan::default() };
    for entry in entries {
        if found.events.len() >= limit || found.scanned >= SCAN_LEN_MAX {
            break;
        }
        if entry.is_wanted(filter) {
            match entry.event_for(filter) {
                Some(event) => found.events.push(event.clone()),
                None => {
                    found.unreadable = Some(entry.position);
                    break;
                }
            }
        }
        found.scanned += 1;
        found.position = entry.position;
    }
    found
}
