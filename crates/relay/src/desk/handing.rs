//! Hand-overs: executions taken from the desk for the broker, and put back.

use std::time::Duration;

use pcs_domain::ids::{DispatchId, ExecutionId, TenantId, TestCaseId, TestRunId};
use pcs_domain::jobs::JobKind;
use pcs_domain::test_run::Lane;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::fronts::Fronts;
use super::{begin, begin_as_leader, commit_as_leader, lane};
use crate::RelayError;

/// Of so many places one goes to whoever waits longest, whatever the lane.
const LONGEST_WAITING_EVERY: f64 = 8.0;

/// An execution that was taken from the desk to be handed out.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Released {
    pub(crate) execution_id: Uuid,
    pub(crate) kind: String,
    pub(crate) tenant_id: i32,
    pub(crate) run_id: Uuid,
    pub(crate) lane: i16,
    pub(crate) version: i32,
    pub(crate) case_id: Uuid,
    pub(crate) model: String,
    pub(crate) repeat: i16,
    pub(crate) attempt: i16,
    pub(crate) snoozes: i16,
    pub(crate) dispatch_id: Uuid,
    queue_id: i64,
    place: i64,
    pub(crate) trace: Option<String>,
    /// Whether its model or provider has limits.
    pub(crate) limited: bool,
}

impl Released {
    pub(crate) fn run_id(&self) -> TestRunId {
        TestRunId(self.run_id)
    }

    pub(crate) fn tenant(&self) -> TenantId {
        TenantId(self.tenant_id)
    }

    pub(crate) fn case_id(&self) -> TestCaseId {
        TestCaseId(self.case_id)
    }

    pub(crate) fn lane(&self) -> Lane {
        lane(self.lane)
    }
}

/// An attempt that the log says has to be made again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    pub(crate) execution_id: ExecutionId,
    /// The next attempt's number.
    pub(crate) attempt: u16,
    /// How often it was snoozed.
    pub(crate) snoozes: u16,
    /// Not before.
    pub(crate) at: OffsetDateTime,
}

