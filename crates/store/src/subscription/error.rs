//! What can go wrong with a subscription, as opposed to with one of its events.

use uuid::Uuid;

use crate::error::StoreError;
use crate::tail::InvalidLane;

/// A subscription could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// Its name is empty or too long.
    #[error("a subscription's name has 1 to {max} characters, and no control characters", max = super::NAME_LEN_MAX)]
    Name,
    /// Its lease is too short.
    #[error("a lease of a subscription lasts at least {} ms", super::LEASE_MIN.as_millis())]
    Lease,
    /// Its number of lanes can't be.
    #[error(transparent)]
    Lane(#[from] InvalidLane),
    /// It was begun with another number of lanes, by which its streams are divided.
    #[error("the subscription {name} has {stored} lanes, not {asked}: keep them, or delete it and begin at a position")]
    LanesChanged {
        /// Its name.
        name: String,
        /// The number that it was begun with.
        stored: u16,
        /// The number that was asked for.
        asked: u16,
    },
    /// It shall begin, or go back to, where there is nothing yet.
    #[error("position {position} is not in the log, which ends at {head}")]
    Position {
        /// The position.
        position: i64,
        /// The position of the newest event.
        head: i64,
    },
    /// There is none of this name, or it was deleted.
    #[error("there is no subscription {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// An event was not handled, and the policy is to stop there.
    #[error("the subscription {name} stops at event {position} (stream {stream}, {event_type}): {error}", stream = stream_id.map_or_else(|| "not known".to_owned(), |id| id.to_string()))]
    Stopped {
        /// The subscription.
        name: String,
        /// The event's position.
        position: i64,
        /// Its stream, where the event could be read so far.
        stream_id: Option<Uuid>,
        /// Its type.
        event_type: String,
        /// What the handler said.
        error: String,
    },
    /// Somebody else handles its parked events at this moment.
    #[error("the parked events of {name} are being retried by somebody else")]
    RetryRunning {
        /// The subscription.
        name: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SubscriptionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
