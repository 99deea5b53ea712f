//! The event store on PostgreSQL: commands become events here, and nowhere else.
//!
//! [`execute`] loads, decides and appends. [`Store::append`] hands a command's events to the appender, which commits
//! many commands with one call ([`appender`]). Readers follow the log by position: positions have no gaps and their
//! order is the order of commits, so a cursor is one number.

mod append;
mod appender;
mod archive;
mod chain;
mod connect;
pub mod diagnosis;
mod cursor;
mod error;
mod execute;
mod export_rows;
mod import;
mod inspect;
mod log;
mod memory;
mod migrate;
mod page;
mod passed_by;
mod privacy;
mod read;
mod recorded;
mod rows;
mod schemas;
mod stream_state;
mod stored;
mod snapshot;
mod transfer;
mod subscription;
mod tail;
mod time_travel;
mod types;
mod verify;

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::watch;

pub use self::append::{APPEND_BYTES_MAX, Append, Appended, CommandContext, EVENT_BYTES_MAX, Expected, StreamWrite};
pub use self::archive::{
    ArchiveConfig, ArchiveError, ArchiveFinding, ArchiveRun, ArchiveState, ArchiveStep, ArchivedPartition, Candidate,
    Reader, Verdict, set_partition_len,
};
pub use self::chain::{Content, Hash, NOTHING, Tip, batch_digest, batch_seal, event_hash};
pub use self::connect::StoreConfig;
pub use self::cursor::{CursorError, Identity};
pub use self::error::{AppendError, ExecuteError, StoreError};
pub use self::execute::{Executed, execute, execute_kept, execute_new, execute_on};
pub use self::import::{ImportError, Imported};
pub use self::inspect::{Direction, Moment, Scanned, Selection, StoredPage, StreamFilter, StreamHead};
pub use self::log::{EventLog, Remembered};
pub use self::memory::MemoryLog;
pub use self::migrate::{MigrationState, migrate, migrate_to, migration_state};
pub use self::page::{LogPage, Subscribed, Unreadable};
pub use self::passed_by::PassedBy;
pub use self::privacy::{KEY_FRESH, KeySource, KeyUse, KnownSubject, PrivacyError, ShreddedSubject, SubjectEntry};
pub use pcs_sealing::Signer;

pub use self::read::Loaded;
pub use self::recorded::{Record, Recorded};
pub use self::stored::{StoredEvent, stream_name};
pub use self::stream_state::StreamState;
pub use self::subscription::{
    Delivery, Exhausted, Handler, LaneStatus, Parked, Policy, Refusal, Retried, Signal, StartFrom, Subscription,
    SubscriptionError, SubscriptionStatus, subscription_statuses,
};
pub use self::tail::{Filter, Follower, InvalidLane, LANES_MAX, Lane, POLL_INTERVAL, Page};
pub use self::transfer::Export;
pub use self::types::registered_types;
pub use self::verify::{Check, Finding, Verification};

/// A handle on the event store; clones share one pool, one appender and one wake-up.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    types: types::TypeRegistry,
    schemas: schemas::Schemas,
    appender: appender::Appender,
    passed_by: passed_by::Counts,
    snapshots: snapshot::Snapshots,
    markings: privacy::Markings,
    keys: privacy::Keys,
    archive: archive::Archive,
    /// The newest position that this process has appended: wakes readers of the same process at once.
    newest: watch::Sender<i64>,
    tail: tail::Tail,
}

impl Store {
    /// The pool of connections, for readers of other schemas of the same database.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
