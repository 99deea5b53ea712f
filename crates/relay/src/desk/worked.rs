//! What is in workers' hands: claims, hand-backs, places for calls, and the answers that were kept.

use std::time::Duration;

use pcs_domain::execution::Answer;
use pcs_domain::ids::{DispatchId, ExecutionId, TenantId};
use pcs_domain::jobs::test_execution::Claim;
use pcs_domain::model::ModelSpec;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::RelayError;
use crate::presence::Seen;

/// How far ahead of its time a call may have its place; a worker's slot waits meanwhile.
const AHEAD: Duration = Duration::from_secs(2);
/// Failures in a row that open a provider's circuit.
const CIRCUIT_FAILURES: i32 = 5;
/// How long a circuit is open the first time; it doubles each time that it opens without a success between.
const CIRCUIT_OPEN: Duration = Duration::from_secs(5);
/// Most doublings of that.
const CIRCUIT_DOUBLINGS_MAX: i32 = 4;

/// Notes that a worker has a hand-over that was delivered before; answers how many workers were lost over it.
///
/// The one before is lost where it is not among those that are alive, and did not hand back.
pub(crate) async fn claim(
    pool: &PgPool,
    execution: ExecutionId,
    claim: &Claim,
    alive: &[String],
) -> Result<i16, RelayError> {
    let lost: Option<i16> = sqlx::query_scalar(
        "update jobs.execution set
             lost = lost + case when claimed_by is null or claimed_by = $2 or claimed_by = any($3) then 0 else 1 end
                         + case when claimed_by is null then 1 else 0 end,
             claimed_by = $2
         where execution_id = $4 and dispatch_id = $1 returning lost",
    )
    .bind(claim.dispatch_id.0)
    .bind(&claim.worker)
    .bind(alive)
    .bind(execution.0)
    .fetch_optional(pool)
    .await?;
    Ok(lost.unwrap_or(0))
}

/// Takes a job back from a worker that stops: it is handed out anew, at once.
pub(crate) async fn hand_back(pool: &PgPool, execution: ExecutionId, claim: &Claim) -> Result<(), RelayError> {
    snooze(pool, execution, claim.dispatch_id, Duration::ZERO).await?;
    release_place(pool, claim.dispatch_id).await
}

/// Takes a hand-over back for a while; its attempt keeps its number.
pub(crate) async fn snooze(
    pool: &PgPool,
    execution: ExecutionId,
    dispatch: DispatchId,
    pause: Duration,
) -> Result<(), RelayError> {
    sqlx::query(
        "update jobs.execution set state = 2, dispatch_id = null, claimed_by = null,
                                   not_before = clock_timestamp() + make_interval(secs => $2)
         where execution_id = $3 and state = 1 and dispatch_id = $1",
    )
    .bind(dispatch.0)
    .bind(pause.as_secs_f64())
    .bind(execution.0)
    .execute(pool)
    .await?;
    Ok(())
}

async fn release_place(pool: &PgPool, dispatch: DispatchId) -> Result<(), RelayError> {
    sqlx::query("delete from jobs.reservation where dispatch_id = $1").bind(dispatch.0).execute(pool).await?;
    Ok(())
}

/// A call that wants a place.
pub(crate) struct WantedPlace<'a> {
    pub(crate) tenant: TenantId,
    /// The run that it is for, or the job on request.
    pub(crate) run: Uuid,
    /// The call: the hand-over where a job makes one, else an id of its own.
    pub(crate) call: Uuid,
    pub(crate) kind: &'a str,
    pub(crate) lane: &'a str,
    pub(crate) model: &'a ModelSpec,
    pub(crate) worker: &'a str,
    pub(crate) content: Option<&'a str>,
    /// Tokens of prompt and answer, estimated.
    pub(crate) tokens: (u64, u64),
    pub(crate) call_ms: u64,
}

/// The milliseconds until a call may begin; or the pause after which it may ask again.
pub(crate) async fn reserve(pool: &PgPool, wanted: &WantedPlace<'_>) -> Result<Result<u64, Duration>, RelayError> {
    let bigint = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let millis: i64 =
        sqlx::query_scalar("select jobs.reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)")
            .bind(wanted.tenant.0)
            .bind(wanted.run)
            .bind(wanted.model.provider())
            .bind(&wanted.model.id)
            .bind(wanted.lane)
            .bind(wanted.kind)
            .bind(wanted.call)
            .bind(wanted.worker)
            .bind(wanted.content)
            .bind(bigint(wanted.tokens.0))
            .bind(bigint(wanted.tokens.1))
            .bind(bigint(wanted.call_ms))
            .bind(i64::try_from(AHEAD.as_millis()).unwrap_or(i64::MAX))
            .bind(CIRCUIT_FAILURES)
            .fetch_one(pool)
            .await?;
    Ok(u64::try_from(millis).map_err(|_| Duration::from_millis(millis.unsigned_abs())))
}

/// Gives the place of a call back, with what it really took.
pub(crate) async fn settle_place(
    pool: &PgPool,
    call: Uuid,
    (input_tokens, output_tokens): (u64, u64),
) -> Result<(), RelayError> {
    let bigint = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    sqlx::query("select jobs.settle($1, $2, $3)")
        .bind(call)
        .bind(bigint(input_tokens))
        .bind(bigint(output_tokens))
        .execute(pool)
        .await?;
    Ok(())
}

/// Frees places of workers that are gone, of runs that are over, and those whose time is over. Of runs that are over,
/// because a worker that drops a call says nothing: its place would keep others waiting for as long as a call may take.
pub(crate) async fn sweep_places(pool: &PgPool, alive: &[String]) -> Result<u64, RelayError> {
    let swept = sqlx::query(
        "delete from jobs.reservation where expires_at < clock_timestamp()
         or (start_at < clock_timestamp() - interval '10 seconds'
             and (worker <> all($1) or not exists (select from jobs.run r where r.run_id = reservation.run_id)))",
    )
    .bind(alive)
    .execute(pool)
    .await?;
    Ok(swept.rows_affected())
}

