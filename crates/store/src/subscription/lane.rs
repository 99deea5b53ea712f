//! The work on one lane: event after event, in order, while the lease lasts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::checkpoint::{self, Held};
use super::parked::{self, Aside};
use super::standing::Standing;
use super::{Delivery, Exhausted, Handler, Refusal, Subscription, SubscriptionError};
use crate::Store;
use crate::error::StoreError;
use crate::recorded::Recorded;
use crate::tail::{Follower, POLL_INTERVAL, Page};

/// Events that are looked at before the lane asks whether it shall stop.
const PAGE_LEN: usize = 500;
/// How often the checkpoint is stored where events pass that nobody wants.
const IDLE_CHECKPOINT: Duration = Duration::from_secs(1);
/// The pause after the database did not answer.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// What a lane begins with.
pub(super) struct Start {
    pub(super) lane: u16,
    pub(super) fence: i64,
    pub(super) position: i64,
    /// Whether the last owner crashed: what it was at may do so again.
    pub(super) crashed: bool,
    pub(super) tried_position: i64,
    pub(super) tries: i32,
}

/// The owner's work on one lane.
pub(super) struct LaneWork {
    store: Store,
    subscription: Arc<Subscription>,
    handler: Arc<dyn Handler>,
    standing: Arc<Standing>,
    start: Start,
    follower: Follower,
    position: i64,
    /// The position of the stored checkpoint.
    stored: i64,
    stored_at: Instant,
    /// Events that were handled since.
    unstored: u32,
    /// Events before which the lane says what it begins: those that may have crashed its last owner.
    careful: u32,
    /// How often the event after `position` could not be read.
    unreadable: u32,
    retire: CancellationToken,
}

/// How the work on a lane ended.
pub(super) enum Ended {
    /// As asked: the checkpoint is stored.
    Retired,
    /// Somebody else may own it now.
    Lost,
    /// The policy says so.
    Failed(SubscriptionError),
}

/// What can share one lane's work.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) subscription: Arc<Subscription>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) standing: Arc<Standing>,
}

impl LaneWork {
    pub(super) fn new(parts: Parts, follower: Follower, start: Start, retire: CancellationToken) -> Self {
        let Parts { store, subscription, handler, standing } = parts;
        // Everything that the crashed owner may have been at lies within one interval of checkpoints.
        let careful =
            if start.crashed || start.tries > 0 { subscription.checkpoint_every.saturating_add(1) } else { 0 };
        let position = start.position;
        standing.begun(start.lane);
        Self {
            store,
            subscription,
            handler,
            standing,
            start,
            follower,
            position,
            stored: position,
            stored_at: Instant::now(),
            unstored: 0,
            careful,
            unreadable: 0,
            retire,
        }
    }

    /// Works until it is retired, the lease ends, or the policy stops it. `until` is how long the lease lasts, and moves.
    pub(super) async fn run(mut self, until: watch::Receiver<Instant>) -> Ended {
        let ended = tokio::select! {
            ended = self.work() => ended,
            () = lease_over(until) => Ended::Lost,
        };
        self.standing.ended(self.start.lane);
        ended
    }

    async fn work(&mut self) -> Ended {
        loop {
            let read = tokio::select! {
                biased;
                () = self.retire.cancelled() => return self.finish().await,
                read = self.follower.next(self.position, PAGE_LEN, POLL_INTERVAL) => read,
            };
            let done = match read {
                Ok(page) => self.handle_page(page).await,
                Err(error) => self.handle_unreadable(error).await,
            };
            if let Err(ended) = done {
                return match ended {
                    Ended::Retired => self.finish().await,
                    Ended::Lost | Ended::Failed(_) => ended,
                };
            }
        }
    }

    async fn finish(&mut self) -> Ended {
        match self.store_checkpoint().await {
            Ok(()) => Ended::Retired,
            Err(ended) => ended,
        }
    }

    async fn handle_page(&mut self, page: Page) -> Result<(), Ended> {
        self.unreadable = 0;
        for event in &page.events {
            if self.retire.is_cancelled() {
                return Err(Ended::Retired);
            }
            self.handle(event).await?;
            self.position = event.position;
            self.unstored += 1;
            if self.unstored >= self.subscription.checkpoint_every || self.careful > 0 {
                self.store_checkpoint().await?;
            }
            self.careful = self.careful.saturating_sub(1);
        }
        self.position = page.position;
        let behind = (!page.caught_up).then(|| self.follower.lag(self.position));
        self.standing.at(self.start.lane, behind);
        if self.unstored > 0 || self.stored_at.elapsed() >= IDLE_CHECKPOINT {
            self.store_checkpoint().await?;
        }
        Ok(())
    }

