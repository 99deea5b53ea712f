//! Compares a build with the living read model: every table, at one position, in one snapshot.

use std::time::Duration;

use pcs_store::Store;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::swap::catch_up;
use crate::generation::Generation;
use crate::lease::Lease;
use crate::{ControlError, Projection, checkpoint};

/// Rows of a table that are compared one by one; of more, a sample of about this many is, by a hash of their keys.
const ROWS_COMPARED_MAX: i64 = 1_000_000;
/// Keys of rows that differ, for a person to look at.
const KEYS_SHOWN_MAX: i64 = 5;

/// How long the living read model may take to come up to the build.
const LEVEL_WAIT: Duration = Duration::from_secs(10);

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The position that both stood at.
    pub position: i64,
    /// Whether every table is the same.
    pub equal: bool,
    /// Each table.
    pub tables: Vec<TableCompared>,
}

/// What a comparison found in one table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableCompared {
    /// Its name.
    pub table: String,
    /// Rows of the living one.
    pub live_rows: i64,
    /// Rows of the build.
    pub next_rows: i64,
    /// The sum of the hashes of the rows of the living one; their order does not matter.
    pub live_checksum: String,
    /// The same of the build.
    pub next_checksum: String,
    /// One of how many rows was compared; 1 is every one.
    pub sampled: i64,
    /// Keys of some of the rows that differ, as JSON.
    pub differing: Vec<String>,
}

impl TableCompared {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.live_rows == self.next_rows && self.live_checksum == self.next_checksum
    }
}

/// Brings the build to the living one's position, and compares them there. The living one is held for that moment only;
/// both may go on while a snapshot of them is compared.
///
/// # Errors
/// Where there is no build, where another process is at it, or where the database does not answer.
pub async fn shadow(store: &Store, projection: &dyn Projection) -> Result<Compared, ControlError> {
    let name = projection.name();
    let none = || ControlError::NoGeneration { name: name.to_owned(), generation: Generation::Next.name() };
    checkpoint::read(store.pool(), name, Generation::Next).await?.ok_or_else(none)?;
    let taken = Lease::take(store.pool(), name, Generation::Next).await?;
    let lease = taken.ok_or_else(|| ControlError::Busy { name: name.to_owned() })?;
    let compared = compare_as(store, projection, &lease).await;
    lease.release(store.pool()).await?;
    compared
}

async fn compare_as(store: &Store, projection: &dyn Projection, lease: &Lease) -> Result<Compared, ControlError> {
    let name = projection.name();
    checkpoint::ensure(store.pool(), name, Generation::Live).await?;
    // The build can't be sent back, so the living one comes up to it first.
    let next = checkpoint::read(store.pool(), name, Generation::Next).await?.map_or(0, |next| next.position);
    if !checkpoint::wait_for_position(store.pool(), name, next, LEVEL_WAIT).await? {
        let need = "it has to come up to the build, so that the two can be compared";
        return Err(ControlError::NotNow { name: name.to_owned(), status: "behind", need });
    }
    let mut held = store.pool().begin().await?;
    let living = checkpoint::lock(&mut held, name, Generation::Live).await?.map_or(0, |living| living.position);
    let level = catch_up(store, projection, Generation::Next, lease, living).await?;
    let mut snapshot = store.pool().begin().await?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *snapshot).await?;
    let positions: Vec<i64> = sqlx::query_scalar(
        "select distinct position from read.projection where name = $1 and generation in ('live', 'next')",
    )
    .bind(name)
    .fetch_all(&mut *snapshot)
    .await?;
    held.rollback().await?;
    if positions != [level] {
        return Err(ControlError::Busy { name: name.to_owned() });
    }
    let mut tables = Vec::new();
    for table in projection.tables() {
        tables.push(compare(&mut snapshot, table).await?);
    }
    snapshot.rollback().await?;
    Ok(Compared { position: level, equal: tables.iter().all(TableCompared::is_equal), tables })
}

/// What the statements need to know of a table.
#[derive(FromRow)]
struct Shape {
    /// The columns of its primary key.
    key: String,
    /// About how many rows it has.
    rows: i64,
}

async fn compare(connection: &mut PgConnection, table: &str) -> Result<TableCompared, ControlError> {
    let (live, next) = (Generation::Live.schema(), Generation::Next.schema());
    let shape: Shape = sqlx::query_as(
        "select string_agg(quote_ident(a.attname), ', ' order by k.nth) as key,
                greatest(max(t.reltuples)::bigint, 0) as rows
         from pg_class t join pg_index x on x.indrelid = t.oid and x.indisprimary
         cross join unnest(x.indkey::int2[]) with ordinality k (attnum, nth)
         join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum
         where t.oid = to_regclass(format('%I.%I', $1, $2))",
    )
    .bind(live)
    .bind(table)
    .fetch_one(&mut *connection)
    .await?;
    let sampled = shape.rows / ROWS_COMPARED_MAX + 1;
    let (live_rows, live_checksum) = checksum(connection, (live, table), &shape.key, sampled).await?;
    let (next_rows, next_checksum) = checksum(connection, (next, table), &shape.key, sampled).await?;
    let mut compared = TableCompared {
        table: table.to_owned(),
        live_rows,
        next_rows,
        live_checksum,
        next_checksum,
        sampled,
        differing: Vec::new(),
    };
    if !compared.is_equal() {
        let key = &shape.key;
        let statement = format!(
            "select json_build_array({key})::text
             from (select {key}, l from {live}.{table} l) l full join (select {key}, n from {next}.{table} n) n
                  using ({key})
             where l.l::text is distinct from n.n::text limit {KEYS_SHOWN_MAX}"
        );
        compared.differing = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(connection).await?;
    }
    Ok(compared)
}

/// The number of rows, and the sum of the hashes of those that are in the sample. The names are the catalog's.
async fn checksum(
    connection: &mut PgConnection,
    (schema, table): (&str, &str),
    key: &str,
    sampled: i64,
) -> Result<(i64, String), sqlx::Error> {
    let statement = format!(
        "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric)
                    filter (where $1 = 1 or mod(hashtextextended(row({key})::text, 1), $1) = 0), 0)::text
         from {schema}.{table} t"
    );
    sqlx::query_as(AssertSqlSafe(statement)).bind(sampled).fetch_one(connection).await
}
