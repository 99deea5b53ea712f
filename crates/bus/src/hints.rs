//! Hints that the log has grown: they make readers in other processes look at once, and losing them costs only time.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Bus, BusError, subjects};

/// Shortest time between two hints of a process, so at most 200 a second; one stands for all appends before it.
const HINT_INTERVAL: Duration = Duration::from_millis(5);

/// The hints of other processes.
pub struct LogHints {
    hints: async_nats::Subscriber,
}

impl Bus {
    /// Says where the log ends, as often as `appended` moves, until told to stop or until nobody appends any more.
    pub async fn send_log_hints(&self, mut appended: watch::Receiver<i64>, stop: &CancellationToken) {
        let mut next_at = Instant::now();
        loop {
            let moved = async {
                let moved = appended.changed().await;
                tokio::time::sleep_until(next_at).await;
                moved
            };
            tokio::select! {
                () = stop.cancelled() => return,
                moved = moved => if moved.is_err() { return },
            }
            next_at = Instant::now() + HINT_INTERVAL;
            let position = *appended.borrow_and_update();
            // While the broker is away the client would keep hints that are old when they arrive.
            if self.is_connected() {
                drop(self.client.publish(subjects::LOG_HINT, position.to_string().into()).await);
            }
        }
    }

    /// Listens to hints.
    ///
    /// # Errors
    /// Where the broker refuses the subscription.
    pub async fn open_log_hints(&self) -> Result<LogHints, BusError> {
        let subject = subjects::LOG_HINT.to_owned();
        let hints = self
            .client
            .subscribe(subject.clone())
            .await
            .map_err(|error| BusError::NoAnswer { subject, message: error.to_string() })?;
        Ok(LogHints { hints })
    }
}

impl LogHints {
    /// The next position that somebody says is in the log; none when the connection is closed for good.
    pub async fn next(&mut self) -> Option<i64> {
        loop {
            let message = self.hints.next().await?;
            if let Some(position) = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok()) {
                return Some(position);
            }
        }
    }
}
