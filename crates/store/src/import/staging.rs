//! The temporary table through which imported events go: filled by COPY, checked as a whole, then made part of the log.

use std::collections::HashMap;

use pcs_domain::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use tokio::io::AsyncBufRead;

use super::chain::Chain;
use super::lines::Lines;
use super::{ImportError, fault, line_of};
use crate::chain::Hash;
use crate::transfer::{ClosedLine, EventLine, Header, hex};

/// Bytes that are gathered before they are sent to the database.
const COPY_CHUNK_BYTES: usize = 256 * 1024;
/// How COPY's text format writes nothing.
const NULL: &str = "\\N";

/// The numbers of types in this database.
pub(super) type TypeIds = HashMap<(String, i16), i16>;

/// Registers the file's types, and reads the numbers of all.
pub(super) async fn register_types(connection: &mut PgConnection, header: &Header) -> Result<TypeIds, ImportError> {
    let (names, versions): (Vec<&str>, Vec<i16>) =
        header.types.iter().map(|(name, version)| (name.as_str(), *version)).unzip();
    sqlx::query(
        "insert into es.event_type (name, schema_version)
         select distinct n, v from unnest($1::text[], $2::smallint[]) t (n, v)
         where not exists (select from es.event_type e where e.name = n and e.schema_version = v)
         order by n, v on conflict do nothing",
    )
    .bind(names)
    .bind(versions)
    .execute(&mut *connection)
    .await?;
    let rows: Vec<(String, i16, i16)> =
        sqlx::query_as("select name, schema_version, type_id from es.event_type").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(name, version, id)| ((name, version), id)).collect())
}

pub(super) async fn create(connection: &mut PgConnection) -> Result<(), ImportError> {
    sqlx::query(
        "create temporary table imported (
             position bigint not null, tenant_id int not null, stream_id uuid not null, category smallint not null,
             version bigint not null, event_id uuid not null, type_id smallint not null,
             recorded_at timestamptz not null, command_id uuid not null, correlation_id uuid, causation_id uuid,
             actor_id uuid, trace text, payload text not null, is_remembered bool not null, fingerprint uuid,
             first_position bigint, executed_at timestamptz, hash bytea not null, digest bytea not null, seal bytea
         ) on commit drop",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads all lines into the table; answers how many events there were.
pub(super) async fn copy<R: AsyncBufRead + Unpin>(
    connection: &mut PgConnection,
    lines: &mut Lines<R>,
    (types, chain): (&TypeIds, &mut Chain),
    total: u64,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<u64, ImportError> {
    let mut copy = connection.copy_in_raw("copy imported from stdin").await?;
    match feed(&mut copy, lines, (types, chain), &mut |done| progress(done, total)).await {
        Ok(events) => {
            copy.finish().await?;
            Ok(events)
        }
        Err(error) => {
            // The transaction is given up; the connection must only leave the mode of copying. Its own word on that
            // is an error, always.
            drop(copy.abort("the import is given up").await);
            Err(error)
        }
    }
}

async fn feed<R: AsyncBufRead + Unpin>(
    copy: &mut PgCopyIn<&mut PgConnection>,
    lines: &mut Lines<R>,
    (types, chain): (&TypeIds, &mut Chain),
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, ImportError> {
    let mut chunk = String::with_capacity(COPY_CHUNK_BYTES);
    let mut events = 0;
    while let Some(event) = lines.event().await? {
        let number = lines.number();
        let key = (event.type_name.clone(), event.schema_version);
        let type_id = types.get(&key).ok_or_else(|| {
            fault(number, format!("the type {} version {} is not announced in the first line", key.0, key.1))
        })?;
        let digest = chain.add(&event).map_err(|what| fault(number, what))?;
        write_row(&mut chunk, &event, *type_id, &digest);
        events += 1;
        if chunk.len() >= COPY_CHUNK_BYTES {
            copy.send(chunk.as_bytes()).await?;
            chunk.clear();
            progress(events);
        }
    }
    chain.end().map_err(|what| fault(lines.number(), what))?;
    copy.send(chunk.as_bytes()).await?;
    progress(events);
    Ok(events)
}

fn write_row(out: &mut String, event: &EventLine, type_id: i16, digest: &Hash) {
    let remembered = event.remembered.as_ref();
    let columns = [
        event.position.to_string(),
        event.tenant.to_string(),
        event.stream_id.to_string(),
        event.category.to_string(),
        event.version.to_string(),
        event.event_id.to_string(),
        type_id.to_string(),
        event.recorded_at.to_string(),
        event.command_id.to_string(),
        or_null(event.correlation_id),
        or_null(event.causation_id),
        or_null(event.actor_id),
    ];
    for column in columns {
        out.push_str(&column);
        out.push('\t');
    }
    match &event.trace {
        Some(trace) => escape(out, trace),
        None => out.push_str(NULL),
    }
    out.push('\t');
    escape(out, &event.payload);
    let fingerprint = or_null(remembered.and_then(|command| command.fingerprint));
    let first = or_null(remembered.map(|command| command.first_position));
    let at = or_null(remembered.map(|command| command.at));
    out.push_str(&format!("\t{}\t{fingerprint}\t{first}\t{at}", remembered.is_some()));
    let seal = event.seal.as_ref().map_or_else(|| NULL.to_owned(), |seal| format!("\\\\x{seal}"));
    out.push_str(&format!("\t\\\\x{}\t\\\\x{}\t{seal}\n", event.hash, hex(digest)));
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NULL.to_owned(), |value| value.to_string())
}

/// COPY's text format: what would end a column or a row, and the sign that says so.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
}

/// What only all lines together show. Each check finds the first event that fails it.
const CHECKS: [(&str, &str); 5] = [
    (
        "the version of the event does not follow the one before it in its stream",
        "select min(position) from (
             select i.position, i.version, coalesce(s.version, 0)
                 + row_number() over (partition by i.tenant_id, i.stream_id order by i.position) as expected
             from imported i left join es.stream s on s.stream_id = i.stream_id and s.tenant_id = i.tenant_id
         ) e where version <> expected",
    ),
    (
        "the category is not that of its stream",
        "select min(position) from (
             select i.position, i.category, coalesce(s.category, first_value(i.category)
                 over (partition by i.tenant_id, i.stream_id order by i.position)) as expected
             from imported i left join es.stream s on s.stream_id = i.stream_id and s.tenant_id = i.tenant_id
         ) e where category <> expected",
    ),
    (
        "the hash is not that of the event and of the one before it in its stream",
        "select min(position) from (
             select i.position, i.version, i.hash, i.digest, coalesce(
                    lag(i.hash) over (partition by i.tenant_id, i.stream_id order by i.position), s.head_hash) as before
             from imported i left join es.stream s on s.stream_id = i.stream_id and s.tenant_id = i.tenant_id
         ) e where hash <> es.event_hash(before, version, digest)",
    ),
    (
        "the event's id has been there before",
        "select min(position) from (
             select position, row_number() over (partition by event_id order by position) as nth from imported
         ) e where nth > 1",
    ),
    (
        "the command has been there before",
        "select min(position) from (
             select i.position, row_number() over (partition by i.tenant_id, i.command_id order by i.position) as nth,
                    c.command_id is not null as is_known
             from imported i
             left join es.command c on c.command_id = i.command_id and c.tenant_id = i.tenant_id
             where i.is_remembered
         ) e where nth > 1 or is_known",
    ),
];

