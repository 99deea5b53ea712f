//! The scheduler's tables: how far it has read the log, and who may write them.

mod fronts;
mod handing;
mod jobs;
mod lease;
mod policy;
mod runs;
mod schedules;
mod undone;
mod worked;

use pcs_domain::test_run::Lane;
use sqlx::{PgConnection, PgPool, PgTransaction};

pub(crate) use self::fronts::Fronts;
pub(crate) use self::handing::*;
pub(crate) use self::jobs::*;
pub(crate) use self::lease::*;
pub(crate) use self::policy::*;
pub(crate) use self::runs::*;
pub(crate) use self::schedules::*;
pub(crate) use self::undone::*;
pub(crate) use self::worked::*;
use crate::RelayError;

/// Rows of one statement; larger inserts are cut.
const INSERT_LEN_MAX: usize = 10_000;

/// Begins a transaction whose commit does not wait for the disk. The desk follows from the log: what a crash takes from
/// it, cursor and all, is read again, and a hand-over that it forgets is made again. The log itself always waits.
///
/// A process that is frozen in the middle of it must not keep its locks from the next leader. And the tables are read by
/// their indexes, in order: how many rows are in which state changes faster than the planner's statistics, and only such a
/// scan marks the entries of rows that are gone, so that the next one passes over them (docs/decisions/0041).
pub(crate) async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, RelayError> {
    let begin = "begin; set local synchronous_commit = off; set local idle_in_transaction_session_timeout = '2s';
                 set local enable_seqscan = off; set local enable_bitmapscan = off";
    Ok(pool.begin_with(begin).await?)
}

/// Begins a transaction of the leader of a term; ended with [`commit_as_leader`].
pub(crate) async fn begin_as_leader(pool: &PgPool, term: i64) -> Result<PgTransaction<'static>, RelayError> {
    let mut transaction = begin(pool).await?;
    let leads: Option<bool> = sqlx::query_scalar("select true from jobs.leader where term = $1")
        .bind(term)
        .fetch_optional(&mut *transaction)
        .await?;
    leads.map(|_| transaction).ok_or(RelayError::TakenOver { term })
}

/// Commits what a leader of a term has done. From the look to the commit nobody can begin another term: whoever wants to
/// waits for this row. The row is not held from the beginning: a long transaction would keep the leader itself from saying
/// that it still leads.
pub(crate) async fn commit_as_leader(mut transaction: PgTransaction<'static>, term: i64) -> Result<(), RelayError> {
    let leads: Option<bool> = sqlx::query_scalar("select true from jobs.leader where term = $1 for share")
        .bind(term)
        .fetch_optional(&mut *transaction)
        .await?;
    leads.ok_or(RelayError::TakenOver { term })?;
    Ok(transaction.commit().await?)
}

/// Locks the cursor and checks that nobody else has moved it.
pub(crate) async fn lock_cursor(connection: &mut PgConnection, (term, position): (i64, i64)) -> Result<(), RelayError> {
    let stored: i64 = sqlx::query_scalar("select position from jobs.cursor for update").fetch_one(connection).await?;
    if stored == position { Ok(()) } else { Err(RelayError::TakenOver { term }) }
}

pub(crate) async fn move_cursor(connection: &mut PgConnection, position: i64) -> Result<(), RelayError> {
    sqlx::query("update jobs.cursor set position = $1").bind(position).execute(connection).await?;
    Ok(())
}

/// The position up to which the relay has read the log.
///
/// # Errors
/// Where the database does not answer.
pub async fn cursor(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select position from jobs.cursor").fetch_one(pool).await
}

/// A lane's number in the tables: its rank.
pub(crate) fn number(lane: Lane) -> i16 {
    Lane::ALL.iter().position(|known| *known == lane).and_then(|place| i16::try_from(place).ok()).unwrap_or(1)
}

/// The lane of a number in the tables.
pub(crate) fn lane(number: i16) -> Lane {
    usize::try_from(number).ok().and_then(|number| Lane::ALL.get(number)).copied().unwrap_or_default()
}

/// Adds to what is counted.
pub(crate) async fn count(pool: &PgPool, name: &str, more: u64) -> Result<(), RelayError> {
    if more == 0 {
        return Ok(());
    }
    sqlx::query(
        "insert into jobs.counter (name, value) values ($1, $2)
         on conflict (name) do update set value = counter.value + excluded.value",
    )
    .bind(name)
    .bind(i64::try_from(more).unwrap_or(i64::MAX))
    .execute(pool)
    .await?;
    Ok(())
}
