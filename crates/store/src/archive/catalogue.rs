//! What the database knows of the archive: which partitions are in it, and how far each is.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use time::OffsetDateTime;

use super::error::ArchiveError;
use super::format::Segment;
use crate::error::StoreError;

/// How far a partition's way into the archive is; the numbers are those of `es.archive.state`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ArchiveState {
    /// Its events are being written.
    Exporting,
    /// Everything was read back and is right; the partition is still attached.
    Verified,
    /// The partition is detached, its table is still there.
    Detached,
    /// The table is gone: the archive has the only copy.
    Dropped,
    /// It was attached again from the archive.
    Restored,
}

impl ArchiveState {
    const ALL: [Self; 5] = [Self::Exporting, Self::Verified, Self::Detached, Self::Dropped, Self::Restored];

    /// The number in the database.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Exporting => 0,
            Self::Verified => 1,
            Self::Detached => 2,
            Self::Dropped => 3,
            Self::Restored => 4,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exporting => "exporting",
            Self::Verified => "verified",
            Self::Detached => "detached",
            Self::Dropped => "dropped",
            Self::Restored => "restored",
        }
    }

    /// Whether a reader finds the events only in the archive.
    #[must_use]
    pub fn is_only_archived(self) -> bool {
        matches!(self, Self::Detached | Self::Dropped)
    }

    fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

/// A partition that is in the archive or on its way there.
#[derive(Clone, Debug)]
pub struct ArchivedPartition {
    /// Its number.
    pub number: i64,
    /// The first position that it can hold.
    pub first_position: i64,
    /// The last position that it can hold.
    pub last_position: i64,
    /// Its folder below the archive's address.
    pub folder: String,
    /// How far it is.
    pub state: ArchiveState,
    /// How many events it has; 0 until it is verified.
    pub events: i64,
    /// The size of its objects in bytes; 0 until it is verified.
    pub bytes: i64,
    /// The digest of its manifest, in hex; empty until it is verified.
    pub manifest_sha256: String,
    /// The Merkle root over its events, in hex; empty until it is verified.
    pub merkle_root: String,
    /// When it was detached.
    pub detached_at: Option<OffsetDateTime>,
}

impl ArchivedPartition {
    /// The name of one of its objects below the archive's address.
    pub(crate) fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

#[derive(sqlx::FromRow)]
struct PartitionRow {
    number: i64,
    first_position: i64,
    last_position: i64,
    folder: String,
    state: i16,
    events: i64,
    bytes: i64,
    manifest_sha256: String,
    merkle_root: String,
    detached_at: Option<OffsetDateTime>,
}

impl TryFrom<PartitionRow> for ArchivedPartition {
    type Error = StoreError;

