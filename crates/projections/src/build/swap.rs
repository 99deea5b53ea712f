//! Generations change places: one transaction, and every reader sees the tables of before or those of after.

use pcs_store::Store;
use sqlx::PgConnection;

use super::{LOCK_WAIT, tables};
use crate::generation::Generation;
use crate::lease::Lease;
use crate::policy::Policy;
use crate::status::Status;
use crate::step::{self, Expected, Outcome, Target, Write};
use crate::{ControlError, Projection, checkpoint};

/// How often a swap is tried when readers hold the tables.
const ATTEMPTS_MAX: usize = 15;
/// Positions of a page while a generation catches up.
const PAGE_LEN: i64 = 2_000;
/// A schema for the moment in which three generations have two names.
const SWAP: &str = "swap";
const SWAP_SCHEMA: &str = "read_swap";
/// A lock was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Makes the generation that was built the living one; what was live is kept as the old one, and the old one before it
/// goes. It is brought to the living one's position first, so no reader ever sees less than before. Answers the position.
///
/// # Errors
/// Where there is no build that is ready, where it can't catch up, or where readers hold the tables for half a minute.
pub async fn promote(store: &Store, projection: &dyn Projection) -> Result<i64, ControlError> {
    let name = projection.name();
    let next = checkpoint::read(store.pool(), name, Generation::Next).await?;
    let next = next.ok_or_else(|| none(projection, Generation::Next))?;
    if next.status != Status::Ready {
        let need = "go on with `rebuild` until it is ready";
        return Err(ControlError::NotNow { name: name.to_owned(), status: next.status.name(), need });
    }
    swap(store, projection, Generation::Next).await
}

/// Makes the generation before the last promotion the living one again, after it has caught up; the two change places,
/// so a second rollback undoes the first. Answers the position.
///
/// # Errors
/// Where nothing was promoted, where the old one can't catch up, or where readers hold the tables for half a minute.
pub async fn rollback(store: &Store, projection: &dyn Projection) -> Result<i64, ControlError> {
    let old = checkpoint::read(store.pool(), projection.name(), Generation::Old).await?;
    if old.is_none() {
        return Err(none(projection, Generation::Old));
    }
    swap(store, projection, Generation::Old).await
}

