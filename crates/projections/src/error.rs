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
