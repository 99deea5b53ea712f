//! The scheduler's tables: executions that wait or are handed out, and the count of each run's results.

use std::collections::HashMap;

use pcs_domain::ids::{DispatchId, ExecutionId, TenantId, TestCaseId, TestRunId};
use pcs_domain::test_run::{Lane, RunTotals};
use sqlx::{PgConnection, PgPool, PgTransaction};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::RelayError;

/// Rows of one insert; a large run is expanded in several.
const INSERT_LEN_MAX: usize = 10_000;

/// Of so many places one goes to whoever waits longest, whatever the lane.
const LONGEST_WAITING_EVERY: f64 = 8.0;

/// Executions to be put on the desk, column by column.
#[derive(Default)]
pub(crate) struct NewExecutions {
    pub(crate) id: Vec<Uuid>,
    pub(crate) version: Vec<i32>,
    pub(crate) case_id: Vec<Uuid>,
    pub(crate) model: Vec<String>,
    pub(crate) repeat: Vec<i16>,
}

/// An execution that was taken from the desk to be handed out.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Released {
    pub(crate) execution_id: Uuid,
    pub(crate) tenant_id: i32,
    pub(crate) run_id: Uuid,
    pub(crate) lane: i16,
    pub(crate) version: i32,
    pub(crate) case_id: Uuid,
    pub(crate) model: String,
    pub(crate) repeat: i16,
    pub(crate) attempt: i16,
    pub(crate) dispatch_id: Uuid,
    pub(crate) trace: Option<String>,
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
        usize::try_from(self.lane).ok().and_then(|number| Lane::ALL.get(number)).copied().unwrap_or_default()
    }
}

/// A run whose executions all have a result.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FullRun {
    pub(crate) run_id: Uuid,
    pub(crate) tenant_id: i32,
    planned: i64,
    passed: i64,
    failed: i64,
    errors: i64,
}

impl FullRun {
    pub(crate) fn totals(&self) -> RunTotals {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        RunTotals {
            executions: count(self.planned),
            passed: count(self.passed),
            failed: count(self.failed),
            errors: count(self.errors),
        }
    }
}

/// Results of one page of the log, by run.
pub(crate) type Tally = HashMap<TestRunId, RunTotals>;

/// Begins a transaction whose commit does not wait for the disk. The desk follows from the log: what a crash takes from
/// it, cursor and all, is read again, and a hand-over that it forgets is made again. The log itself always waits.
pub(crate) async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, RelayError> {
    Ok(pool.begin_with("begin; set local synchronous_commit = off").await?)
}

