//! Dead letters: jobs that ended without an answer, until somebody runs them again or dismisses them.

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// A dead letter.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct DeadLetterRow {
    /// The execution; its attempts are read there.
    pub execution_id: Uuid,
    /// The run.
    pub run_id: Uuid,
    /// The card.
    pub card_id: Uuid,
    /// The prompt version.
    pub version: i32,
    /// The case.
    pub case_id: Uuid,
    /// The model's name in the run.
    pub model: String,
    /// Which repeat, from 0.
    pub repeat: i16,
    /// The kind of error.
    pub class: String,
    /// What went wrong in the last attempt; empty where it may quote a data subject.
    pub error: String,
    /// How many attempts there were.
    pub attempts: i16,
    /// Who made the last one.
    pub worker: String,
    /// When it was given up.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The position of its event.
    pub position: i64,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Of this run.
    pub run_id: Option<Uuid>,
    /// Of this class.
    pub class: Option<String>,
    /// Of this card.
    pub card_id: Option<Uuid>,
}

/// What of a run could be run again.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct UndoneCount {
    /// The class of dead letters; none for what a cancelled run left undone.
    pub class: Option<String>,
    /// How many.
    pub executions: i64,
}

/// A page of dead letters, the newest first: those before a position.
///
/// # Errors
/// Where the database does not answer.
pub async fn dead_letters(
    pool: &PgPool,
    tenant: i32,
    filter: &DeadLetterFilter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<DeadLetterRow>, sqlx::Error> {
    sqlx::query_as(
        "select execution_id, run_id, card_id, version, case_id, model, repeat, class, error, attempts, worker, at, position
         from jobs.undone
         where tenant_id = $1 and class is not null and ($2::uuid is null or run_id = $2)
           and ($3::text is null or class = $3) and ($4::uuid is null or card_id = $4)
           and ($5::bigint is null or position < $5)
         order by position desc limit $6",
    )
    .bind(tenant)
    .bind(filter.run_id)
    .bind(filter.class.as_deref())
    .bind(filter.card_id)
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// These dead letters, as far as they are dead letters still.
///
/// # Errors
/// Where the database does not answer.
pub async fn dead_letters_of(
    pool: &PgPool,
    tenant: i32,
    execution_ids: &[Uuid],
) -> Result<Vec<DeadLetterRow>, sqlx::Error> {
    sqlx::query_as(
        "select execution_id, run_id, card_id, version, case_id, model, repeat, class, error, attempts, worker, at, position
         from jobs.undone where tenant_id = $1 and class is not null and execution_id = any($2) order by position desc",
    )
    .bind(tenant)
    .bind(execution_ids)
    .fetch_all(pool)
    .await
}

/// What of a run could be run again, of these executions or of all.
///
/// # Errors
/// Where the database does not answer.
pub async fn undone(
    pool: &PgPool,
    tenant: i32,
    run_id: Uuid,
    execution_ids: Option<&[Uuid]>,
) -> Result<Vec<UndoneCount>, sqlx::Error> {
    sqlx::query_as(
        "select class, count(*) as executions from jobs.undone
         where tenant_id = $1 and run_id = $2 and ($3::uuid[] is null or execution_id = any($3)) group by class",
    )
    .bind(tenant)
    .bind(run_id)
    .bind(execution_ids)
    .fetch_all(pool)
    .await
}

/// How many dead letters there are, of all tenants.
///
/// # Errors
/// Where the database does not answer.
pub async fn dead_letter_count(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from jobs.undone where class is not null").fetch_one(pool).await
}
