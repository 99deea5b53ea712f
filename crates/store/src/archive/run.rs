//! Moves closed partitions out of the database: export, read back, detach, and after a grace drop.
//!
//! Every step is recorded before the next one begins, and each can be done again: a run that is killed anywhere is gone
//! on with by the next one. A table is only ever dropped after its archive was read back byte by byte.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::catalogue::{self, ArchiveState, ArchivedPartition, Attachment};
use super::error::ArchiveError;
use super::export::Export;
use super::location::Location;
use super::plan::{Reader, Verdict};
use super::verify::{self, verify};
use crate::Store;
use crate::error::StoreError;

/// Bytes of an object, packed, at which it is closed.
const OBJECT_BYTES: usize = 64 * 1024 * 1024;
/// Longest wait of a detach for transactions that still use the log; a later run goes on.
const DETACH_TIMEOUT: Duration = Duration::from_secs(600);

/// How an archive run works.
#[derive(Clone, Debug)]
pub struct ArchiveRun {
    /// How many of the newest closed partitions stay in the database.
    pub keep: u32,
    /// How long the table of a detached partition is kept.
    pub grace: Duration,
    /// Whether partitions that were restored are detached again.
    pub restored_too: bool,
    /// Who follows the log, and how far: what they have not read stays.
    pub readers: Vec<Reader>,
    /// Bytes of an object, packed, at which it is closed.
    pub object_bytes: usize,
}

impl Default for ArchiveRun {
    fn default() -> Self {
        let grace = Duration::from_secs(24 * 60 * 60);
        Self { keep: 1, grace, restored_too: false, readers: Vec::new(), object_bytes: OBJECT_BYTES }
    }
}

/// What a run or a restore has just done with a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ArchiveStep {
    /// A segment is in the archive.
    Written {
        /// The partition.
        number: i64,
        /// The last position that is written.
        position: i64,
    },
    /// Everything was read back and is right.
    Verified {
        /// The partition.
        number: i64,
    },
    /// The partition is no part of the log any more.
    Detached {
        /// The partition.
        number: i64,
    },
    /// The table is gone.
    Dropped {
        /// The partition.
        number: i64,
    },
    /// Events were put back into a table.
    Loaded {
        /// The partition.
        number: i64,
        /// The last position that is back.
        position: i64,
    },
    /// The partition is part of the log again.
    Attached {
        /// The partition.
        number: i64,
    },
}

impl Store {
    /// Whether this process knows where the archive is.
    #[must_use]
    pub fn has_archive(&self) -> bool {
        self.inner.archive.location().is_some()
    }

