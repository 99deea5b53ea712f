//! What the store has acknowledged, kept outside of it: the other side of the account.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// An acknowledgement: where the command's events are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ack {
    pub(super) command_id: Uuid,
    pub(super) first: i64,
    pub(super) last: i64,
}

#[derive(Default)]
struct Entries {
    acks: HashMap<Uuid, (i64, i64)>,
    sent_again: u64,
    complaints: Vec<String>,
}

/// All acknowledgements.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

/// Complaints that are kept; one is enough to fail.
const COMPLAINTS_MAX: usize = 20;

impl Ledger {
    fn with<T>(&self, read: impl FnOnce(&mut Entries) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters an acknowledgement; a second one of the same command must say the same.
    pub(super) fn enter(&self, ack: Ack) {
        self.with(|entries| match entries.acks.insert(ack.command_id, (ack.first, ack.last)) {
            None => (),
            Some(before) if before == (ack.first, ack.last) => entries.sent_again += 1,
            Some(before) => {
                let (first, last) = before;
                let text = format!(
                    "command {} was acknowledged at {first} to {last}, and again at {} to {}",
                    ack.command_id, ack.first, ack.last
                );
                push(entries, text);
            }
        });
    }

    /// Notes what a writer found wrong.
    pub(super) fn complain(&self, text: String) {
        self.with(|entries| push(entries, text));
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.with(|entries| u64::try_from(entries.acks.len()).unwrap_or(u64::MAX))
    }

    pub(super) fn sent_again(&self) -> u64 {
        self.with(|entries| entries.sent_again)
    }

    /// The acknowledgements and the complaints.
    pub(super) fn close(&self) -> (HashMap<Uuid, (i64, i64)>, Vec<String>) {
        self.with(|entries| (entries.acks.clone(), entries.complaints.clone()))
    }
}

fn push(entries: &mut Entries, text: String) {
    if entries.complaints.len() < COMPLAINTS_MAX {
        entries.complaints.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_differs_from_the_first_one_is_a_complaint() {
        let ledger = Ledger::default();
        let ack = Ack { command_id: Uuid::nil(), first: 1, last: 2 };
        ledger.enter(ack);
        ledger.enter(ack);
        assert_eq!((ledger.acknowledged(), ledger.sent_again()), (1, 1));
        assert!(ledger.close().1.is_empty());
        ledger.enter(Ack { first: 3, ..ack });
        assert_eq!(ledger.close().1.len(), 1);
    }
}