/// Removes a generation that nobody reads: a build, or what was live before.
///
/// # Errors
/// Where there is none, or where a process builds it.
pub async fn drop_generation(
    store: &Store,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<(), ControlError> {
    let name = projection.name();
    if generation == Generation::Live {
        let need = "only what nobody reads can be dropped";
        return Err(ControlError::NotNow { name: name.to_owned(), status: "live", need });
    }
    if checkpoint::read(store.pool(), name, generation).await?.is_none() {
        return Err(none(projection, generation));
    }
    let taken = Lease::take(store.pool(), name, generation).await?;
    taken.ok_or_else(|| ControlError::Busy { name: name.to_owned() })?;
    let mut transaction = store.pool().begin().await?;
    forget(&mut transaction, projection, generation).await?;
    transaction.commit().await?;
    Ok(())
}

fn none(projection: &dyn Projection, generation: Generation) -> ControlError {
    ControlError::NoGeneration { name: projection.name().to_owned(), generation: generation.name() }
}

async fn forget(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<(), sqlx::Error> {
    tables::drop_tables(connection, projection, generation).await?;
    for statement in [
        "delete from read.bad_event where name = $1 and generation = $2",
        "delete from read.projection where name = $1 and generation = $2",
    ] {
        sqlx::query(statement).bind(projection.name()).bind(generation.name()).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn swap(store: &Store, projection: &dyn Projection, with: Generation) -> Result<i64, ControlError> {
    let name = projection.name();
    let taken = Lease::take(store.pool(), name, with).await?;
    let lease = taken.ok_or_else(|| ControlError::Busy { name: name.to_owned() })?;
    let swapped = swap_as(store, projection, with, &lease).await;
    if swapped.is_err() {
        lease.release(store.pool()).await?;
    }
    swapped
}

async fn swap_as(
    store: &Store,
    projection: &dyn Projection,
    with: Generation,
    lease: &Lease,
) -> Result<i64, ControlError> {
    for attempt in 1.. {
        catch_up(store, projection, with, lease, i64::MAX).await?;
        match try_swap(store, projection, with, lease).await {
            Err(ControlError::Database(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) && attempt < ATTEMPTS_MAX => {}
            ended => return ended,
        }
    }
    Err(ControlError::Busy { name: projection.name().to_owned() })
}

/// Applies what a generation lacks up to a position, or to the head of the log where it comes first.
pub(super) async fn catch_up(
    store: &Store,
    projection: &dyn Projection,
    generation: Generation,
    lease: &Lease,
    position: i64,
) -> Result<i64, ControlError> {
    let target = Target { projection, generation, write: Write::Apply };
    loop {
        let read = checkpoint::read(store.pool(), projection.name(), generation).await?;
        let checkpoint = read.ok_or_else(|| none(projection, generation))?;
        let left = (position - checkpoint.position).clamp(0, PAGE_LEN);
        let page = store.read_page(checkpoint.position, left, &projection.subscribed()).await?;
        let expected = Expected { position: checkpoint.position, epoch: lease.epoch };
        let stepped = step::write_page(store, target, expected, &page, None).await?;
        match stepped.outcome {
            Outcome::AtRest => return Ok(stepped.position),
            Outcome::Moved if stepped.position == page.up_to => (),
            Outcome::Moved | Outcome::Overtaken | Outcome::Rewound | Outcome::Fenced | Outcome::Standing(_) => {
                let status = Status::Stopped.name();
                let need = "it can't catch up: look at its state";
                return Err(ControlError::NotNow { name: projection.name().to_owned(), status, need });
            }
        }
    }
}

/// One attempt. The living projector is held at its position while the other generation draws level with it.
async fn try_swap(
    store: &Store,
    projection: &dyn Projection,
    with: Generation,
    lease: &Lease,
) -> Result<i64, ControlError> {
    let name = projection.name();
    checkpoint::ensure(store.pool(), name, Generation::Live).await?;
    let mut transaction = store.pool().begin().await?;
    sqlx::query("select set_config('lock_timeout', $1, true)")
        .bind(LOCK_WAIT.as_millis().to_string())
        .execute(&mut *transaction)
        .await?;
    let living = checkpoint::lock(&mut transaction, name, Generation::Live).await?;
    let living = living.ok_or_else(|| none(projection, Generation::Live))?;
    catch_up(store, projection, with, lease, living.position).await?;
    let other = checkpoint::lock(&mut transaction, name, with).await?.ok_or_else(|| none(projection, with))?;
    if other.epoch != lease.epoch || other.position < living.position {
        return Err(ControlError::Busy { name: name.to_owned() });
    }
    let epoch = living.epoch.max(other.epoch) + 1;
    exchange(&mut transaction, projection, with).await?;
    // Whoever wrote either of them is fenced off, and takes the lease of what it writes now. What somebody has said about
    // the living one goes on to hold for the living one.
    sqlx::query(
        "update read.projection set epoch = $2, owner = null, lease_until = null, starts = 0,
                status = case when generation = 'live' and $3 then 'paused' else 'running' end,
                policy = case when generation = 'live' then $4 else policy end
         where name = $1 and generation in ('live', 'old')",
    )
    .bind(name)
    .bind(epoch)
    .bind(living.status == Status::Paused)
    .bind(living.policy.map(Policy::name))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(other.position)
}

/// Moves tables and rows. The names of three schemas are enough because the third is empty before and after.
async fn exchange(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    with: Generation,
) -> Result<(), sqlx::Error> {
    let name = projection.name();
    if with != Generation::Old {
        forget(connection, projection, Generation::Old).await?;
    }
    let (live, other, old) = (Generation::Live.schema(), with.schema(), Generation::Old.schema());
    let moves = [(live, SWAP_SCHEMA), (other, live), (SWAP_SCHEMA, old)];
    for (from, to) in moves {
        for table in projection.tables() {
            tables::execute(connection, format!("alter table {from}.{table} set schema {to}")).await?;
        }
    }
    let renames =
        [(Generation::Live.name(), SWAP), (with.name(), Generation::Live.name()), (SWAP, Generation::Old.name())];
    for (from, to) in renames {
        sqlx::query("update read.bad_event set generation = $3 where name = $1 and generation = $2")
            .bind(name)
            .bind(from)
            .bind(to)
            .execute(&mut *connection)
            .await?;
        sqlx::query("update read.projection set generation = $3 where name = $1 and generation = $2")
            .bind(name)
            .bind(from)
            .bind(to)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
