//! What the desk keeps for a while only: answers that may be used again, and what cancelled runs left undone.

use std::time::Duration;

use sqlx::PgPool;

/// Rows that are deleted in one statement: a short one keeps nobody waiting.
const DELETE_LEN: i64 = 1_000;

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Kept answers.
    pub answers: u64,
    /// Executions that cancelled runs had left undone.
    pub unfinished: u64,
}

/// Forgets answers and unfinished executions that are older than an age. Twice is once.
///
/// # Errors
/// Where the database does not answer; what was forgotten before stays so.
pub async fn forget(pool: &PgPool, answers: Duration, unfinished: Duration) -> Result<Forgotten, sqlx::Error> {
    let of_answers = "delete from jobs.answer a using (
            select tenant_id, content from jobs.answer
            where at < clock_timestamp() - make_interval(secs => $1) limit $2) old
        where (a.tenant_id, a.content) = (old.tenant_id, old.content)";
    let of_unfinished = "delete from jobs.undone u using (
            select execution_id from jobs.undone
            where class is null and at < clock_timestamp() - make_interval(secs => $1) limit $2) old
        where u.execution_id = old.execution_id";
    Ok(Forgotten {
        answers: delete(pool, of_answers, answers).await?,
        unfinished: delete(pool, of_unfinished, unfinished).await?,
    })
}

async fn delete(pool: &PgPool, statement: &'static str, age: Duration) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    loop {
        let some = sqlx::query(statement).bind(age.as_secs_f64()).bind(DELETE_LEN).execute(pool).await?.rows_affected();
        deleted += some;
        if some == 0 {
            return Ok(deleted);
        }
    }
}
