//! One page of the log into a projection's tables: rows and checkpoint in one transaction, or neither.

use pcs_store::{Follower, LogPage, Store, StoreError};
use sqlx::{Connection, PgConnection};

use crate::checkpoint::{self, Checkpoint, Move};
use crate::generation::Generation;
use crate::isolate::{self, Condemned, Written};
use crate::lease::Lease;
use crate::status::Status;
use crate::{Projection, ProjectionError};

/// How rows come into the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Write {
    /// By the statements that may meet rows which are there.
    Apply,
    /// In bulk, into tables without the keys that [`Projection::late_keys`] names.
    Load,
}

/// A projection, which of its generations is written, and how.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) projection: &'a dyn Projection,
    pub(crate) generation: Generation,
    pub(crate) write: Write,
}

/// What a writer believes about the checkpoint before it has locked it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) position: i64,
    pub(crate) epoch: i64,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was written and the checkpoint has moved.
    Moved,
    /// There is nothing new.
    AtRest,
    /// Somebody else has written it: the checkpoint is ahead of where it was expected.
    Overtaken,
    /// Somebody has sent the checkpoint back.
    Rewound,
    /// Another process has become the owner since.
    Fenced,
    /// The projection is paused or stopped.
    Standing(Status),
}

/// What a step did, and where the projection is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stepped {
    /// What became of the page.
    pub outcome: Outcome,
    /// How many events it applied.
    pub events: usize,
    /// Where the checkpoint is.
    pub position: i64,
    /// Whether the page was as long as it may be: then there is probably more.
    pub full: bool,
}

impl Stepped {
    pub(crate) fn refused(outcome: Outcome, position: i64) -> Self {
        Self { outcome, events: 0, position, full: false }
    }
}

/// Applies the next page of at most `batch_len_max` positions, whoever the owner is. Answers how many events there were;
/// 0 where there is nothing new, where it stands still, or where another projector was faster.
///
/// # Errors
/// Where the log can't be read or the rows can't be written; nothing has changed then.
pub async fn step(store: &Store, projection: &dyn Projection, batch_len_max: i64) -> Result<usize, ProjectionError> {
    loop {
        let stepped = advance(store, projection, None, None, batch_len_max).await?;
        // Pages of events that it is not subscribed to are no work.
        if stepped.outcome != Outcome::Moved || stepped.events > 0 {
            return Ok(stepped.events);
        }
    }
}

/// Applies the next page as the holder of a lease: one that was taken over meanwhile writes nothing.
///
/// # Errors
/// As [`step`].
pub async fn step_as(
    store: &Store,
    projection: &dyn Projection,
    lease: &Lease,
    batch_len_max: i64,
) -> Result<Stepped, ProjectionError> {
    advance(store, projection, Some(lease), None, batch_len_max).await
}

/// Like [`step_as`], with what the process's reader of the log has already read.
pub(crate) async fn follow(
    store: &Store,
    follower: &Follower,
    projection: &dyn Projection,
    lease: &Lease,
    batch_len_max: i64,
) -> Result<Stepped, ProjectionError> {
    advance(store, projection, Some(lease), Some(follower), batch_len_max).await
}

async fn advance(
    store: &Store,
    projection: &dyn Projection,
    lease: Option<&Lease>,
    follower: Option<&Follower>,
    batch_len_max: i64,
) -> Result<Stepped, ProjectionError> {
    let target = Target { projection, generation: Generation::Live, write: Write::Apply };
    let name = projection.name();
    let mut read = checkpoint::read(store.pool(), name, target.generation).await?;
    if read.is_none() {
        checkpoint::ensure(store.pool(), name, target.generation).await?;
        read = checkpoint::read(store.pool(), name, target.generation).await?;
    }
    let Some(checkpoint) = read else { return Ok(Stepped::refused(Outcome::Rewound, 0)) };
    let position = checkpoint.position;
    let epoch = lease.map_or(checkpoint.epoch, |lease| lease.epoch);
    if epoch != checkpoint.epoch {
        return Ok(Stepped::refused(Outcome::Fenced, position));
    }
    if !checkpoint.status.goes_on() {
        return Ok(Stepped::refused(Outcome::Standing(checkpoint.status), position));
    }
    // Read before the transaction starts: a projector never waits for a second connection while it holds one.
    let page = match follower {
        Some(follower) => followed(store, follower, projection, position, batch_len_max).await?,
        None => store.read_page(position, batch_len_max, &projection.subscribed()).await?,
    };
    write_page(store, target, Expected { position, epoch }, &page, None).await
}

