//! Brings the database schema up to date; the migrations are part of the binary.

use std::collections::BTreeMap;

use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::error::StoreError;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Runs the migrations that are missing, and creates the log's next partitions.
///
/// # Errors
/// Where a migration fails, or the database was migrated by a newer build.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    MIGRATOR.run(pool).await?;
    sqlx::query("select es.create_partitions()").execute(pool).await?;
    Ok(())
}

/// Runs the migrations up to a version, so that tests can fill a database as an earlier build had it.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(pool: &PgPool, version: i64) -> Result<(), StoreError> {
    MIGRATOR.run_to(version, pool).await?;
    Ok(())
}

/// How the database's schema and this build differ.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MigrationState {
    /// The newest migration that the database has; 0 where it has none.
    pub newest: i64,
    /// Migrations of this build that the database lacks.
    pub missing: Vec<i64>,
    /// Migrations of the database that this build does not know: it is the older one.
    pub unknown: Vec<i64>,
    /// Migrations that ran with another text than this build has, or broke off.
    pub different: Vec<i64>,
}

/// Compares the database's schema with this build.
///
/// # Errors
/// Where the database does not answer.
pub async fn migration_state(pool: &PgPool) -> Result<MigrationState, StoreError> {
    let is_there: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(pool).await?;
    let rows: Vec<(i64, bool, Vec<u8>)> = match is_there {
        true => sqlx::query_as("select version, success, checksum from _sqlx_migrations").fetch_all(pool).await?,
        false => Vec::new(),
    };
    let mut applied: BTreeMap<i64, (bool, Vec<u8>)> =
        rows.into_iter().map(|(version, success, checksum)| (version, (success, checksum))).collect();
    let mut state = MigrationState { newest: applied.keys().last().copied().unwrap_or(0), ..MigrationState::default() };
    for migration in MIGRATOR.iter() {
        match applied.remove(&migration.version) {
            None => state.missing.push(migration.version),
            Some((success, checksum)) if !success || *checksum != *migration.checksum => {
                state.different.push(migration.version);
            }
            Some(_) => (),
        }
    }
    state.unknown = applied.into_keys().collect();
    Ok(state)
}
