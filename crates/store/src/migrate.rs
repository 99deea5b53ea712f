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

/// Runs the migrations up to a version, so that tests can fill a database as an earlier build had it.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(pool: &PgPool, version: i64) -> Result<(), StoreError> {
    sqlx::migrate!("../../migrations").run_to(version, pool).await?;
    Ok(())
}
