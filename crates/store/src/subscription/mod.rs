//! Durable subscriptions: handlers with effects outside of the database, such as webhooks and replays.
//!
//! A [`Subscription`] delivers each wanted event at least once, in order within a stream. Its streams are divided into
//! lanes that are worked on in parallel; processes that run it share the lanes by leases ([`lease`]), and a fence keeps
//! an owner that was too slow from moving a checkpoint ([`checkpoint`]). A projection needs none of this: it commits
//! its checkpoint with its rows.

mod checkpoint;
mod error;
mod lane;
mod lease;
mod member;
mod parked;
mod standing;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use self::error::SubscriptionError;
pub use self::parked::{Parked, Retried};
pub use self::status::{LaneStatus, SubscriptionStatus, subscription_statuses};
use crate::Store;
use crate::recorded::Recorded;
use crate::tail::{Filter, Lane};

/// Longest name, in characters.
const NAME_LEN_MAX: usize = 200;
/// Shortest lease: it is renewed four times before its end, and a renewal is a round trip.
const LEASE_MIN: Duration = Duration::from_millis(500);

/// Where a subscription begins when it is started for the first time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartFrom {
    /// With the first event of the log.
    Start,
    /// With the event after this position.
    Position(i64),
    /// With the first event after the first start; later starts go on from the checkpoint.
    Now,
}

/// What happens when an event was tried as often as the policy says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exhausted {
    /// The subscription ends with an error at this event.
    Stop,
    /// The event is set aside, and the subscription goes on. Later events of its stream are handled before it.
    Park,
}

/// What is done about an event that is not handled.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How often an event is tried, at least once.
    pub attempts_max: u32,
    /// The pause after the first attempt; it doubles.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// What comes after the last attempt.
    pub then: Exhausted,
}

impl Policy {
    /// Ends at the first failure.
    pub const STOP: Self = Self { attempts_max: 1, then: Exhausted::Stop, ..Self::RETRY };
    /// Tries for ever, with growing pauses.
    pub const RETRY: Self = Self {
        attempts_max: u32::MAX,
        pause_min: Duration::from_millis(200),
        pause_max: Duration::from_secs(30),
        then: Exhausted::Stop,
    };
    /// Sets the event aside after five attempts.
    pub const PARK: Self = Self { attempts_max: 5, then: Exhausted::Park, ..Self::RETRY };

    /// The pause after an attempt, from 1.
    fn pause(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.pause_min.saturating_mul(doubled).min(self.pause_max)
    }
}

/// A named reader of the log that remembers where it is.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name; processes with the same one share its work.
    pub name: String,
    /// Where it begins the first time.
    pub from: StartFrom,
    /// Which events it wants. Not stored: all processes must say the same.
    pub filter: Filter,
    /// How many streams are worked on at once, over all processes; fixed when it begins.
    pub lanes: u16,
    /// What is done about an event that is not handled.
    pub policy: Policy,
    /// How long a process that says nothing keeps its lanes; also the longest time a handler may keep a stop waiting.
    pub lease: Duration,
    /// After how many handled events of a lane the checkpoint is stored; after a crash at most so many are repeated.
    pub checkpoint_every: u32,
    /// How many events behind is fallen behind.
    pub behind_after: i64,
}

impl Subscription {
    /// One lane from the start of the log, every event, tried for ever.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            from: StartFrom::Start,
            filter: Filter::all(),
            lanes: 1,
            policy: Policy::RETRY,
            lease: Duration::from_secs(10),
            checkpoint_every: 64,
            behind_after: 10_000,
        }
    }

    fn check(&self) -> Result<(), SubscriptionError> {
        let length = self.name.chars().count();
        if length == 0 || length > NAME_LEN_MAX || self.name.chars().any(char::is_control) {
            return Err(SubscriptionError::Name);
        }
        if self.lease < LEASE_MIN {
            return Err(SubscriptionError::Lease);
        }
        Lane::new(0, self.lanes)?;
        Ok(())
    }
}

/// Around an event that is handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The lane.
    pub lane: u16,
    /// Grows with each change of the lane's owner. A target that refuses lower ones than it has seen can't be written
    /// by an owner that has lost its lane without noticing.
    pub fence: i64,
    /// Which attempt of this owner it is, from 1.
    pub attempt: u32,
}

/// Why a handler did not handle an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It failed: what follows is up to the policy.
    Failed(String),
    /// It shall be tried again, however often it was tried.
    Retry(String),
    /// It is not worth another attempt, nor a place among the parked ones.
    Skip(String),
    /// It shall be set aside now.
    Park(String),
}

/// A change of how far a process's share of a subscription is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// All of its lanes have reached the end of the log.
    CaughtUp,
    /// A lane is more than [`Subscription::behind_after`] events behind.
    FellBehind,
}

/// What a subscription does with its events.
pub trait Handler: Send + Sync {
    /// Handles one event. It may come again, after a crash or a lost lease, so handling it twice must do no harm. The
    /// future is dropped where the lane is lost meanwhile.
    fn handle<'a>(&'a self, event: &'a Recorded, delivery: Delivery) -> BoxFuture<'a, Result<(), Refusal>>;

    /// Learns of a change, once each time.
    fn signal(&self, _signal: Signal) {}
}

impl Store {
    /// Runs a share of a subscription until told to stop; then finishes the events in hand, stores the checkpoints and
    /// gives its lanes back. A database that does not answer is waited for.
    ///
    /// # Errors
    /// Where the subscription can't be begun as it is described, was deleted, or stops at an event by its policy.
    pub async fn subscribe(
        &self,
        subscription: Subscription,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<(), SubscriptionError> {
        subscription.check()?;
        self.open_subscription(&subscription).await?;
        member::Member::new(self.clone(), subscription, handler).run(stop).await
    }
}
