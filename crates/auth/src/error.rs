//! What can go wrong while looking somebody up; a wrong key is not an error but nobody.

/// The accounts could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The database refused or the connection broke.
    #[error("the accounts could not be read: {0}")]
    Database(#[from] sqlx::Error),
    /// A row names a role that this build does not know.
    #[error("an API key has the role {0:?}, which this build does not know: run a newer one")]
    UnknownRole(String),
    /// There is no such account.
    #[error("there is no such account")]
    NoSuchAccount,
}
