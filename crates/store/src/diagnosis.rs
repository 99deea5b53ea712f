//! What an operator wants to know of the database under the log: settings, rights, locks, partitions and sizes.
//!
//! Facts only; what is good or bad is for the caller to judge. All of it works on a standby, and for a role without
//! rights of monitoring, which then sees less of other sessions.

use sqlx::{FromRow, PgPool};

use crate::error::StoreError;

/// The server and who we are on it.
#[derive(Clone, Debug, FromRow)]
pub struct ServerFacts {
    /// Such as 180004.
    pub version_number: i32,
    /// Such as `18.4`.
    pub version: String,
    /// Whether it is a standby.
    pub is_standby: bool,
    /// Whether new transactions are read-only.
    pub is_read_only: bool,
    /// Our role.
    pub role: String,
    /// Whether nothing is forbidden to it.
    pub is_superuser: bool,
    /// Whether it sees what other roles do.
    pub may_monitor: bool,
}

/// A setting as this session has it.
#[derive(Clone, Debug, FromRow)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, with its unit.
    pub value: String,
}

/// What our role may do with the log.
#[derive(Clone, Debug, FromRow)]
pub struct Rights {
    /// Read it.
    pub may_read: bool,
    /// Append to it.
    pub may_append: bool,
    /// Change rows that are there; a trigger forbids it to everybody who does not switch triggers off.
    pub may_change: bool,
}

/// A transaction that holds the head of the log, or waits for it.
#[derive(Clone, Debug, FromRow)]
pub struct HeadSession {
    /// The server's process.
    pub pid: i32,
    /// What the client calls itself.
    pub application_name: String,
    /// Its role; absent where we may not see it.
    pub role: Option<String>,
    /// Where it comes from; absent for local connections.
    pub client: Option<String>,
    /// What it does: `active`, `idle in transaction` and so on; absent where we may not see it.
    pub state: Option<String>,
    /// How long its transaction has been open, in seconds; absent where we may not see it.
    pub seconds: Option<f64>,
    /// Whether it waits for another one.
    pub is_waiting: bool,
    /// The statement it runs, or ran last; absent where we may not see it.
    pub query: Option<String>,
}

