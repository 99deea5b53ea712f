//! Who leads: a row with a term that the database issues, and that lapses by its clock.

use std::time::Duration;

use sqlx::PgPool;

use crate::RelayError;

/// How long a leader leads without saying so again. A leader that is gone is followed after this time.
const LEASE: Duration = Duration::from_secs(3);

/// Begins a term where nobody leads; answers the term.
pub(crate) async fn take_lead(pool: &PgPool, holder: &str) -> Result<Option<i64>, RelayError> {
    let term = sqlx::query_scalar(
        "update jobs.leader set term = term + 1, holder = $1, expires_at = clock_timestamp() + make_interval(secs => $2)
         where expires_at < clock_timestamp() returning term",
    )
    .bind(holder)
    .bind(LEASE.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(term)
}

/// Says that the leader is still there, and whether it has the broker; false where another term has begun.
pub(crate) async fn keep_lead(pool: &PgPool, term: i64, broker: bool) -> Result<bool, RelayError> {
    let kept = sqlx::query(
        "update jobs.leader set expires_at = clock_timestamp() + make_interval(secs => $2), broker = $3 where term = $1",
    )
    .bind(term)
    .bind(LEASE.as_secs_f64())
    .bind(broker)
    .execute(pool)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Ends the term, so that the next leader need not wait.
pub(crate) async fn give_up_lead(pool: &PgPool, term: i64) -> Result<(), RelayError> {
    sqlx::query("update jobs.leader set expires_at = '-infinity' where term = $1").bind(term).execute(pool).await?;
    Ok(())
}
