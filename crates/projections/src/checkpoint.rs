//! How far each projection has read: one row each, moved in the transaction that writes the rows.

use std::time::Duration;

use pcs_store::{Follower, Recorded, Store};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::time::Instant;

use crate::{Projection, ProjectionError};

/// Pauses between two looks at a checkpoint that somebody waits for: short at first, because most are just behind.
const WAIT_PAUSE_MIN: Duration = Duration::from_millis(2);
const WAIT_PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a step did.
pub(crate) struct Stepped {
    /// How many events it applied.
    pub(crate) events: usize,
    /// Where the projection is now.
    pub(crate) position: i64,
}

/// Applies the next page of at most `batch_len_max` events: its rows and the checkpoint in one transaction. Answers how
/// many events there were; 0 where there are none, or where another projector was faster.
///
/// # Errors
/// Where the log can't be read, an event can't be decoded or the rows can't be written; nothing has changed then.
pub async fn step(store: &Store, projection: &dyn Projection, batch_len_max: i64) -> Result<usize, ProjectionError> {
    let expected = position(store.pool(), projection.name()).await?;
    let batch = store.read_subscribed(expected, batch_len_max, projection.categories()).await?;
    Ok(apply(store, projection, expected, &batch).await?.events)
}

/// Like [`step`], with what the process's reader of the log has already read.
pub(crate) async fn advance(
    store: &Store,
    follower: &Follower,
    projection: &dyn Projection,
    batch_len_max: i64,
) -> Result<Stepped, ProjectionError> {
    // Read before the transaction starts: a projector never waits for a second connection while it holds one.
    let expected = position(store.pool(), projection.name()).await?;
    let page = follower.read(expected, usize::try_from(batch_len_max).unwrap_or(usize::MAX)).await?;
    apply(store, projection, expected, &page.events).await
}

async fn apply(
    store: &Store,
    projection: &dyn Projection,
    expected: i64,
    batch: &[Recorded],
) -> Result<Stepped, ProjectionError> {
    let Some(last) = batch.last() else {
        return Ok(Stepped { events: 0, position: expected });
    };
    let mut transaction = store.pool().begin().await?;
    let actual = lock(&mut transaction, projection.name()).await?;
    if actual != expected {
        transaction.rollback().await?;
        return Ok(Stepped { events: 0, position: actual });
    }
    projection.apply(&mut transaction, batch).await?;
    let moved =
        sqlx::query("update read.projection set position = $3, updated_at = $4 where name = $1 and position = $2")
            .bind(projection.name())
            .bind(expected)
            .bind(last.position)
            .bind(last.recorded_at.get())
            .execute(&mut *transaction)
            .await?;
    if moved.rows_affected() != 1 {
        // Only somebody who writes the table without the lock can cause it; dropping the transaction undoes the rows.
        return Ok(Stepped { events: 0, position: expected });
    }
    transaction.commit().await?;
    Ok(Stepped { events: batch.len(), position: last.position })
}

/// Takes the checkpoint's row, makes it where it is missing, and says where it stands.
async fn lock(connection: &mut PgConnection, name: &str) -> Result<i64, sqlx::Error> {
    // The commit need not wait for the disk: rows and checkpoint are lost together, and are folded again.
    let locked = sqlx::query_scalar(
        "select position from read.projection, set_config('synchronous_commit', 'off', true)
         where name = $1 for update of projection",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(position) = locked {
        return Ok(position);
    }
    // Updating the row that another projector has just made takes its lock as well.
    sqlx::query_scalar(
        "insert into read.projection as p (name) values ($1)
         on conflict (name) do update set position = p.position returning position",
    )
    .bind(name)
    .fetch_one(connection)
    .await
}

/// The position of the last event that a projection has applied; 0 where it has not begun.
///
/// # Errors
/// Where the database does not answer.
pub async fn position(pool: &PgPool, projection_name: &str) -> Result<i64, ProjectionError> {
    let position = sqlx::query_scalar("select position from read.projection where name = $1")
        .bind(projection_name)
        .fetch_optional(pool)
        .await?;
    Ok(position.unwrap_or(0))
}

/// Empties a projection's tables and sends it back to the start of the log; a running projector fills them again.
///
/// # Errors
/// Where the database does not answer; nothing has changed then.
pub async fn reset(pool: &PgPool, projection: &dyn Projection) -> Result<(), ProjectionError> {
    let mut transaction = pool.begin().await?;
    // The same order as a step, lock first: neither can wait for the other in a circle.
    lock(&mut transaction, projection.name()).await?;
    // The names are constants of this crate.
    let truncate = format!("truncate {}", projection.tables().join(", "));
    sqlx::query(AssertSqlSafe(truncate)).execute(&mut *transaction).await?;
    sqlx::query("update read.projection set position = 0, updated_at = null where name = $1")
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
