//! How far each projection has read: one row each, moved in the transaction that writes the rows.

use std::time::Duration;

use pcs_domain::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool, Row};
use tokio::time::Instant;

use crate::generation::Generation;
use crate::lease::LEASE;
use crate::policy::Policy;
use crate::status::{Failure, Status};
use crate::{Projection, ProjectionError};

/// Pauses between two looks at a checkpoint that somebody waits for: short at first, because most are just behind.
const WAIT_PAUSE_MIN: Duration = Duration::from_millis(2);
const WAIT_PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long a writer may think between two statements of a page, in milliseconds. One that is frozen holds the row, and
/// its successor waits: the server ends it then.
const IDLE_IN_PAGE_MAX_MS: u32 = 10_000;

/// The row of a generation, as its writer has to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpoint {
    /// The last position that was seen.
    pub(crate) position: i64,
    /// The epoch of its owner.
    pub(crate) epoch: i64,
    pub(crate) status: Status,
    /// The policy that somebody has set.
    pub(crate) policy: Option<Policy>,
    /// Whether events are parked or queued.
    pub(crate) has_parked: bool,
}

impl FromRow<'_, PgRow> for Checkpoint {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let policy: Option<String> = row.try_get("policy")?;
        Ok(Self {
            position: row.try_get("position")?,
            epoch: row.try_get("epoch")?,
            status: Status::of(row)?,
            policy: policy.as_deref().and_then(Policy::parse),
            has_parked: row.try_get("has_parked")?,
        })
    }
}

/// How the checkpoint moves.
pub(crate) struct Move<'a> {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) last_recorded_at: Option<Timestamp>,
    pub(crate) passed_over: i64,
    pub(crate) failures: i64,
    /// Why it stops here.
    pub(crate) failure: Option<&'a Failure>,
}

/// Makes the row of a generation where it is missing.
pub(crate) async fn ensure(pool: &PgPool, name: &str, generation: Generation) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into read.projection (name, generation, status)
         values ($1, $2, case when $2 = 'next' then 'building' else 'running' end) on conflict do nothing",
    )
    .bind(name)
    .bind(generation.name())
    .execute(pool)
    .await?;
    Ok(())
}

/// Reads a checkpoint without locking it; none where the generation is not there.
pub(crate) async fn read(pool: &PgPool, name: &str, generation: Generation) -> Result<Option<Checkpoint>, sqlx::Error> {
    sqlx::query_as(
        "select position, epoch, status, policy, false as has_parked
         from read.projection where name = $1 and generation = $2",
    )
    .bind(name)
    .bind(generation.name())
    .fetch_optional(pool)
    .await
}

/// Takes the checkpoint's row, and points the transaction at the generation's tables; none where it is not there.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    name: &str,
    generation: Generation,
) -> Result<Option<Checkpoint>, sqlx::Error> {
    // The commit need not wait for the disk: rows and checkpoint are lost together, and are folded again.
    sqlx::query_as(
        "select position, epoch, status, policy,
                exists (select from read.bad_event b
                        where b.name = p.name and b.generation = p.generation and b.state <> 'skipped') as has_parked,
                set_config('synchronous_commit', 'off', true), set_config('search_path', $3, true),
                set_config('idle_in_transaction_session_timeout', $4, true)
         from read.projection p where name = $1 and generation = $2 for update of p",
    )
    .bind(name)
    .bind(generation.name())
    .bind(generation.schema())
    .bind(IDLE_IN_PAGE_MAX_MS.to_string())
    .fetch_optional(connection)
    .await
}

/// Moves a locked checkpoint; answers whether it stood where it was expected.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    (name, generation): (&str, Generation),
    by: &Move<'_>,
) -> Result<bool, sqlx::Error> {
    let failure = by.failure;
    let moved = sqlx::query(include_str!("../queries/checkpoint_move.sql"))
        .bind(name)
        .bind(generation.name())
        .bind(by.from)
        .bind(by.to)
        .bind(by.last_recorded_at.map(Timestamp::get))
        .bind(by.passed_over)
        .bind(by.failures)
        .bind(LEASE.as_secs_f64())
        .bind(failure.map(|failure| failure.position))
        .bind(failure.map(|failure| failure.stream_id))
        .bind(failure.map(|failure| failure.version))
        .bind(failure.map(|failure| failure.event_type.as_str()))
        .bind(failure.map(|failure| failure.error.as_str()))
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// The position of the last event that a projection has applied to what people read; 0 where it has not begun.
///
/// # Errors
/// Where the database does not answer.
pub async fn position(pool: &PgPool, projection_name: &str) -> Result<i64, ProjectionError> {
    Ok(read(pool, projection_name, Generation::Live).await?.map_or(0, |checkpoint| checkpoint.position))
}

/// Empties a projection's living tables and sends it back to the start of the log; a running projector fills them
/// again, and until then readers see less. Building the next generation and promoting it has no such gap.
///
/// # Errors
/// Where the database does not answer; nothing has changed then.
pub async fn reset(pool: &PgPool, projection: &dyn Projection) -> Result<(), ProjectionError> {
    ensure(pool, projection.name(), Generation::Live).await?;
    let mut transaction = pool.begin().await?;
    // The same order as a step, lock first: neither can wait for the other in a circle.
    lock(&mut transaction, projection.name(), Generation::Live).await?;
    // The names are constants of this crate.
    let truncate = format!("truncate {}", projection.tables().join(", "));
    sqlx::query(AssertSqlSafe(truncate)).execute(&mut *transaction).await?;
    sqlx::query("delete from read.bad_event where name = $1 and generation = 'live'")
        .bind(projection.name())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "update read.projection set position = 0, updated_at = null, passed_over = 0, failures = 0
         where name = $1 and generation = 'live'",
    )
    .bind(projection.name())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Waits until a projection has applied `position`, for at most `timeout`; answers whether it has.
///
/// # Errors
/// Where the database does not answer.
pub async fn wait_for_position(
    pool: &PgPool,
    projection_name: &str,
    position: i64,
    timeout: Duration,
) -> Result<bool, ProjectionError> {
    let deadline = Instant::now() + timeout;
    let mut pause = WAIT_PAUSE_MIN;
    loop {
        if self::position(pool, projection_name).await? >= position {
            return Ok(true);
        }
        if Instant::now() + pause > deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(WAIT_PAUSE_MAX);
    }
}
