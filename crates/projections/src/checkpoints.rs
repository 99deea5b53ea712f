//! How far everybody has read who folds the log: what they have not read should not leave the database.

use sqlx::PgPool;

use crate::ProjectionError;

/// Names and positions of all checkpoints of what is read or being built, in the order of the names.
///
/// # Errors
/// Where the database does not answer.
pub async fn checkpoints(pool: &PgPool) -> Result<Vec<(String, i64)>, ProjectionError> {
    Ok(sqlx::query_as(
        "select name || case generation when 'next' then ' (being built)' else '' end, position from read.projection
         where generation in ('live', 'next') order by 1",
    )
    .fetch_all(pool)
    .await?)
}
