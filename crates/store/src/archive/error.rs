//! What can go wrong with the archive, each with the range or object that it is about and with what mends it.

use super::finding::ArchiveFinding;

/// The archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The address can't be used.
    #[error("the archive's address {url} can't be used: {why}")]
    Address {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// Events are wanted that were archived, and the process was not told where.
    #[error(
        "events {first} to {last} are archived, and this process does not know where: set PCS_ARCHIVE_URL to the \
         address that `pcs es archive run` was given"
    )]
    NotConfigured {
        /// The first position of the archived range.
        first: i64,
        /// The last position.
        last: i64,
    },
    /// What reads the database alone was asked for events that are only in the archive.
    #[error(
        "events {first} to {last} are archived, and this reads the database only: begin behind them, or take them back \
         with `pcs es archive restore`; `pcs es archive verify` verifies what is archived"
    )]
    NotInTheLog {
        /// The first position of the newest archived partition that is concerned.
        first: i64,
        /// Its last position.
        last: i64,
    },
    /// Nothing can be archived without an address.
    #[error("no archive is set: set PCS_ARCHIVE_URL to file:///folder or s3://bucket/prefix")]
    NoAddress,
    /// An object is missing, or the store that has it does not answer.
    #[error(
        "{object} can't be read or written: {source}; check PCS_ARCHIVE_URL and the AWS_* settings, or put the object \
         back from a copy"
    )]
    Object {
        /// The object's address.
        object: String,
        /// What the object store said.
        source: Box<object_store::Error>,
    },
    /// An object is there, and is not what was archived.
    #[error(
        "{object} is not what was archived: {why}; put it back from a copy, `pcs es archive verify` shows all damage"
    )]
    Damaged {
        /// The object's address.
        object: String,
        /// What differs.
        why: String,
    },
    /// What was read back after the export is not what was exported: the partition stays.
    #[error("partition {number} was not archived, because what was read back is wrong: {first}")]
    NotVerified {
        /// The partition.
        number: i64,
        /// The first finding.
        first: Box<ArchiveFinding>,
    },
    /// Somebody else archives or restores.
    #[error("another archive run or restore is at work on this database; wait for its end")]
    Busy,
    /// A range can't be restored.
    #[error("partition {number} can't be restored: {why}")]
    NotRestorable {
        /// The partition.
        number: i64,
        /// Why.
        why: String,
    },
    /// A partition could not be compressed or its index not be written.
    #[error("events could not be packed: {0}")]
    Pack(String),
}

impl ArchiveError {
    /// Whether an object is missing, or is not what was archived: a finding for who looks for damage.
    pub(crate) fn is_damage(&self) -> bool {
        let is_missing = |source: &object_store::Error| matches!(source, object_store::Error::NotFound { .. });
        matches!(self, Self::Damaged { .. }) || matches!(self, Self::Object { source, .. } if is_missing(source))
    }
}
