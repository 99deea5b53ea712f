//! What is held, what providers allow and what of it is left, and what is due when.

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// Something that is not handed out.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct HoldRow {
    /// Why: `policy` for a pause, `parked` for a provider's word, `circuit` for one that failed.
    pub source: String,
    /// `everything`, `lane`, `kind`, `provider` or `model`.
    pub scope: String,
    /// Which lane, kind, provider or model; empty where it is everything.
    pub value: String,
    /// For a person.
    pub reason: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// For how long still, in seconds; absent where it has no end.
    pub for_seconds: Option<f64>,
}

/// A limit and what of it is in use.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct LimitRow {
    /// The provider or model.
    pub key: String,
    /// Calls that may begin in a minute.
    pub requests_per_minute: Option<i64>,
    /// Tokens of prompts in a minute.
    pub input_tokens_per_minute: Option<i64>,
    /// Tokens of answers in a minute.
    pub output_tokens_per_minute: Option<i64>,
    /// Calls at the same time.
    pub concurrency: Option<i64>,
    /// Calls that have their place now.
    pub in_flight: i64,
    /// How long the next call has to wait, in seconds; 0 where there is room.
    pub wait_seconds: f64,
}

/// A schedule and its times.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ScheduleRow {
    /// Its id.
    #[sqlx(rename = "schedule_id")]
    pub id: Uuid,
    /// How people call it.
    pub name: String,
    /// Whether it is held back.
    pub paused: bool,
    /// When it is due next; absent where it never is.
    #[serde(with = "time::serde::rfc3339::option")]
    pub due_at: Option<OffsetDateTime>,
    /// When it was due last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_due_at: Option<OffsetDateTime>,
    /// The run of the last time that had one.
    pub last_run_id: Option<Uuid>,
}

/// What of a tenant's jobs is held.
///
/// # Errors
/// Where the database does not answer.
pub async fn holds(pool: &PgPool, tenant: i32) -> Result<Vec<HoldRow>, sqlx::Error> {
    sqlx::query_as(
        "select source, scope, value, reason, since,
                case when until < 'infinity' then extract(epoch from until - clock_timestamp())::float8 end as for_seconds
         from jobs.hold where tenant_id = $1 and until > clock_timestamp() order by source, scope, value",
    )
    .bind(tenant)
    .fetch_all(pool)
    .await
}

/// What providers and models allow a tenant.
///
/// # Errors
/// Where the database does not answer.
pub async fn limits(pool: &PgPool, tenant: i32) -> Result<Vec<LimitRow>, sqlx::Error> {
    sqlx::query_as(
        "select key, requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, concurrency,
                (select count(*) from jobs.reservation r where r.tenant_id = l.tenant_id and r.expires_at > clock_timestamp()
                     and l.key in (r.provider, r.model_id)) as in_flight,
                extract(epoch from greatest(interval '0', greatest(
                    case when requests_per_minute is not null then requests_at end,
                    case when input_tokens_per_minute is not null then input_at end,
                    case when output_tokens_per_minute is not null then output_at end,
                    clock_timestamp()) - clock_timestamp()))::float8 as wait_seconds
         from jobs.rate_limit l where tenant_id = $1 order by key",
    )
    .bind(tenant)
    .fetch_all(pool)
    .await
}

const SCHEDULES: &str = "select schedule_id, name, paused, case when due_at < 'infinity' then due_at end as due_at,
    last_due_at, last_run_id from jobs.schedule where tenant_id = $1 and ($2::uuid is null or schedule_id = $2)
    order by name, schedule_id limit 1000";

/// A tenant's schedules, by name; at most 1,000.
///
/// # Errors
/// Where the database does not answer.
pub async fn schedules(pool: &PgPool, tenant: i32) -> Result<Vec<ScheduleRow>, sqlx::Error> {
    sqlx::query_as(SCHEDULES).bind(tenant).bind(None::<Uuid>).fetch_all(pool).await
}

/// One schedule; none where there is no such, or the scheduler has not come to it yet.
///
/// # Errors
/// Where the database does not answer.
pub async fn schedule(pool: &PgPool, tenant: i32, id: Uuid) -> Result<Option<ScheduleRow>, sqlx::Error> {
    sqlx::query_as(SCHEDULES).bind(tenant).bind(Some(id)).fetch_optional(pool).await
}