/// A page of the process's reader. It ends in front of an event that can't be read; then the log itself is asked, which
/// says what it is.
async fn followed(
    store: &Store,
    follower: &Follower,
    projection: &dyn Projection,
    position: i64,
    batch_len_max: i64,
) -> Result<LogPage, ProjectionError> {
    match follower.read(position, usize::try_from(batch_len_max).unwrap_or(usize::MAX)).await {
        Ok(page) => {
            let full = !page.caught_up;
            Ok(LogPage { events: page.events, unreadable: Vec::new(), up_to: page.position, full })
        }
        Err(StoreError::Decode { .. } | StoreError::Unknown { .. }) => {
            Ok(store.read_page(position, batch_len_max, &projection.subscribed()).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a page that was read, over a connection of the pool.
pub(crate) async fn write_page(
    store: &Store,
    target: Target<'_>,
    expected: Expected,
    page: &LogPage,
    condemned: Option<&Condemned>,
) -> Result<Stepped, ProjectionError> {
    if page.up_to <= expected.position {
        return Ok(Stepped::refused(Outcome::AtRest, expected.position));
    }
    write_page_over(&mut *store.pool().acquire().await?, target, expected, page, condemned).await
}

/// Writes a page that was read: once in one go, and where an event refuses, once more in parts.
pub(crate) async fn write_page_over(
    connection: &mut PgConnection,
    target: Target<'_>,
    expected: Expected,
    page: &LogPage,
    condemned: Option<&Condemned>,
) -> Result<Stepped, ProjectionError> {
    if page.up_to <= expected.position {
        return Ok(Stepped::refused(Outcome::AtRest, expected.position));
    }
    for in_parts in [false, true] {
        let mut transaction = connection.begin().await?;
        match write_locked(&mut transaction, target, expected, page, condemned, in_parts).await {
            Ok(stepped) if stepped.outcome == Outcome::Moved => {
                transaction.commit().await?;
                return Ok(stepped);
            }
            Err(error) if !in_parts && error.is_of_the_events() => transaction.rollback().await?,
            Ok(refused) => {
                transaction.rollback().await?;
                return Ok(refused);
            }
            // The connection may be gone; if it is not, it rolls back before its next use.
            Err(error) => return Err(error),
        }
    }
    Ok(Stepped::refused(Outcome::AtRest, expected.position))
}

/// Locks, compares, writes and moves within the caller's transaction.
pub(crate) async fn write_locked(
    connection: &mut PgConnection,
    target: Target<'_>,
    expected: Expected,
    page: &LogPage,
    condemned: Option<&Condemned>,
    in_parts: bool,
) -> Result<Stepped, ProjectionError> {
    let (name, generation) = (target.projection.name(), target.generation);
    let Some(actual) = checkpoint::lock(connection, name, generation).await? else {
        return Ok(Stepped::refused(Outcome::Rewound, 0));
    };
    if let Some(outcome) = refusal(expected, &actual) {
        return Ok(Stepped::refused(outcome, actual.position));
    }
    let policy = actual.policy.unwrap_or_else(|| target.projection.policy());
    let written = if in_parts || actual.has_parked || condemned.is_some() || !page.unreadable.is_empty() {
        isolate::write(connection, target, policy, page, condemned).await?
    } else {
        write_rows(connection, target, &page.events).await?;
        Written { up_to: page.up_to, events: page.events.len(), failures: 0, failure: None }
    };
    let seen = page.events.len() + page.unreadable.len();
    let positions = usize::try_from(page.up_to - expected.position).unwrap_or(usize::MAX);
    let by = Move {
        from: expected.position,
        to: written.up_to,
        last_recorded_at: page.events.iter().rev().find(|e| e.position <= written.up_to).map(|e| e.recorded_at),
        // Of a page that stopped half way, the rest is read and counted again.
        passed_over: if written.failure.is_some() { 0 } else { crate::storable::count(positions.saturating_sub(seen)) },
        failures: written.failures,
        failure: written.failure.as_ref(),
    };
    if !checkpoint::advance(connection, (name, generation), &by).await? {
        // Only somebody who writes the table without the lock can cause it; the caller undoes the rows.
        return Ok(Stepped::refused(Outcome::Overtaken, actual.position));
    }
    Ok(Stepped { outcome: Outcome::Moved, events: written.events, position: written.up_to, full: page.full })
}

/// Why a page may not be written to a locked checkpoint.
fn refusal(expected: Expected, actual: &Checkpoint) -> Option<Outcome> {
    if actual.epoch != expected.epoch {
        return Some(Outcome::Fenced);
    }
    if !actual.status.goes_on() {
        return Some(Outcome::Standing(actual.status));
    }
    match actual.position.cmp(&expected.position) {
        std::cmp::Ordering::Greater => Some(Outcome::Overtaken),
        std::cmp::Ordering::Less => Some(Outcome::Rewound),
        std::cmp::Ordering::Equal => None,
    }
}

pub(crate) async fn write_rows(
    connection: &mut PgConnection,
    target: Target<'_>,
    events: &[pcs_store::Recorded],
) -> Result<(), ProjectionError> {
    if events.is_empty() {
        return Ok(());
    }
    match target.write {
        Write::Apply => target.projection.apply(connection, events).await,
        Write::Load => target.projection.load(connection, events).await,
    }
}
