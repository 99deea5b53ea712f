//! Snapshots: states of long streams beside the log, read where they fit and forgotten where they don't.
//!
//! Nothing depends on them. A snapshot is made of a state that was just loaded, so of committed events only, on a task
//! that nobody waits for; one that can't be written or read costs the time that it would have saved. Its key holds the
//! hash of the state's shape and fold, and no snapshot is ever brought from one shape to another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcs_domain::ids::TenantId;
use pcs_domain::snapshot::STATE_HASH_LEN;
use pcs_domain::{Aggregate, SnapshotFormat};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::Store;
use crate::chain::Tip;
use crate::error::StoreError;
use crate::read::Loaded;

/// The longest stream that is read without asking for a snapshot, and has none: reading 500 events takes no longer than
/// asking and reading what is kept (docs/decisions/0021).
pub(crate) const SHORT_STREAM_EVENTS_MAX: i64 = 499;
/// Fewest events between two snapshots of a stream.
const INTERVAL_EVENTS_MIN: i64 = 100;
/// A long stream has its next snapshot after a tenth of its length: what is written stays in proportion.
const INTERVAL_DIVISOR: i64 = 10;
/// Largest state that is kept, in bytes.
const STATE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most snapshots that one process writes at once; a stream that finds no place is offered again by its next load.
const WRITES_MAX: usize = 2;
/// Longest time for writing one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A snapshot on its way to the table.
struct Snapshot {
    tenant: TenantId,
    stream_id: Uuid,
    state_type: &'static str,
    state_hash: [u8; STATE_HASH_LEN],
    version: i64,
    state: String,
}

/// The writer of a store's snapshots. Dropped with the store, it stops what it is writing: a snapshot is one statement.
pub(crate) struct Snapshots {
    pool: PgPool,
    hashes: Mutex<HashMap<&'static str, [u8; STATE_HASH_LEN]>>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_at_drop: DropGuard,
}

impl Snapshots {
    pub(crate) fn new(pool: PgPool) -> Self {
        let stop = CancellationToken::new();
        let stop_at_drop = stop.clone().drop_guard();
        let places = Arc::new(Semaphore::new(WRITES_MAX));
        let hashes = Mutex::default();
        Self { pool, hashes, places, tasks: TaskTracker::new(), stop, _stop_at_drop: stop_at_drop }
    }

    /// Made once for each format: a state's JSON Schema takes longer than the look-up of a snapshot.
    fn hash_of<A>(&self, format: &SnapshotFormat<A>) -> [u8; STATE_HASH_LEN] {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        *hashes.entry(format.name).or_insert_with(|| format.state_hash())
    }

    /// Writes a snapshot some time soon, or not at all.
    fn offer(&self, snapshot: Snapshot) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (pool, stop) = (self.pool.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let _place = place;
            let written = tokio::time::timeout(WRITE_TIMEOUT, snapshot.write(&pool));
            let failure = match stop.run_until_cancelled(written).await {
                None | Some(Ok(Ok(()))) => return,
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(_)) => "the database took too long".to_owned(),
            };
            let Snapshot { stream_id, version, .. } = snapshot;
            tracing::warn!(%stream_id, version, error = failure, "a snapshot could not be written; loads stay slow");
        });
    }
}

impl Snapshot {
    async fn write(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        // Rows of other hashes belong to other builds, which may still run: what nobody has written for a day goes.
        sqlx::query(
            "with gone as (
                 delete from es.snapshot where tenant_id = $1 and stream_id = $2 and state_type = $3
                     and state_hash <> $4 and written_at < clock_timestamp() - interval '1 day'
             )
             insert into es.snapshot as kept (tenant_id, stream_id, state_type, state_hash, version, state)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (stream_id, tenant_id, state_type, state_hash) do update
                 set version = excluded.version, state = excluded.state, written_at = excluded.written_at
                 where excluded.version > kept.version",
        )
        .bind(self.tenant.0)
        .bind(self.stream_id)
        .bind(self.state_type)
        .bind(self.state_hash.as_slice())
        .bind(self.version)
        .bind(&self.state)
        .execute(pool)
        .await?;
        Ok(())
    }
}