pub(super) async fn check(connection: &mut PgConnection, header: &Header) -> Result<(), ImportError> {
    sqlx::query("analyze imported").execute(&mut *connection).await?;
    for (what, statement) in CHECKS {
        let first: Option<i64> = sqlx::query_scalar(statement).fetch_one(&mut *connection).await?;
        if let Some(position) = first {
            return Err(fault(line_of(position, header), what));
        }
    }
    Ok(())
}

/// Makes the events part of the log: partitions, rows, heads of streams, seals, remembered commands, and the head.
pub(super) async fn publish(
    connection: &mut PgConnection,
    header: &Header,
    closed: &[ClosedLine],
) -> Result<(), ImportError> {
    // First, because partitions are created up to two ahead of it.
    sqlx::query("update es.head set position = $1").bind(header.to).execute(&mut *connection).await?;
    sqlx::query("select es.create_partitions()").execute(&mut *connection).await?;
    for statement in PUBLISH {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    close_streams(connection, closed).await
}

const PUBLISH: [&str; 6] = [
    "update es.stream s set version = i.version, head_hash = i.hash
     from (select distinct on (tenant_id, stream_id) tenant_id, stream_id, version, hash from imported
           order by tenant_id, stream_id, position desc) i
     where s.stream_id = i.stream_id and s.tenant_id = i.tenant_id",
    "insert into es.stream (tenant_id, stream_id, category, version, stream_no, head_hash)
     select tenant_id, stream_id, min(category), max(version), min(position),
            (array_agg(hash order by position desc))[1]
     from imported i
     where not exists (select from es.stream s where s.stream_id = i.stream_id and s.tenant_id = i.tenant_id)
     group by tenant_id, stream_id",
    "insert into es.event (position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id, event_id,
                           command_id, correlation_id, causation_id, actor_id, hash, trace, payload)
     select i.position, s.stream_no, i.version, i.recorded_at, i.tenant_id, i.category, i.type_id, i.stream_id,
            i.event_id, i.command_id, i.correlation_id, i.causation_id, i.actor_id, i.hash, i.trace, i.payload
     from imported i join es.stream s on s.stream_id = i.stream_id and s.tenant_id = i.tenant_id
     order by i.position",
    "insert into es.seal (last_position, first_position, recorded_at, seal)
     select position, 1 + lag(position, 1, (select min(position) - 1 from imported)) over (order by position),
            recorded_at, seal
     from imported where seal is not null",
    "update es.head h set seal = i.seal, recorded_at = i.recorded_at
     from (select seal, recorded_at from imported where seal is not null order by position desc limit 1) i",
    "insert into es.command (tenant_id, command_id, fingerprint, first_position, last_position, at)
     select tenant_id, command_id, fingerprint, first_position, position, executed_at
     from imported where is_remembered",
];

/// The file has all streams that are closed, so the others are open.
async fn close_streams(connection: &mut PgConnection, closed: &[ClosedLine]) -> Result<(), ImportError> {
    sqlx::query(
        "update es.stream s set state = coalesce(c.state, 0), state_changed_at = c.changed_at
         from es.stream o
         left join unnest($1::uuid[], $2::int[], $3::smallint[], $4::timestamptz[]) c (stream, tenant, state, changed_at)
           on c.stream = o.stream_id and c.tenant = o.tenant_id
         where s.stream_id = o.stream_id and s.tenant_id = o.tenant_id and s.state <> coalesce(c.state, 0)",
    )
    .bind(closed.iter().map(|line| line.closed_stream).collect::<Vec<_>>())
    .bind(closed.iter().map(|line| line.tenant).collect::<Vec<_>>())
    .bind(closed.iter().map(|line| line.state).collect::<Vec<_>>())
    .bind(closed.iter().map(|line| line.changed_at.map(Timestamp::get)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
