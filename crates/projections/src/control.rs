//! What a person may ask of a projection: to pause, to go on, to treat bad events in another way.

use pcs_store::Store;

use crate::generation::Generation;
use crate::policy::Policy;
use crate::{ControlError, Projection, checkpoint};

/// Makes a projection stand still after the page that is being written. It stays so until it is resumed, over restarts
/// as well; readers see what it has so far.
///
/// # Errors
/// Where there is no such generation, or the database does not answer.
pub async fn pause(store: &Store, projection: &dyn Projection, generation: Generation) -> Result<(), ControlError> {
    begun(store, projection, generation).await?;
    let changed = sqlx::query("update read.projection set status = 'paused' where name = $1 and generation = $2")
        .bind(projection.name())
        .bind(generation.name())
        .execute(store.pool())
        .await?;
    found(changed.rows_affected(), projection, generation)
}

/// Lets a projection go on that was paused, or that had stopped at an event: the event is tried again. A build that is
/// ready stays so: there is nothing to go on with, and it could not be promoted.
///
/// # Errors
/// Where there is no such generation, or the database does not answer.
pub async fn resume(store: &Store, projection: &dyn Projection, generation: Generation) -> Result<(), ControlError> {
    go_on(store, projection, generation, "ready").await
}

/// Lets a build go on, one that is ready as well: it catches up with what was appended since.
pub(crate) async fn resume_build(store: &Store, projection: &dyn Projection) -> Result<(), ControlError> {
    go_on(store, projection, Generation::Next, "building").await
}

/// `ready_becomes` is the status of a build that was ready.
async fn go_on(
    store: &Store,
    projection: &dyn Projection,
    generation: Generation,
    ready_becomes: &str,
) -> Result<(), ControlError> {
    begun(store, projection, generation).await?;
    let changed = sqlx::query(
        "update read.projection
         set status = case when generation <> 'next' then 'running' when status = 'ready' then $3 else 'building' end,
             starts = 0, suspect_position = null, suspect_starts = 0, failed_position = null, failed_stream = null,
             failed_version = null, failed_type = null, failed_error = null, failed_at = null
         where name = $1 and generation = $2",
    )
    .bind(projection.name())
    .bind(generation.name())
    .bind(ready_becomes)
    .execute(store.pool())
    .await?;
    found(changed.rows_affected(), projection, generation)
}

/// Says what is done with events that can't be applied from now on; none leaves it to the projection.
///
/// # Errors
/// Where there is no such generation, or the database does not answer.
pub async fn set_policy(
    store: &Store,
    projection: &dyn Projection,
    generation: Generation,
    policy: Option<Policy>,
) -> Result<(), ControlError> {
    begun(store, projection, generation).await?;
    let changed = sqlx::query("update read.projection set policy = $3 where name = $1 and generation = $2")
        .bind(projection.name())
        .bind(generation.name())
        .bind(policy.map(Policy::name))
        .execute(store.pool())
        .await?;
    found(changed.rows_affected(), projection, generation)
}

/// The living one is there from the start, whether a process has run it or not.
async fn begun(store: &Store, projection: &dyn Projection, generation: Generation) -> Result<(), sqlx::Error> {
    match generation {
        Generation::Live => checkpoint::ensure(store.pool(), projection.name(), generation).await,
        Generation::Next | Generation::Old => Ok(()),
    }
}

fn found(rows: u64, projection: &dyn Projection, generation: Generation) -> Result<(), ControlError> {
    if rows == 1 {
        return Ok(());
    }
    Err(ControlError::NoGeneration { name: projection.name().to_owned(), generation: generation.name() })
}
