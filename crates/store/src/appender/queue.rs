//! Which of the waiting commands go together: those of a batch share no stream and no command id.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::{BATCH_BYTES_MAX, BATCH_LEN_MAX, HELD_LEN_MAX, Pending};

/// A stream or a command id of a tenant.
type Key = (i32, Uuid);

/// The commands that the appender has taken from the channel.
///
/// A command that can't go because another on its stream goes first waits behind that stream: a stream that everybody
/// writes to holds up nobody else.
#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<Pending>,
    held: HashMap<Key, VecDeque<Pending>>,
    held_len: usize,
    /// What the batch that was taken last works on.
    taken: HashSet<Key>,
}

impl Queue {
    /// Waits for the next command. Answers whether there is one: there is none when all who could send one are gone.
    pub(super) async fn fill(&mut self, waiting: &mut mpsc::Receiver<Pending>) -> bool {
        let next = waiting.recv().await;
        let is_there = next.is_some();
        self.ready.extend(next);
        is_there
    }

    /// The next batch, of what is there; the last one must be done.
    pub(super) fn next_batch(&mut self, waiting: &mut mpsc::Receiver<Pending>) -> Vec<Pending> {
        self.release();
        while self.ready.len() < BATCH_LEN_MAX && self.held_len < HELD_LEN_MAX {
            match waiting.try_recv() {
                Ok(pending) => self.ready.push_back(pending),
                Err(_) => break,
            }
        }
        self.take_batch()
    }

    /// Takes from the front what may share a batch; what has to wait for one of them is held back behind it.
    fn take_batch(&mut self) -> Vec<Pending> {
        let mut batch: Vec<Pending> = Vec::new();
        let (mut len, mut bytes) = (0, 0);
        while let Some(pending) = self.ready.pop_front() {
            let keys = keys(&pending);
            if let Some(key) = keys.iter().find(|key| self.taken.contains(*key)) {
                self.hold(pending, *key, &keys);
                continue;
            }
            len += pending.append.len();
            bytes += pending.append.bytes();
            if !batch.is_empty() && (len > BATCH_LEN_MAX || bytes > BATCH_BYTES_MAX) {
                self.ready.push_front(pending);
                break;
            }
            self.taken.extend(keys);
            batch.push(pending);
        }
        batch
    }

    /// Holds a command back behind one of its keys. What waits behind another of its keys now waits with it: nobody of
    /// the batch would release it.
    fn hold(&mut self, pending: Pending, behind: Key, keys: &[Key]) {
        let mut waiting = VecDeque::from([pending]);
        self.held_len += 1;
        for key in keys.iter().filter(|key| !self.taken.contains(*key)) {
            waiting.extend(self.held.remove(key).into_iter().flatten());
        }
        self.held.entry(behind).or_default().append(&mut waiting);
    }

    /// The batch is done: what waits behind its keys goes next, up to the first command that has the key itself and so
    /// will release the rest.
    fn release(&mut self) {
        let mut released = Vec::new();
        // Emptied, not thrown away: the next batch is about as large.
        for key in self.taken.drain() {
            let Some(behind) = self.held.get_mut(&key) else { continue };
            while let Some(next) = behind.pop_front() {
                let releases = keys(&next).contains(&key);
                released.push(next);
                if releases {
                    break;
                }
            }
            if behind.is_empty() {
                self.held.remove(&key);
            }
        }
        self.held_len -= released.len();
        for next in released.into_iter().rev() {
            self.ready.push_front(next);
        }
    }
}

/// What a command must not share with another of its batch.
fn keys(pending: &Pending) -> Vec<Key> {
    let tenant = pending.append.context.tenant.0;
    let streams = pending.append.streams.iter().map(|stream| (tenant, stream.stream_id));
    streams.chain([(tenant, pending.append.context.command_id.0)]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pcs_domain::Category;
    use pcs_domain::ids::{CommandId, TenantId};
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;
    use crate::append::{Append, CommandContext, Expected};

    fn pending(number: u128, streams: &[u128]) -> Pending {
        let context = CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::from_u128(1_000 + number)));
        let append = streams.iter().fold(Append::new(context), |append, stream| {
            append.check(Category::PromptCard, Uuid::from_u128(*stream), Expected::Any)
        });
        Pending { append, answer: oneshot::channel().0 }
    }

    fn number(pending: &Pending) -> u128 {
        pending.append.context.command_id.0.as_u128() - 1_000
    }

    proptest! {
        /// Nothing is lost, a batch shares no stream, and commands of one stream alone keep their order.
        #[test]
        fn every_command_goes_once_and_apart_from_others_on_its_streams(
            streams in prop::collection::vec(prop::collection::btree_set(0_u128..5, 1..3), 0..60)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (sender, mut waiting) = mpsc::channel(100);
            for (i, streams) in streams.iter().enumerate() {
                let streams: Vec<u128> = streams.iter().copied().collect();
                assert!(sender.try_send(pending(i as u128, &streams)).is_ok());
            }
            drop(sender);
            let mut queue = Queue::default();
            let mut order: BTreeMap<u128, Vec<u128>> = BTreeMap::new();
            let mut done = Vec::new();
            loop {
                let batch = queue.next_batch(&mut waiting);
                if batch.is_empty() {
                    if runtime.block_on(queue.fill(&mut waiting)) {
                        continue;
                    }
                    break;
                }
                let keys: Vec<Key> = batch.iter().flat_map(keys).collect();
                prop_assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
                for pending in &batch {
                    let number = number(pending);
                    done.push(number);
                    let own = &streams[usize::try_from(number).unwrap()];
                    if own.len() == 1 {
                        order.entry(*own.first().unwrap()).or_default().push(number);
                    }
                }
            }
            prop_assert_eq!(queue.held_len, 0);
            done.sort_unstable();
            prop_assert_eq!(done, (0..streams.len() as u128).collect::<Vec<_>>());
            if streams.iter().all(|own| own.len() == 1) {
                prop_assert!(order.values().all(|numbers| numbers.is_sorted()));
            }
        }
    }
}
