//! The tables of a build: made from the catalog's definition of the living ones, and their keys after the load.

use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};

use crate::generation::Generation;
use crate::{ControlError, Projection};

/// Memory for sorting while an index is made; the default makes it sort on disk.
const SORT_MEMORY: &str = "256MB";

/// A key or an index that the living table has and the new one lacks.
#[derive(Debug, FromRow)]
pub(super) struct MissingKey {
    table: String,
    /// The statement that makes it, of the catalog's making.
    statement: String,
    /// The columns of a primary key; empty for other indexes.
    key: Vec<String>,
}

/// Makes the tables that are not there: without indexes, but with the primary keys that upserts need.
pub(super) async fn create_missing(pool: &PgPool, projection: &dyn Projection) -> Result<(), ControlError> {
    let mut transaction = pool.begin().await?;
    for table in projection.tables() {
        if !exists(&mut transaction, table).await? {
            create(&mut transaction, table).await?;
        }
    }
    for key in missing(&mut transaction, projection).await? {
        let late = projection.late_keys().contains(&key.table.as_str());
        if !key.key.is_empty() && !late {
            execute(&mut transaction, key.statement).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select to_regclass(format('%I.%I', $1, $2)) is not null")
        .bind(Generation::Next.schema())
        .bind(table)
        .fetch_one(connection)
        .await
}

async fn create(connection: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    let (new, living) = (Generation::Next.schema(), Generation::Live.schema());
    // The vacuum that many inserts call for would take a core from the build, and there is nothing to clean.
    execute(
        connection,
        format!(
            "create table {new}.{table} (like {living}.{table} including all excluding indexes)
             with (autovacuum_enabled = off)"
        ),
    )
    .await?;
    // What `like` leaves out.
    let options: Option<String> = sqlx::query_scalar(
        "select array_to_string(reloptions, ', ') from pg_class where oid = to_regclass(format('%I.%I', $1, $2))",
    )
    .bind(living)
    .bind(table)
    .fetch_one(&mut *connection)
    .await?;
    match options {
        Some(options) => execute(connection, format!("alter table {new}.{table} set ({options})")).await,
        None => Ok(()),
    }
}

/// What the new tables lack beside the living ones.
pub(super) async fn missing_keys(pool: &PgPool, projection: &dyn Projection) -> Result<Vec<MissingKey>, ControlError> {
    Ok(missing(&mut *pool.acquire().await?, projection).await?)
}

async fn missing(connection: &mut PgConnection, projection: &dyn Projection) -> Result<Vec<MissingKey>, sqlx::Error> {
    sqlx::query_as(include_str!("../../queries/missing_keys.sql"))
        .bind(Generation::Live.schema())
        .bind(Generation::Next.schema())
        .bind(projection.tables())
        .fetch_all(connection)
        .await
}

/// Makes a key. Rows that were loaded twice, which the living table has refused one by one, go first.
pub(super) async fn add_key(pool: &PgPool, key: &MissingKey) -> Result<(), ControlError> {
    match add(pool, key, false).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() && !key.key.is_empty() => {
            Ok(add(pool, key, true).await?)
        }
        added => Ok(added?),
    }
}

async fn add(pool: &PgPool, key: &MissingKey, dedupe: bool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("select set_config('maintenance_work_mem', $1, true), set_config('synchronous_commit', 'off', true)")
        .bind(SORT_MEMORY)
        .execute(&mut *transaction)
        .await?;
    if dedupe {
        let (table, columns) = (&key.table, key.key.join(", "));
        let schema = Generation::Next.schema();
        // Nothing was removed from the table, so the place of a row tells which came first.
        let statement = format!(
            "delete from {schema}.{table} where ctid in (
                 select ctid from (select ctid, row_number() over (partition by {columns} order by ctid) as nth
                                   from {schema}.{table}) numbered where nth > 1)"
        );
        execute(&mut transaction, statement).await?;
    }
    execute(&mut transaction, key.statement.clone()).await?;
    transaction.commit().await
}

/// Values of a column that the planner's first numbers are made of, by the hundred; those of the usual 100 take three
/// times as long, and autovacuum makes them soon after.
const STATISTICS_TARGET: u32 = 30;

/// Lets the new tables be vacuumed, and gives the planner their numbers.
pub(super) async fn finish(pool: &PgPool, projection: &dyn Projection) -> Result<(), ControlError> {
    let mut transaction = pool.begin().await?;
    execute(&mut transaction, format!("set local default_statistics_target = {STATISTICS_TARGET}")).await?;
    for table in projection.tables() {
        let schema = Generation::Next.schema();
        execute(&mut transaction, format!("alter table {schema}.{table} reset (autovacuum_enabled)")).await?;
        execute(&mut transaction, format!("analyze {schema}.{table}")).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Throws the tables of a build away and sends it back to the start of the log.
pub(super) async fn start_over(pool: &PgPool, projection: &dyn Projection) -> Result<(), ControlError> {
    let mut transaction = pool.begin().await?;
    drop_tables(&mut transaction, projection, Generation::Next).await?;
    sqlx::query("delete from read.bad_event where name = $1 and generation = 'next'")
        .bind(projection.name())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "update read.projection set position = 0, updated_at = null, passed_over = 0, failures = 0
         where name = $1 and generation = 'next'",
    )
    .bind(projection.name())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn drop_tables(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    generation: Generation,
) -> Result<(), sqlx::Error> {
    let schema = generation.schema();
    let tables: Vec<String> = projection.tables().iter().map(|table| format!("{schema}.{table}")).collect();
    execute(connection, format!("drop table if exists {}", tables.join(", "))).await
}

/// Runs a statement whose names are constants of this crate, or the catalog's own quoted ones.
pub(super) async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}