/// A transaction that has been open for long.
#[derive(Clone, Debug, FromRow)]
pub struct LongTransaction {
    /// The server's process.
    pub pid: i32,
    /// What the client calls itself.
    pub application_name: String,
    /// What it does.
    pub state: Option<String>,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// The log's ends.
#[derive(Clone, Debug, FromRow)]
pub struct LogEnds {
    /// What the head says.
    pub head: i64,
    /// The newest event's position.
    pub newest: i64,
    /// The first position for which there is no partition.
    pub partitions_end: Option<i64>,
    /// How many partitions are attached.
    pub partitions: i64,
}

/// What a schema takes on disk.
#[derive(Clone, Debug, FromRow)]
pub struct SchemaSize {
    /// The schema.
    pub name: String,
    /// With indexes, in bytes.
    pub bytes: i64,
}

/// Who the server is and who we are.
///
/// # Errors
/// Where the database does not answer.
pub async fn server(pool: &PgPool) -> Result<ServerFacts, StoreError> {
    Ok(sqlx::query_as(
        "select current_setting('server_version_num')::int as version_number,
                current_setting('server_version') as version, pg_is_in_recovery() as is_standby,
                current_setting('transaction_read_only')::bool as is_read_only, current_user::text as role,
                (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
                pg_has_role(current_user, 'pg_read_all_stats', 'usage') as may_monitor",
    )
    .fetch_one(pool)
    .await?)
}

/// Settings by name, in the order of the names; those that this server does not have are absent.
///
/// # Errors
/// Where the database does not answer.
pub async fn settings(pool: &PgPool, names: &[&str]) -> Result<Vec<Setting>, StoreError> {
    Ok(sqlx::query_as(
        "select n as name, current_setting(n, true) as value
         from unnest($1::text[]) n where current_setting(n, true) is not null order by n",
    )
    .bind(names)
    .fetch_all(pool)
    .await?)
}

/// What our role may do with the log.
///
/// # Errors
/// Where the database does not answer or has no log.
pub async fn rights(pool: &PgPool) -> Result<Rights, StoreError> {
    Ok(sqlx::query_as(
        "select has_schema_privilege('es', 'usage') and has_table_privilege('es.event', 'select') as may_read,
                has_table_privilege('es.event', 'insert') and has_table_privilege('es.head', 'update')
                    and has_table_privilege('es.stream', 'insert')
                    and has_table_privilege('es.stream', 'update') as may_append,
                has_table_privilege('es.event', 'update, delete, truncate') as may_change",
    )
    .fetch_one(pool)
    .await?)
}

/// The transactions that have locked the head or want to: the one that does not wait holds it, and all appends behind it
/// wait for its end. The oldest comes first.
///
/// # Errors
/// Where the database does not answer or has no log.
pub async fn head_sessions(pool: &PgPool) -> Result<Vec<HeadSession>, StoreError> {
    Ok(sqlx::query_as(
        "select a.pid, coalesce(a.application_name, '') as application_name, a.usename::text as role,
                host(a.client_addr) as client, a.state,
                extract(epoch from clock_timestamp() - a.xact_start)::float8 as seconds,
                cardinality(pg_blocking_pids(a.pid)) > 0 as is_waiting, left(a.query, 200) as query
         from pg_stat_activity a
         where a.pid <> pg_backend_pid() and exists (
             select from pg_locks l
             where l.pid = a.pid and l.granted and l.relation = 'es.head'::regclass
               and l.database = (select oid from pg_database where datname = current_database())
               and l.mode in ('RowShareLock', 'RowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
         order by is_waiting, a.xact_start nulls last, a.pid",
    )
    .fetch_all(pool)
    .await?)
}

/// Transactions of this database that have been open for longer than this many seconds, the oldest first.
///
/// # Errors
/// Where the database does not answer.
pub async fn long_transactions(pool: &PgPool, seconds: f64) -> Result<Vec<LongTransaction>, StoreError> {
    Ok(sqlx::query_as(
        "select pid, coalesce(application_name, '') as application_name, state,
                extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
         from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
           and xact_start < clock_timestamp() - make_interval(secs => $1)
         order by xact_start",
    )
    .bind(seconds)
    .fetch_all(pool)
    .await?)
}

/// The log's ends and the room in front of it.
///
/// # Errors
/// Where the database does not answer or has no log.
pub async fn ends(pool: &PgPool) -> Result<LogEnds, StoreError> {
    Ok(sqlx::query_as(
        "select h.position as head, coalesce((select max(position) from es.event), 0) as newest,
                p.partitions_end, p.partitions
         from es.head h cross join (
             select max(substring(pg_get_expr(c.relpartbound, c.oid) from $$TO \\('?([0-9]+)'?\\)$$)::bigint)
                        as partitions_end,
                    count(*) as partitions
             from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'es.event'::regclass
         ) p",
    )
    .fetch_one(pool)
    .await?)
}

/// How long ago the first event after a position was recorded, in seconds; none where there is none. What is archived
/// counts as well: the time of an event is that of its batch, and seals stay in the database.
///
/// # Errors
/// Where the database does not answer or has no log.
pub async fn waiting_seconds(pool: &PgPool, position: i64) -> Result<Option<f64>, StoreError> {
    Ok(sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - recorded_at)::float8 from es.seal
         where last_position > $1 order by last_position limit 1",
    )
    .bind(position)
    .fetch_optional(pool)
    .await?)
}

/// What our schemas take on disk, the largest first.
///
/// # Errors
/// Where the database does not answer.
pub async fn sizes(pool: &PgPool) -> Result<Vec<SchemaSize>, StoreError> {
    Ok(sqlx::query_as(
        "select n.nspname::text as name, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint as bytes
         from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'm')
         where n.nspname = any(array['es', 'read', 'auth', 'jobs'])
         group by n.nspname order by bytes desc, name",
    )
    .fetch_all(pool)
    .await?)
}
