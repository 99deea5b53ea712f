//! Brings the database schema up to date; the migrations are part of the binary.

use sqlx::PgPool;

use crate::error::StoreError;

/// Runs the migrations that are missing, and creates the log's next partitions.
///
/// # Errors
/// Where a migration fails, or the database was migrated by a newer build.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::migrate!("../../migrations").run(pool).await?;
    sqlx::query("select es.create_partitions()").execute(pool).await?;
    Ok(())
}
