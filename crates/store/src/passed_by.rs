//! Counts the events that readers passed by because this build can't read them and they did not subscribe to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pcs_domain::Unread;

use crate::Store;
use crate::recorded::Recorded;

/// Types that are counted each; events of more are counted together under an empty name. There are few by nature, but
/// the names come from the database, and a count of what is unknown must not grow without end.
const TYPES_MAX: usize = 1_000;

/// A type whose events were passed by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PassedBy {
    /// Its wire name.
    pub type_name: Arc<str>,
    /// The version of its payload.
    pub schema_version: i16,
    /// How often a reader of this process passed by one since the start; each reader counts.
    pub times: u64,
}

/// The counts of a store.
#[derive(Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(Arc<str>, i16), u64>>);

impl Counts {
    /// Counts one, and says so the first time that its type is met.
    pub(crate) fn count(&self, recorded: &Recorded, unread: &Unread) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (Arc::clone(&recorded.type_name), recorded.schema_version);
        if counts.len() >= TYPES_MAX && !counts.contains_key(&key) {
            key = (Arc::from(""), 0);
        }
        let times = counts.entry(key).or_default();
        *times += 1;
        if *times == 1 {
            let reason = &unread.0;
            let position = recorded.position;
            tracing::warn!(event.position = position, %reason, "an event is passed by: its reader does not need it");
        }
    }
}

impl Store {
    /// What readers of this process passed by, by type.
    #[must_use]
    pub fn passed_by(&self) -> Vec<PassedBy> {
        let counts = self.inner.passed_by.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((type_name, version), times)| PassedBy {
                type_name: Arc::clone(type_name),
                schema_version: *version,
                times: *times,
            })
            .collect()
    }
}
