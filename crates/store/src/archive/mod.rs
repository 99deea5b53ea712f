//! The archive: closed partitions of the log in object storage, still part of the one history that everybody reads.
//!
//! [`Store::archive_run`] moves partitions out, [`Store::archive_restore`] takes them back, [`Store::archive_verify`]
//! proves that they are what was archived. Readers need not know: `route` asks the archive for what is not in the log.

mod cache;
mod catalogue;
mod chain_check;
mod error;
mod event;
mod export;
mod finding;
mod format;
mod location;
mod merkle;
mod plan;
mod reader;
mod restore;
mod route;
mod run;
mod seal_check;
mod select;
mod verify;

pub use self::catalogue::{ArchiveState, ArchivedPartition};
pub use self::error::ArchiveError;
pub use self::finding::ArchiveFinding;
pub use self::location::ArchiveConfig;
pub use self::plan::{Candidate, Reader, Verdict, set_partition_len};
pub(crate) use self::reader::Archive;
pub use self::run::{ArchiveRun, ArchiveStep};
