//! What can go wrong between a command and its events: rejections, conflicts and failures, never mixed.

use std::time::Duration;

use pcs_domain::DecodeError;
use uuid::Uuid;

use crate::append::Expected;
use crate::archive::ArchiveError;
use crate::privacy::PrivacyError;
use crate::stream_state::StreamState;

/// The store could not do its work; nothing is known to have changed unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or the connection broke.
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The migrations could not be brought up to date.
    #[error("the database schema could not be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A stored event can't be read: the reader stops here.
    #[error("event {position} (stream {stream_id}, version {version}) can't be read: {source}")]
    Decode {
        /// Its position.
        position: i64,
        /// Its stream.
        stream_id: Uuid,
        /// Its version in the stream.
        version: i64,
        /// Why.
        source: DecodeError,
    },
    /// A row names a category or a type that this build does not know.
    #[error("event {position} has {what} {number}, which this build does not know: run a newer one")]
    Unknown {
        /// Its position.
        position: i64,
        /// `category` or `type`.
        what: &'static str,
        /// The number in the row.
        number: i16,
    },
    /// An event does not fit its own schema: a bug, caught before it is stored.
    #[error("an event of type {event_type} is not of its schema at {path}: {message}")]
    Schema {
        /// The type.
        event_type: String,
        /// Where in the payload.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// An event or an append is larger than the log takes.
    #[error("the {what} is larger than {limit_bytes} bytes; send less at once, or keep large texts elsewhere")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// One append names a stream twice.
    #[error("one command writes stream {stream_id} twice; put its events together")]
    StreamTwice {
        /// The stream.
        stream_id: Uuid,
    },
    /// A payload could not be written as JSON.
    #[error("an event could not be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The archive could not be read or written; what is not archived is not concerned.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The server does not take writes: it follows another one.
    #[error("the database is a standby or read-only; point DATABASE_URL at the primary")]
    ReadOnly,
    /// A stream has a state that this build does not know.
    #[error("stream {stream_id} has state {number}, which this build does not know: run a newer one")]
    UnknownState {
        /// The stream.
        stream_id: Uuid,
        /// The number in the row.
        number: i16,
    },
    /// A row of the log is not what this program writes.
    #[error("stream {stream_id} is damaged: {what}")]
    Damaged {
        /// The stream.
        stream_id: Uuid,
        /// What is wrong.
        what: String,
    },
    /// Personal data could not be sealed or opened.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The process is going down.
    #[error("the store is shutting down")]
    Closed,
    /// The append was sent, and no answer came; sending the same command again is safe.
    #[error("the outcome of the append is not known: {0}")]
    Unknowable(String),
}

/// Why a command's events were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A stream is not as expected.
    #[error("the stream is at version {actual}, expected was {expected}")]
    Conflict {
        /// What was expected.
        expected: Expected,
        /// The version that the stream is at.
        actual: i64,
    },
    /// A stream is closed: nothing can be appended to it.
    #[error("the stream {stream_id} is {state}")]
    StreamClosed {
        /// The stream.
        stream_id: Uuid,
        /// Why it is closed.
        state: StreamState,
    },
    /// Another command was sent with the same idempotency key.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// Too many commands wait; none of this one's events was written.
    #[error("too many commands are waiting")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R: std::error::Error> {
    /// A rule of the domain forbids it.
    #[error(transparent)]
    Rejected(R),
    /// The stream is not as the caller expected.
    #[error("the stream is at version {actual}, expected was {expected}")]
    Conflict {
        /// What the caller expected.
        expected: Expected,
        /// The version that the stream is at.
        actual: i64,
    },
    /// A stream is closed: nothing can be appended to it.
    #[error("the stream {stream_id} is {state}")]
    StreamClosed {
        /// The stream.
        stream_id: Uuid,
        /// Why it is closed.
        state: StreamState,
    },
    /// Another command was sent with the same idempotency key.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// Too many commands wait.
    #[error("too many commands are waiting")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl<R: std::error::Error> From<AppendError> for ExecuteError<R> {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { expected, actual } => Self::Conflict { expected, actual },
            AppendError::StreamClosed { stream_id, state } => Self::StreamClosed { stream_id, state },
            AppendError::KeyReused => Self::KeyReused,
            AppendError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            AppendError::Store(error) => Self::Store(error),
        }
    }
}

impl<R: std::error::Error> From<StoreError> for ExecuteError<R> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