    /// Archives what can be archived, the oldest first, and goes on with what was begun; tells each step when it is done.
    ///
    /// # Errors
    /// Where the database or the archive does not answer, or what was read back is wrong: what is not finished is gone on
    /// with by the next run. [`ArchiveError::Busy`] where another run is at work.
    pub async fn archive_run(
        &self,
        run: &ArchiveRun,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<(), StoreError> {
        let location = self.inner.archive.location().ok_or(ArchiveError::NoAddress)?.clone();
        let mut connection = self.archive_lock().await?;
        let wanted = |verdict: &Verdict| match verdict {
            Verdict::Ready | Verdict::Begun => true,
            Verdict::Restored => run.restored_too,
            Verdict::Open | Verdict::Kept | Verdict::HeldBy(_) => false,
        };
        for candidate in self.archive_plan(run.keep, &run.readers).await? {
            if wanted(&candidate.verdict) {
                let (number, first, last) = (candidate.number, candidate.first_position, candidate.last_position);
                catalogue::begin(self.pool(), number, first, last).await?;
                self.archive_one(&mut connection, (&location, run), number, told).await?;
            }
        }
        for partition in catalogue::partitions(self.pool()).await? {
            // Detached, and interrupted before that was written down; or detached only half.
            if partition.state == ArchiveState::Verified
                && catalogue::attachment(self.pool(), partition.number).await? != Attachment::Attached
            {
                self.detach(&mut connection, &partition, told).await?;
            }
        }
        self.drop_old(&mut connection, &location, run.grace, told).await
    }

    async fn archive_one(
        &self,
        connection: &mut PgConnection,
        (location, run): (&Location, &ArchiveRun),
        number: i64,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<(), StoreError> {
        let mut partition = catalogue::partition(self.pool(), number).await?;
        if partition.state == ArchiveState::Exporting {
            let export = Export { pool: self.pool(), location, partition: &partition, object_bytes: run.object_bytes };
            while let Some(segment) = export.next_segment().await? {
                told(ArchiveStep::Written { number, position: segment.last_position });
            }
            let streams = export.index().await?;
            partition = export.manifest(streams).await?;
        }
        if let Some(first) = verify(self, location, &partition).await?.into_iter().next() {
            catalogue::forget(self.pool(), number).await?;
            return Err(ArchiveError::NotVerified { number, first: Box::new(first) }.into());
        }
        match partition.state {
            ArchiveState::Exporting => catalogue::set_verified(self.pool(), &partition).await?,
            // Before it is detached: from then on a run that was interrupted is gone on with.
            ArchiveState::Restored => catalogue::set_state(connection, number, ArchiveState::Verified).await?,
            ArchiveState::Verified | ArchiveState::Detached | ArchiveState::Dropped => (),
        }
        told(ArchiveStep::Verified { number });
        self.detach(connection, &partition, told).await
    }

    async fn detach(
        &self,
        connection: &mut PgConnection,
        partition: &ArchivedPartition,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<(), StoreError> {
        let number = partition.number;
        let timeout = format!("set statement_timeout = {}", DETACH_TIMEOUT.as_millis());
        catalogue::run_on_table(connection, timeout).await?;
        let table = catalogue::table(number);
        let detach = match catalogue::attachment(self.pool(), number).await? {
            // Concurrently: appends and reads go on. Readers that miss the partition find it in the archive.
            Attachment::Attached => Some(format!("alter table es.event detach partition {table} concurrently")),
            Attachment::DetachPending => Some(format!("alter table es.event detach partition {table} finalize")),
            Attachment::Detached | Attachment::Absent => None,
        };
        if let Some(detach) = detach {
            catalogue::run_on_table(connection, detach).await?;
        }
        catalogue::run_on_table(connection, "reset statement_timeout".to_owned()).await?;
        catalogue::set_state(connection, number, ArchiveState::Detached).await?;
        told(ArchiveStep::Detached { number });
        Ok(())
    }

    async fn drop_old(
        &self,
        connection: &mut PgConnection,
        location: &Location,
        grace: Duration,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<(), StoreError> {
        let now: OffsetDateTime = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *connection).await?;
        let is_old = |at: OffsetDateTime| (now - at) >= grace;
        for partition in catalogue::partitions(self.pool()).await? {
            let number = partition.number;
            if partition.state != ArchiveState::Detached || !partition.detached_at.is_some_and(is_old) {
                continue;
            }
            // A last look before the only other copy goes: the manifest is the right one, and every object has its size.
            verify::look(location, &partition).await?;
            let mut transaction = connection.begin().await?;
            if catalogue::attachment(self.pool(), number).await? == Attachment::Detached {
                catalogue::run_on_table(&mut transaction, format!("drop table {}", catalogue::table(number))).await?;
            }
            catalogue::set_state(&mut transaction, number, ArchiveState::Dropped).await?;
            transaction.commit().await?;
            told(ArchiveStep::Dropped { number });
        }
        Ok(())
    }

    /// A connection of its own that holds the lock until it is closed. What moves partitions goes over it, so that a
    /// statement that outlives a killed run keeps the next one out.
    pub(crate) async fn archive_lock(&self) -> Result<PgConnection, StoreError> {
        let mut connection = PgConnection::connect_with(&self.pool().connect_options()).await?;
        catalogue::lock(&mut connection).await?;
        Ok(connection)
    }
}
