//! Readers that follow the log through all faults, each with connections of its own, and remember what they saw.

use std::collections::HashMap;
use std::time::Duration;

use pcs_store::{Recorded, Store, StoreConfig};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dice::Dice;

/// Pause of a reader that is at the end, or has no connection.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest page, in events.
const PAGE_LEN_MAX: u64 = 1_000;

/// What a reader saw.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// The last position.
    pub(super) position: i64,
    /// The digest of all positions and ids in the order in which they came.
    digest: Sha256,
    versions: HashMap<Uuid, i64>,
    /// The first thing that was out of order.
    pub(super) fault: Option<String>,
}

impl Seen {
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Takes an event as the next one.
    pub(super) fn see(&mut self, event: &Recorded) {
        let version = self.versions.entry(event.stream_id).or_default();
        if self.fault.is_none() && event.position != self.position + 1 {
            self.fault = Some(format!("position {} came after {}", event.position, self.position));
        }
        if self.fault.is_none() && event.version != *version + 1 {
            let (stream, came) = (event.stream_id, event.version);
            self.fault = Some(format!("version {came} of stream {stream} came after {version}"));
        }
        *version = event.version;
        self.position = event.position;
        self.digest.update(event.position.to_be_bytes());
        self.digest.update(event.event_id.as_bytes());
    }
}

/// The running readers.
pub(super) struct Readers {
    running: JoinSet<Seen>,
    /// Up to where they have to get before they may end.
    target: tokio::sync::watch::Sender<Option<i64>>,
}

impl Readers {
    pub(super) fn start(url: &str, count: u16, seed: u64, stop: &CancellationToken) -> Self {
        let (target, wanted) = tokio::sync::watch::channel(None);
        let mut running = JoinSet::new();
        for number in 0..count {
            let config = StoreConfig::new(url, format!("pcs chaos reader {number}"));
            let dice = Dice::new(seed ^ (u64::from(number) + 1));
            let reader = follow(config, dice, wanted.clone());
            let stop = stop.clone();
            running.spawn(async move { stop.run_until_cancelled(reader).await.unwrap_or_default() });
        }
        Self { running, target }
    }

    /// What each saw, once it has got to `head`.
    pub(super) async fn until(mut self, head: i64) -> Vec<Seen> {
        self.target.send_replace(Some(head));
        let mut all = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            // A reader that panicked saw nothing, which is less than it should have.
            all.push(ended.unwrap_or_default());
        }
        all
    }
}

async fn follow(config: StoreConfig, mut dice: Dice, target: tokio::sync::watch::Receiver<Option<i64>>) -> Seen {
    let mut seen = Seen::default();
    let mut store: Option<Store> = None;
    loop {
        if target.borrow().is_some_and(|head| seen.position >= head) {
            return seen;
        }
        let limit = i64::try_from(1 + dice.roll(PAGE_LEN_MAX)).unwrap_or(1);
        let page = match &store {
            Some(store) => store.read_after(seen.position, limit).await.ok(),
            None => {
                store = Store::connect(&config).await.ok();
                None
            }
        };
        match page {
            Some(page) if !page.is_empty() => page.iter().for_each(|event| seen.see(event)),
            Some(_) | None => tokio::time::sleep(PAUSE).await,
        }
    }
}
