//! What can go wrong while events become rows, and while rows are read.

use pcs_store::StoreError;

use crate::cursor::InvalidCursor;

/// A page of events could not be applied; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The log could not be read, or holds an event that can't be: the text has its stream, position and type.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database refused the rows.
    #[error("the read model could not be written: {0}")]
    Database(#[from] sqlx::Error),
    /// A row could not be encoded.
    #[error("a row could not be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The fold itself says that an event makes no sense to it.
    #[error("the event can't be folded: {0}")]
    Fold(String),
}

/// A read model could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller's cursor is not one of this list.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The database did not answer, or a row is not what this build expects.
    #[error("the read model could not be read: {0}")]
    Database(#[from] sqlx::Error),
}

/// What was asked of a projection can't be done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no projection of this name.
    #[error("there is no projection {0}")]
    Unknown(String),
    /// It has no such generation.
    #[error("{name} has no generation {generation}")]
    NoGeneration {
        /// The projection.
        name: String,
        /// The generation that was asked for.
        generation: &'static str,
    },
    /// Another process is at it.
    #[error("another process builds {name}")]
    Busy {
        /// The projection.
        name: String,
    },
    /// It is not as it has to be.
    #[error("{name} is {status}: {need}")]
    NotNow {
        /// The projection.
        name: String,
        /// How it is.
        status: &'static str,
        /// What is needed first.
        need: &'static str,
    },
    /// No event of the lane is parked.
    #[error("nothing is parked in lane {0}")]
    NotParked(uuid::Uuid),
    /// The projection could not be written.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// The database did not answer.
    #[error("the database did not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