/// Puts executions back on the desk, with the next attempt's number and time.
pub(crate) async fn put_back(connection: &mut PgConnection, again: &[Again]) -> Result<(), RelayError> {
    let small = |value: u16| i16::try_from(value).unwrap_or(i16::MAX);
    sqlx::query(
        "update jobs.execution e set state = 2, attempt = u.attempt, snoozes = u.snoozes, not_before = u.at,
                                     dispatch_id = null, claimed_by = null
         from unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::timestamptz[]) u(id, attempt, snoozes, at)
         where e.execution_id = u.id and (e.attempt, e.snoozes) < (u.attempt, u.snoozes)",
    )
    .bind(again.iter().map(|one| one.execution_id.0).collect::<Vec<_>>())
    .bind(again.iter().map(|one| small(one.attempt)).collect::<Vec<_>>())
    .bind(again.iter().map(|one| small(one.snoozes)).collect::<Vec<_>>())
    .bind(again.iter().map(|one| one.at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// How many jobs are handed out.
pub(crate) async fn dispatched(pool: &PgPool) -> Result<usize, RelayError> {
    let mut transaction = begin(pool).await?;
    let count: i64 =
        sqlx::query_scalar("select count(*) from jobs.execution where state = 1").fetch_one(&mut *transaction).await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// How many jobs of a kind are handed out; none where nothing of the kind is on the desk.
async fn count_dispatched(connection: &mut PgConnection, kind: JobKind) -> Result<Option<usize>, RelayError> {
    let count: Option<i64> = sqlx::query_scalar(
        "select (select count(*) from jobs.execution where state = 1 and kind = $1)
         where exists (select from jobs.queue where kind = $1)",
    )
    .bind(kind.name)
    .fetch_optional(connection)
    .await?;
    Ok(count.map(|count| usize::try_from(count).unwrap_or(0)))
}

/// Wakes executions whose pause is over; answers how many.
async fn wake(connection: &mut PgConnection) -> Result<u64, RelayError> {
    let woken = sqlx::query("update jobs.execution set state = 0 where state = 2 and not_before <= clock_timestamp()")
        .execute(connection)
        .await?;
    Ok(woken.rows_affected())
}

/// Takes the next executions from the desk. One statement: two schedulers could not take the same one.
///
/// The more important lanes go first, but an eighth of the places goes to whoever waits longest, whatever its lane:
/// without it an endless stream of important runs would keep a bulk run from ever ending. Within a lane tenants share by
/// their weights, and within a tenant its runs take turns: a small run does not wait behind a large one.
///
/// Of each kind as many are taken as its window has room for, beside those that are handed out already; at most `limit`.
pub(crate) async fn release(
    pool: &PgPool,
    term: i64,
    windows: &[(JobKind, usize)],
    limit: usize,
    fronts: &mut Fronts,
) -> Result<Vec<Released>, RelayError> {
    let mut transaction = begin_as_leader(pool, term).await?;
    let mut rooms = Vec::new();
    for (kind, window) in windows {
        if let Some(out) = count_dispatched(&mut transaction, *kind).await? {
            rooms.push((*kind, window.saturating_sub(out).min(limit)));
        }
    }
    rooms.retain(|(_, room)| *room > 0);
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    if wake(&mut transaction).await? > 0 {
        fronts.forget();
    }
    let (queues, places_of_queues) = fronts.believed();
    let mut released = Vec::new();
    for (kind, room) in rooms {
        let places = u32::try_from(room).unwrap_or(u32::MAX);
        let of_kind: Vec<Released> = sqlx::query_as(include_str!("../../queries/release.sql"))
            .bind(i64::from(places))
            .bind(f64::from(places) / LONGEST_WAITING_EVERY)
            .bind(kind.name)
            .bind(&queues)
            .bind(&places_of_queues)
            .fetch_all(&mut *transaction)
            .await?;
        released.extend(of_kind);
    }
    commit_as_leader(transaction, term).await?;
    for one in &released {
        fronts.pass(one.queue_id, one.place);
    }
    Ok(released)
}

/// Puts hand-overs back that the broker did not confirm. They keep their ids: should a ticket have arrived all the
/// same, the broker drops its copy.
pub(crate) async fn take_unsent_back(pool: &PgPool, dispatches: &[DispatchId]) -> Result<(), RelayError> {
    sqlx::query("update jobs.execution set state = 0 where state = 1 and dispatch_id = any($1)")
        .bind(ids(dispatches))
        .execute(pool)
        .await?;
    Ok(())
}

/// Puts hand-overs that the broker lost back on the desk.
pub(crate) async fn take_back(pool: &PgPool, dispatches: &[DispatchId]) -> Result<u64, RelayError> {
    let done = sqlx::query(
        "update jobs.execution set state = 0, dispatch_id = null, claimed_by = null
         where state = 1 and dispatch_id = any($1)",
    )
    .bind(ids(dispatches))
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

fn ids(dispatches: &[DispatchId]) -> Vec<Uuid> {
    dispatches.iter().map(|dispatch| dispatch.0).collect()
}

/// Puts every hand-over back: the broker has lost its disk.
pub(crate) async fn take_all_back(pool: &PgPool) -> Result<u64, RelayError> {
    let done =
        sqlx::query("update jobs.execution set state = 0, dispatch_id = null, claimed_by = null where state = 1")
            .execute(pool)
            .await?;
    Ok(done.rows_affected())
}

/// Hand-overs that are older than an age.
pub(crate) async fn dispatched_before(pool: &PgPool, age: Duration) -> Result<Vec<DispatchId>, RelayError> {
    let mut transaction = begin(pool).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select dispatch_id from jobs.execution
         where state = 1 and dispatched_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(age.as_secs_f64())
    .fetch_all(&mut *transaction)
    .await?;
    Ok(ids.into_iter().map(DispatchId).collect())
}

/// Whether the broker's stream is another than the one that was noted.
pub(crate) async fn is_new_stream(pool: &PgPool, created: OffsetDateTime) -> Result<bool, RelayError> {
    let known: Option<OffsetDateTime> =
        sqlx::query_scalar("select stream_created from jobs.broker").fetch_optional(pool).await?;
    Ok(known != Some(created))
}

/// Notes when the broker's stream was created.
pub(crate) async fn note_stream(pool: &PgPool, created: OffsetDateTime) -> Result<(), RelayError> {
    sqlx::query(
        "insert into jobs.broker (stream_created) values ($1)
         on conflict (one) do update set stream_created = excluded.stream_created",
    )
    .bind(created)
    .execute(pool)
    .await?;
    Ok(())
}