/// Leaves a model alone for as long as its provider wants.
pub(crate) async fn park(pool: &PgPool, tenant: TenantId, model_id: &str, pause: Duration) -> Result<(), RelayError> {
    let mut connection = pool.acquire().await?;
    hold(&mut connection, tenant, ("parked", "model", model_id), pause, "the provider said that it has no room").await
}

async fn hold(
    connection: &mut PgConnection,
    tenant: TenantId,
    (source, scope, value): (&str, &str, &str),
    pause: Duration,
    reason: &str,
) -> Result<(), RelayError> {
    sqlx::query(
        "insert into jobs.hold (tenant_id, source, scope, value, until, reason, since)
         values ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), $6, clock_timestamp())
         on conflict (tenant_id, source, scope, value) do update set until = greatest(hold.until, excluded.until)",
    )
    .bind(tenant.0)
    .bind(source)
    .bind(scope)
    .bind(value)
    .bind(pause.as_secs_f64())
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts a call that found its provider down; opens the circuit when there were too many in a row.
///
/// Calls that were under way when it opened say nothing new: they do not open it once more, for longer.
pub(crate) async fn count_fault(pool: &PgPool, tenant: TenantId, provider: &str) -> Result<(), RelayError> {
    let mut transaction = pool.begin().await?;
    // Whoever counts next waits for this row, and sees whether the circuit is open.
    let failures: i32 = sqlx::query_scalar(
        "insert into jobs.endpoint (tenant_id, provider, failures) values ($1, $2, 1)
         on conflict (tenant_id, provider) do update set failures = endpoint.failures + 1 returning failures",
    )
    .bind(tenant.0)
    .bind(provider)
    .fetch_one(&mut *transaction)
    .await?;
    let opened: Option<i32> = if failures < CIRCUIT_FAILURES {
        None
    } else {
        sqlx::query_scalar(
            "update jobs.endpoint set opened = opened + 1 where tenant_id = $1 and provider = $2
             and not exists (select from jobs.hold where tenant_id = $1 and source = 'circuit' and scope = 'provider'
                             and value = $2 and until > clock_timestamp())
             returning opened",
        )
        .bind(tenant.0)
        .bind(provider)
        .fetch_optional(&mut *transaction)
        .await?
    };
    if let Some(opened) = opened {
        let doublings = u32::try_from((opened - 1).clamp(0, CIRCUIT_DOUBLINGS_MAX)).unwrap_or(0);
        let reason = "the provider failed several times in a row";
        let pause = CIRCUIT_OPEN * 2_u32.pow(doublings);
        hold(&mut transaction, tenant, ("circuit", "provider", provider), pause, reason).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Closes the circuit: the provider answers.
pub(crate) async fn clear_faults(pool: &PgPool, tenant: TenantId, provider: &str) -> Result<(), RelayError> {
    sqlx::query(
        "with cleared as (delete from jobs.endpoint where tenant_id = $1 and provider = $2 returning 1)
         delete from jobs.hold where exists (select from cleared) and tenant_id = $1 and source = 'circuit'
             and value = $2",
    )
    .bind(tenant.0)
    .bind(provider)
    .execute(pool)
    .await?;
    Ok(())
}

/// The answer that a question got before.
pub(crate) async fn kept_answer(pool: &PgPool, tenant: TenantId, content: &str) -> Result<Option<Answer>, RelayError> {
    let answer: Option<Json<Answer>> =
        sqlx::query_scalar("select answer from jobs.answer where tenant_id = $1 and content = $2")
            .bind(tenant.0)
            .bind(content)
            .fetch_optional(pool)
            .await?;
    Ok(answer.map(|Json(answer)| answer))
}

/// Keeps an answer for the next time; the first one stays.
pub(crate) async fn keep_answer(
    pool: &PgPool,
    tenant: TenantId,
    content: &str,
    answer: &Answer,
) -> Result<(), RelayError> {
    sqlx::query("insert into jobs.answer (tenant_id, content, answer) values ($1, $2, $3) on conflict do nothing")
        .bind(tenant.0)
        .bind(content)
        .bind(Json(answer))
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes who is there, for those who ask the database.
pub(crate) async fn note_workers(pool: &PgPool, workers: &[Seen]) -> Result<(), RelayError> {
    let names: Vec<&str> = workers.iter().map(|seen| seen.heartbeat.worker.as_str()).collect();
    let small = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    sqlx::query(
        "with gone as (delete from jobs.worker where worker <> all($1))
         insert into jobs.worker (worker, kind, slots, in_flight, draining, build, since, heard_at)
         select worker, kind, slots, in_flight, draining, build, clock_timestamp() - make_interval(secs => known),
                clock_timestamp() - make_interval(secs => silent)
         from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bool[], $6::text[], $7::float8[], $8::float8[])
              u(worker, kind, slots, in_flight, draining, build, known, silent)
         on conflict (worker) do update set slots = excluded.slots, in_flight = excluded.in_flight,
             draining = excluded.draining, heard_at = excluded.heard_at",
    )
    .bind(&names)
    .bind(workers.iter().map(|seen| seen.heartbeat.kind.as_str()).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| small(seen.heartbeat.slots)).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| small(seen.heartbeat.in_flight)).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| seen.heartbeat.draining).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| seen.heartbeat.build.as_str()).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| seen.known_for.as_secs_f64()).collect::<Vec<_>>())
    .bind(workers.iter().map(|seen| seen.silent_for.as_secs_f64()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}
