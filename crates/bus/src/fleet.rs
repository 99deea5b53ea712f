//! Who is there: workers say so every few seconds, and the relay listens.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{Bus, BusError, subjects};

/// How often a worker says that it is there.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// What a worker says of itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Heartbeat {
    /// Its name, unique per start of a process.
    pub worker: String,
    /// The kind of job it does.
    pub kind: String,
    /// How many jobs it can do at once.
    pub slots: u32,
    /// How many it does now.
    pub in_flight: u32,
    /// Whether it takes no more.
    pub draining: bool,
    /// The version of its program.
    pub build: String,
}

/// The relay's side of the heartbeats.
pub struct WorkerPresence {
    heartbeats: async_nats::Subscriber,
}

impl Bus {
    pub(crate) async fn send_heartbeat(&self, heartbeat: &Heartbeat) {
        let subject = format!("{}.{}", subjects::FLEET, heartbeat.kind);
        let payload = serde_json::to_vec(heartbeat).map(Bytes::from).unwrap_or_default();
        // Lossy by nature: the next one comes soon.
        drop(self.client.publish(subject, payload).await);
    }

    /// Listens to heartbeats.
    ///
    /// # Errors
    /// Where the broker refuses the subscription.
    pub async fn open_presence(&self) -> Result<WorkerPresence, BusError> {
        let subject = format!("{}.>", subjects::FLEET);
        let heartbeats = self
            .client
            .subscribe(subject.clone())
            .await
            .map_err(|error| BusError::NoAnswer { subject, message: error.to_string() })?;
        Ok(WorkerPresence { heartbeats })
    }
}

impl WorkerPresence {
    /// The next heartbeat; none when told to stop.
    pub async fn next(&mut self, stop: &CancellationToken) -> Option<Heartbeat> {
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return None,
                message = self.heartbeats.next() => message?,
            };
            if let Ok(heartbeat) = serde_json::from_slice(&message.payload) {
                return Some(heartbeat);
            }
        }
    }
}
