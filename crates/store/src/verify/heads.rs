//! What the log says of itself: the head row, and the head of each stream, beside the events that are there.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Check, Finding};
use crate::Store;
use crate::error::StoreError;

/// Streams that one step looks at.
const PAGE_LEN: i64 = 2_000;

#[derive(FromRow)]
struct Row {
    stream_id: Uuid,
    tenant_id: i32,
    version: i64,
    events: i64,
    first_version: Option<i64>,
    last_version: Option<i64>,
    last_position: Option<i64>,
    head_hash: Vec<u8>,
    /// The hash of the event with the head's version.
    last_hash: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct HeadRow {
    head: i64,
    newest: i64,
    seal: Vec<u8>,
    last_sealed: i64,
    last_seal: Option<Vec<u8>>,
}

/// The head row beside the newest event and the newest seal.
pub(super) async fn compare_head(
    store: &Store,
    checks: &[Check],
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    // One statement, one state of the database: appends in between change all of it or nothing.
    let row: HeadRow = sqlx::query_as(
        "select h.position as head, coalesce((select max(position) from es.event), 0) as newest, h.seal,
                coalesce(s.last_position, 0) as last_sealed, s.seal as last_seal
         from es.head h
         left join (select last_position, seal from es.seal order by last_position desc limit 1) s on true",
    )
    .fetch_one(store.pool())
    .await?;
    let HeadRow { head, newest, seal, last_sealed, last_seal } = row;
    let mut add = |check, what| {
        let position = Some(newest);
        findings.push(Finding { check, position, tenant: None, stream_id: None, version: None, what });
    };
    if checks.contains(&Check::Positions) && head != newest {
        add(Check::Positions, format!("the newest event is at position {newest}, and the head says {head}"));
    }
    if checks.contains(&Check::Chain) && (last_sealed != head || last_seal.is_some_and(|last| last != seal)) {
        add(
            Check::Chain,
            format!("the newest seal is of position {last_sealed}, and is not that of the head at {head}"),
        );
    }
    Ok(())
}

/// Looks at the streams after one; answers the last of them, none where there are no more.
pub(super) async fn step(
    store: &Store,
    after: (Uuid, i32),
    checks: &[Check],
    findings: &mut Vec<Finding>,
) -> Result<Option<(Uuid, i32)>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select s.stream_id, s.tenant_id, s.version, e.events, e.first_version, e.last_version, e.last_position,
                s.head_hash, l.hash as last_hash
         from (
             select * from es.stream where (stream_id, tenant_id) > ($1, $2) order by stream_id, tenant_id limit $3
         ) s
         cross join lateral (
             select count(*) as events, min(e.version) as first_version, max(e.version) as last_version,
                    max(e.position) as last_position
             from es.event e where e.stream_no = s.stream_no
         ) e
         left join lateral (
             select l.hash from es.event l where l.stream_no = s.stream_no and l.version = s.version limit 1
         ) l on true
         order by s.stream_id, s.tenant_id",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(PAGE_LEN)
    .fetch_all(store.pool())
    .await?;
    for row in &rows {
        if checks.contains(&Check::Versions) {
            findings.extend(compare(row));
        }
        if checks.contains(&Check::Chain) && row.last_hash.as_ref().is_some_and(|hash| *hash != row.head_hash) {
            let what = "the hash in the stream's head is not that of its newest event".to_owned();
            findings.push(at(Check::Chain, row, what));
        }
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|len| len == PAGE_LEN);
    Ok(rows.last().filter(|_| is_full).map(|last| (last.stream_id, last.tenant_id)))
}

fn compare(row: &Row) -> Option<Finding> {
    let head = row.version;
    let what = match (row.first_version, row.last_version) {
        (None, _) | (_, None) => format!("the head says version {head}, and the stream has no events"),
        (Some(1), Some(last)) if last == head && row.events == head => return None,
        (Some(1), Some(last)) if row.events == last => {
            format!("the newest version is {last}, and the head says {head}")
        }
        (Some(first), Some(last)) => {
            format!("there are {} events with the versions {first} to {last}, and the head says {head}", row.events)
        }
    };
    Some(at(Check::Versions, row, what))
}

fn at(check: Check, row: &Row, what: String) -> Finding {
    Finding {
        check,
        position: row.last_position,
        tenant: Some(row.tenant_id),
        stream_id: Some(row.stream_id),
        version: row.last_version,
        what,
    }
}