/// A snapshot's version and state, and the number and hash of its stream where the event of that version is there.
type KeptRow = (i64, String, i64, Option<Vec<u8>>);

impl Store {
    /// The snapshot of a stream; none where there is none of this build's state, where it is newer than `up_to` or can't
    /// be read, and where the stream is hidden.
    pub(crate) async fn snapshot<A>(
        &self,
        format: &SnapshotFormat<A>,
        (tenant, stream_id): (TenantId, Uuid),
        up_to: i64,
    ) -> Result<Option<Loaded<A>>, StoreError> {
        let kept: Option<KeptRow> = sqlx::query_as(
            // The event may be archived; where it is the newest, the stream's head has its hash as well.
            "select k.version, k.state, s.stream_no,
                    coalesce(e.hash, case s.version when k.version then s.head_hash end)
             from es.snapshot k
             join es.stream s on s.stream_id = k.stream_id and s.tenant_id = k.tenant_id
             left join es.event e
                 on e.stream_no = s.stream_no and e.position >= s.stream_no and e.version = k.version
             where k.stream_id = $1 and k.tenant_id = $2 and k.state_type = $3 and k.state_hash = $4
               and k.version <= $5 and s.state in (0, 2)",
        )
        .bind(stream_id)
        .bind(tenant.0)
        .bind(format.name)
        .bind(self.inner.snapshots.hash_of(format).as_slice())
        .bind(up_to)
        .fetch_optional(self.pool())
        .await?;
        let Some((version, text, stream_no, hash)) = kept else { return Ok(None) };
        let hash = hash.and_then(|hash| hash.try_into().ok());
        let tip = hash.map(|hash| Tip { stream_no, version, hash });
        match format.decode(&text) {
            Ok(state) => Ok(Some(Loaded { state, revision: version, tip })),
            Err(error) => {
                tracing::warn!(%stream_id, version, %error, "a snapshot can't be read; the stream is folded instead");
                Ok(None)
            }
        }
    }

    /// Keeps a state that was just loaded, where so many events were folded since the last snapshot that it pays.
    pub(crate) fn offer_snapshot<A: Aggregate>(
        &self,
        (tenant, stream_id): (TenantId, Uuid),
        loaded: &Loaded<A>,
        snapshot_version: i64,
    ) {
        let Some(format) = A::SNAPSHOT else { return };
        if !is_due(loaded.revision, snapshot_version) {
            return;
        }
        let state = match format.encode(&loaded.state) {
            Ok(state) if state.len() <= STATE_BYTES_MAX => state,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%stream_id, %error, "a state could not be encoded; it has no snapshot");
                return;
            }
        };
        let state_hash = self.inner.snapshots.hash_of(&format);
        let (state_type, version) = (format.name, loaded.revision);
        self.inner.snapshots.offer(Snapshot { tenant, stream_id, state_type, state_hash, version, state });
    }

    /// Waits until the snapshots that this process has begun to write are written: for measurements and tests.
    pub async fn snapshots_written(&self) {
        let tasks = &self.inner.snapshots.tasks;
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }

    /// Deletes the snapshots of a stream, or of all streams of a tenant; answers how many there were.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn delete_snapshots(&self, tenant: TenantId, stream_id: Option<Uuid>) -> Result<u64, StoreError> {
        let deleted =
            sqlx::query("delete from es.snapshot where tenant_id = $1 and ($2::uuid is null or stream_id = $2)")
                .bind(tenant.0)
                .bind(stream_id)
                .execute(self.pool())
                .await?;
        Ok(deleted.rows_affected())
    }
}

/// Whether a stream of this version, whose snapshot is of that version (0: none), shall have a new one.
fn is_due(version: i64, snapshot_version: i64) -> bool {
    let interval = INTERVAL_EVENTS_MIN.max(version / INTERVAL_DIVISOR);
    version > SHORT_STREAM_EVENTS_MAX && version - snapshot_version >= interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_streams_have_none_and_long_ones_one_each_tenth() {
        assert!(!is_due(499, 0));
        assert!(is_due(500, 0));
        assert!(!is_due(599, 500) && is_due(600, 500));
        assert!(!is_due(10_999, 10_000) && is_due(11_112, 10_000));
    }
}