    fn try_from(row: PartitionRow) -> Result<Self, StoreError> {
        let unknown = StoreError::Unknown { position: row.first_position, what: "archive state", number: row.state };
        Ok(Self {
            number: row.number,
            first_position: row.first_position,
            last_position: row.last_position,
            folder: row.folder,
            state: ArchiveState::from_number(row.state).ok_or(unknown)?,
            events: row.events,
            bytes: row.bytes,
            manifest_sha256: row.manifest_sha256,
            merkle_root: row.merkle_root,
            detached_at: row.detached_at,
        })
    }
}

/// Everything that is in the archive or on its way there, in order.
pub(crate) async fn partitions(pool: &PgPool) -> Result<Vec<ArchivedPartition>, StoreError> {
    let rows: Vec<PartitionRow> = sqlx::query_as(
        "select number, first_position, last_position, folder, state, coalesce(events, 0) as events,
                coalesce(bytes, 0) as bytes, coalesce(manifest_sha256, '') as manifest_sha256,
                coalesce(merkle_root, '') as merkle_root, detached_at
         from es.archive order by number",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// One of them.
pub(crate) async fn partition(pool: &PgPool, number: i64) -> Result<ArchivedPartition, StoreError> {
    let found = partitions(pool).await?.into_iter().find(|partition| partition.number == number);
    let why = || "it is not in the archive".to_owned();
    found.ok_or_else(|| ArchiveError::NotRestorable { number, why: why() }.into())
}

/// Begins a partition's way into the archive, or finds it begun.
pub(crate) async fn begin(pool: &PgPool, number: i64, first: i64, last: i64) -> Result<(), StoreError> {
    sqlx::query(
        "insert into es.archive (number, first_position, last_position, folder)
         values ($1, $2, $3, 'partition-' || lpad($1::text, 10, '0') || '-' || gen_random_uuid())
         on conflict (number) do nothing",
    )
    .bind(number)
    .bind(first)
    .bind(last)
    .execute(pool)
    .await?;
    Ok(())
}

/// The segments that were written so far, in order.
pub(crate) async fn segments(pool: &PgPool, number: i64) -> Result<Vec<Segment>, StoreError> {
    let rows: Vec<String> =
        sqlx::query_scalar("select description from es.segment where number = $1 order by first_position")
            .bind(number)
            .fetch_all(pool)
            .await?;
    rows.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
}

/// Records a segment that is durable in the archive.
pub(crate) async fn add_segment(
    pool: &PgPool,
    partition: &ArchivedPartition,
    segment: &Segment,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into es.segment (first_position, last_position, number, uri, sha256, merkle_root, description)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(segment.first_position)
    .bind(segment.last_position)
    .bind(partition.number)
    .bind(partition.object(&segment.object))
    .bind(&segment.sha256)
    .bind(&segment.merkle_root)
    .bind(serde_json::to_string(segment)?)
    .execute(pool)
    .await?;
    Ok(())
}

/// Records that everything was read back and is right.
pub(crate) async fn set_verified(pool: &PgPool, partition: &ArchivedPartition) -> Result<(), StoreError> {
    sqlx::query(
        "update es.archive set state = $2, events = $3, bytes = $4, manifest_sha256 = $5, merkle_root = $6,
                verified_at = clock_timestamp()
         where number = $1 and state = $7",
    )
    .bind(partition.number)
    .bind(ArchiveState::Verified.number())
    .bind(partition.events)
    .bind(partition.bytes)
    .bind(&partition.manifest_sha256)
    .bind(&partition.merkle_root)
    .bind(ArchiveState::Exporting.number())
    .execute(pool)
    .await?;
    Ok(())
}

/// Moves a partition on.
pub(crate) async fn set_state(
    connection: &mut PgConnection,
    number: i64,
    state: ArchiveState,
) -> Result<(), StoreError> {
    sqlx::query(
        "update es.archive set state = $2,
                detached_at = case $2 when 2 then clock_timestamp() when 4 then null else detached_at end
         where number = $1",
    )
    .bind(number)
    .bind(state.number())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what an export that went wrong has written: the next run begins the partition anew, in another folder.
pub(crate) async fn forget(pool: &PgPool, number: i64) -> Result<(), StoreError> {
    sqlx::query("delete from es.archive where number = $1 and state = 0").bind(number).execute(pool).await?;
    Ok(())
}

/// How a partition's table stands to the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attachment {
    /// It is part of the log.
    Attached,
    /// A detaching of it was begun and interrupted.
    DetachPending,
    /// There is a table, and it is not part of the log.
    Detached,
    /// There is no table.
    Absent,
}

/// How a partition's table stands to the log.
pub(crate) async fn attachment(pool: &PgPool, number: i64) -> Result<Attachment, StoreError> {
    let (is_there, pending): (bool, Option<bool>) = sqlx::query_as(
        "select to_regclass($1) is not null,
                (select inhdetachpending from pg_inherits
                 where inhrelid = to_regclass($1) and inhparent = 'es.event'::regclass)",
    )
    .bind(table(number))
    .fetch_one(pool)
    .await?;
    Ok(match (is_there, pending) {
        (false, _) => Attachment::Absent,
        (true, None) => Attachment::Detached,
        (true, Some(false)) => Attachment::Attached,
        (true, Some(true)) => Attachment::DetachPending,
    })
}

/// The name of a partition's table.
pub(crate) fn table(number: i64) -> String {
    format!("es.event_p{number}")
}

/// Runs a statement that names a partition's table; only a number is put into it.
pub(crate) async fn run_on_table(connection: &mut PgConnection, statement: String) -> Result<(), StoreError> {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// How the log is cut, and the position of its newest event.
pub(crate) async fn partition_len_and_head(pool: &PgPool) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as("select s.partition_len, h.position from es.setting s, es.head h").fetch_one(pool).await?)
}

/// The numbers of the partitions that are part of the log, in order.
pub(crate) async fn attached(pool: &PgPool) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "select substring(c.relname from '^event_p([0-9]+)$')::bigint as number
         from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'es.event'::regclass and c.relname ~ '^event_p[0-9]+$' order by 1",
    )
    .fetch_all(pool)
    .await?)
}

/// The lock that one archive run or restore holds on a database, for as long as its connection lives.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('es.archive', 0))")
        .fetch_one(connection)
        .await?;
    if taken { Ok(()) } else { Err(ArchiveError::Busy.into()) }
}