/// Locks the cursor and checks that nobody else has moved it.
pub(crate) async fn lock_cursor(connection: &mut PgConnection, position: i64) -> Result<(), RelayError> {
    let stored: i64 = sqlx::query_scalar("select position from jobs.cursor for update").fetch_one(connection).await?;
    if stored == position { Ok(()) } else { Err(RelayError::TakenOver { position }) }
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

pub(crate) async fn add_run(
    connection: &mut PgConnection,
    tenant: TenantId,
    run_id: TestRunId,
    (planned, lane): (u64, Lane),
    trace: Option<&str>,
) -> Result<(), RelayError> {
    sqlx::query("insert into jobs.run (run_id, tenant_id, planned, trace, lane) values ($1, $2, $3, $4, $5)")
        .bind(run_id.0)
        .bind(tenant.0)
        .bind(i64::try_from(planned).unwrap_or(i64::MAX))
        .bind(trace)
        .bind(number(lane))
        .execute(connection)
        .await?;
    Ok(())
}

/// A lane's number in the tables: its rank.
fn number(lane: Lane) -> i16 {
    Lane::ALL.iter().position(|known| *known == lane).and_then(|place| i16::try_from(place).ok()).unwrap_or(1)
}

pub(crate) async fn add_executions(
    connection: &mut PgConnection,
    tenant: TenantId,
    run_id: TestRunId,
    lane: Lane,
    rows: &NewExecutions,
) -> Result<(), RelayError> {
    for from in (0..rows.id.len()).step_by(INSERT_LEN_MAX) {
        let to = (from + INSERT_LEN_MAX).min(rows.id.len());
        sqlx::query(
            "insert into jobs.execution (execution_id, tenant_id, run_id, lane, version, case_id, model, repeat)
             select id, $1, $2, $3, version, case_id, model, repeat
             from unnest($4::uuid[], $5::int[], $6::uuid[], $7::text[], $8::smallint[])
                  with ordinality u(id, version, case_id, model, repeat, place)
             order by place",
        )
        .bind(tenant.0)
        .bind(run_id.0)
        .bind(number(lane))
        .bind(&rows.id[from..to])
        .bind(&rows.version[from..to])
        .bind(&rows.case_id[from..to])
        .bind(&rows.model[from..to])
        .bind(&rows.repeat[from..to])
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Puts executions whose attempt failed back on the desk, with the next attempt's number and time.
pub(crate) async fn put_back(
    connection: &mut PgConnection,
    failed: &[(ExecutionId, u16, OffsetDateTime)],
) -> Result<(), RelayError> {
    let ids: Vec<Uuid> = failed.iter().map(|(id, _, _)| id.0).collect();
    let attempts: Vec<i16> = failed.iter().map(|(_, attempt, _)| i16::try_from(*attempt).unwrap_or(i16::MAX)).collect();
    let times: Vec<OffsetDateTime> = failed.iter().map(|(_, _, at)| *at).collect();
    sqlx::query(
        "update jobs.execution e set state = 2, attempt = u.attempt + 1, not_before = u.at, dispatch_id = null
         from unnest($1::uuid[], $2::smallint[], $3::timestamptz[]) u(id, attempt, at)
         where e.execution_id = u.id and e.attempt <= u.attempt",
    )
    .bind(ids)
    .bind(attempts)
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes executions with a result off the desk, and counts the results.
pub(crate) async fn settle(connection: &mut PgConnection, recorded: &[Uuid], tally: &Tally) -> Result<(), RelayError> {
    sqlx::query("delete from jobs.execution where execution_id = any($1)")
        .bind(recorded)
        .execute(&mut *connection)
        .await?;
    let column = |value: fn(&RunTotals) -> u64| -> Vec<i64> {
        tally.values().map(|totals| i64::try_from(value(totals)).unwrap_or(i64::MAX)).collect()
    };
    sqlx::query(
        "update jobs.run r set passed = r.passed + u.passed, failed = r.failed + u.failed, errors = r.errors + u.errors
         from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) u(id, passed, failed, errors)
         where r.run_id = u.id",
    )
    .bind(tally.keys().map(|run| run.0).collect::<Vec<_>>())
    .bind(column(|totals| totals.passed))
    .bind(column(|totals| totals.failed))
    .bind(column(|totals| totals.errors))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes runs that are over off the desk, with all that is left of them.
pub(crate) async fn close_runs(connection: &mut PgConnection, runs: &[Uuid]) -> Result<(), RelayError> {
    sqlx::query("delete from jobs.execution where run_id = any($1)").bind(runs).execute(&mut *connection).await?;
    sqlx::query("delete from jobs.run where run_id = any($1)").bind(runs).execute(connection).await?;
    Ok(())
}

/// Runs whose executions all have a result and that nobody has completed yet.
pub(crate) async fn full_runs(pool: &PgPool) -> Result<Vec<FullRun>, RelayError> {
    Ok(sqlx::query_as(
        "select run_id, tenant_id, planned, passed, failed, errors from jobs.run
         where passed + failed + errors >= planned",
    )
    .fetch_all(pool)
    .await?)
}

/// How many executions are handed out.
pub(crate) async fn dispatched(pool: &PgPool) -> Result<usize, RelayError> {
    let count: i64 = sqlx::query_scalar("select count(*) from jobs.execution where state = 1").fetch_one(pool).await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Wakes executions whose pause is over.
async fn wake(connection: &mut PgConnection) -> Result<(), RelayError> {
    sqlx::query("update jobs.execution set state = 0 where state = 2 and not_before <= clock_timestamp()")
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the next executions from the desk. One statement: two schedulers could not take the same one.
///
/// The more important lanes go first, but an eighth of the places goes to whoever waits longest, whatever its lane:
/// without it an endless stream of important runs would keep a bulk run from ever ending. Within a lane tenants take
/// turns, and within a tenant its runs: a small run does not wait behind a large one.
pub(crate) async fn release(pool: &PgPool, limit: usize) -> Result<Vec<Released>, RelayError> {
    let places = u32::try_from(limit).unwrap_or(u32::MAX);
    let mut transaction = begin(pool).await?;
    wake(&mut transaction).await?;
    let released = sqlx::query_as(include_str!("../queries/release.sql"))
        .bind(i64::from(places))
        .bind(f64::from(places) / LONGEST_WAITING_EVERY)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(released)
}

/// Puts hand-overs back that the broker did not confirm. They keep their ids: should a ticket have arrived all the
/// same, the broker drops its copy.
pub(crate) async fn take_unsent_back(pool: &PgPool, dispatches: &[DispatchId]) -> Result<(), RelayError> {
    let ids: Vec<Uuid> = dispatches.iter().map(|dispatch| dispatch.0).collect();
    sqlx::query("update jobs.execution set state = 0 where state = 1 and dispatch_id = any($1)")
        .bind(ids)
        .execute(pool)
        .await?;
    Ok(())
}

/// Puts hand-overs that the broker lost back on the desk.
pub(crate) async fn take_back(pool: &PgPool, dispatches: &[DispatchId]) -> Result<u64, RelayError> {
    let ids: Vec<Uuid> = dispatches.iter().map(|dispatch| dispatch.0).collect();
    let done = sqlx::query(
        "update jobs.execution set state = 0, dispatch_id = null where state = 1 and dispatch_id = any($1)",
    )
    .bind(ids)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Puts every hand-over back: the broker has lost its disk.
pub(crate) async fn take_all_back(pool: &PgPool) -> Result<u64, RelayError> {
    let done =
        sqlx::query("update jobs.execution set state = 0, dispatch_id = null where state = 1").execute(pool).await?;
    Ok(done.rows_affected())
}

/// Hand-overs that are older than an age.
pub(crate) async fn dispatched_before(pool: &PgPool, age: std::time::Duration) -> Result<Vec<DispatchId>, RelayError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select dispatch_id from jobs.execution
         where state = 1 and dispatched_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(age.as_secs_f64())
    .fetch_all(pool)
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