    /// Tries an event until it is handled or set aside.
    async fn handle(&mut self, event: &Recorded) -> Result<(), Ended> {
        let aside = |attempts, error| Aside {
            position: event.position,
            stream_id: Some(event.stream_id),
            event_type: Some(format!("{}.v{}", event.type_name, event.schema_version)),
            attempts,
            error,
        };
        if self.careful > 0 && self.begin(event.position).await? {
            let error = "the process ended each time while it was handled".to_owned();
            return self.exhausted(aside(self.start.tries.unsigned_abs(), error)).await;
        }
        let policy = self.subscription.policy;
        let mut attempt = 1;
        loop {
            let delivery = Delivery { lane: self.start.lane, fence: self.start.fence, attempt };
            match self.handler.handle(event, delivery).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Skip(why)) => {
                    tracing::info!(event.position = event.position, why, "{} skips an event", self.subscription.name);
                    return Ok(());
                }
                Err(Refusal::Park(error)) => return self.park(aside(attempt, error)).await,
                Err(Refusal::Failed(error)) if attempt >= policy.attempts_max => {
                    return self.exhausted(aside(attempt, error)).await;
                }
                Err(Refusal::Failed(error) | Refusal::Retry(error)) => {
                    tracing::warn!(
                        event.position = event.position,
                        attempt,
                        error,
                        "{} tries an event again",
                        self.subscription.name
                    );
                }
            }
            self.pause(policy.pause(attempt)).await?;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Says that an event is begun; answers whether that has been said too often.
    async fn begin(&mut self, position: i64) -> Result<bool, Ended> {
        if self.start.tried_position != position {
            (self.start.tried_position, self.start.tries) = (position, 0);
        }
        if self.start.tries.unsigned_abs() >= self.subscription.policy.attempts_max {
            return Ok(true);
        }
        self.start.tries += 1;
        loop {
            match checkpoint::begin(self.store.pool(), self.held(), position, self.start.tries).await {
                Ok(true) => return Ok(false),
                Ok(false) => return Err(Ended::Lost),
                Err(error) => self.wait_for_database(&error).await,
            }
        }
    }

    /// An event that can't be read is handled like one that fails; another failure of the store is waited for.
    async fn handle_unreadable(&mut self, error: StoreError) -> Result<(), Ended> {
        let Some((position, stream_id)) = place(&error) else {
            tracing::debug!(%error, "{} waits for the store", self.subscription.name);
            return self.pause(FAILURE_PAUSE).await;
        };
        let policy = self.subscription.policy;
        self.unreadable = self.unreadable.saturating_add(1);
        if self.unreadable < policy.attempts_max {
            tracing::warn!(event.position = position, %error, "{} can't read an event", self.subscription.name);
            return self.pause(policy.pause(self.unreadable)).await;
        }
        let attempts = std::mem::take(&mut self.unreadable);
        self.exhausted(Aside { position, stream_id, event_type: None, attempts, error: error.to_string() }).await
    }

    async fn exhausted(&mut self, aside: Aside) -> Result<(), Ended> {
        match self.subscription.policy.then {
            Exhausted::Park => self.park(aside).await,
            Exhausted::Stop => {
                // What was handled before it is not repeated.
                self.store_checkpoint().await?;
                Err(Ended::Failed(SubscriptionError::Stopped {
                    name: self.subscription.name.clone(),
                    position: aside.position,
                    stream_id: aside.stream_id,
                    event_type: aside.event_type.unwrap_or_else(|| "not read".to_owned()),
                    error: aside.error,
                }))
            }
        }
    }

    async fn park(&mut self, aside: Aside) -> Result<(), Ended> {
        tracing::error!(
            event.position = aside.position,
            error = aside.error,
            "{} parks an event",
            self.subscription.name
        );
        loop {
            match parked::park(self.store.pool(), self.held(), &aside).await {
                Ok(true) => break,
                Ok(false) => return Err(Ended::Lost),
                Err(error) => self.wait_for_database(&error).await,
            }
        }
        (self.position, self.stored, self.unstored) = (aside.position, aside.position, 0);
        Ok(())
    }

    /// Stores the checkpoint where it has moved; waits for a database that does not answer, until the lease ends.
    async fn store_checkpoint(&mut self) -> Result<(), Ended> {
        self.stored_at = Instant::now();
        if self.position == self.stored {
            return Ok(());
        }
        loop {
            match checkpoint::store(self.store.pool(), self.held(), self.position).await {
                Ok(true) => break,
                Ok(false) => return Err(Ended::Lost),
                Err(error) => self.wait_for_database(&error).await,
            }
        }
        (self.stored, self.unstored) = (self.position, 0);
        Ok(())
    }

    fn held(&self) -> Held<'_> {
        Held { name: &self.subscription.name, lane: self.start.lane, fence: self.start.fence }
    }

    async fn wait_for_database(&self, error: &sqlx::Error) {
        tracing::debug!(%error, "{} waits for the database", self.subscription.name);
        tokio::time::sleep(FAILURE_PAUSE).await;
    }

    async fn pause(&self, pause: Duration) -> Result<(), Ended> {
        tokio::select! {
            () = self.retire.cancelled() => Err(Ended::Retired),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

/// The place of an event that can't be read; none for other failures.
fn place(error: &StoreError) -> Option<(i64, Option<Uuid>)> {
    match error {
        StoreError::Decode { position, stream_id, .. } => Some((*position, Some(*stream_id))),
        StoreError::Unknown { position, .. } => Some((*position, None)),
        _ => None,
    }
}

async fn lease_over(mut until: watch::Receiver<Instant>) {
    loop {
        let end = *until.borrow_and_update();
        tokio::time::sleep_until(end).await;
        if *until.borrow() <= end {
            return;
        }
    }
}
