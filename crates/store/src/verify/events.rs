//! The walk over the positions: each event beside the place it should have and the one before it in its stream.

use pcs_domain::{DomainEvent, EventSet};
use sqlx::FromRow;

use super::{Check, Finding, Verification};
use crate::chain::{self, Hash, NOTHING};
use crate::error::StoreError;
use crate::rows::{PAGE_BYTES_MAX, StreamRange};
use crate::stored::stored_columns;
use crate::{Store, StoredEvent};

/// Positions that one step looks at.
const PAGE_LEN: i64 = 5_000;

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    event: StoredEvent,
    type_id: i16,
    /// The position of the event one version before it, where that stands before it.
    previous_position: Option<i64>,
    previous_hash: Option<Vec<u8>>,
    /// The category in the stream's head; none where the stream has no head.
    head_category: Option<i16>,
    /// The number in the stream's head.
    head_stream_no: Option<i64>,
}

/// Looks at the next page; answers up to where everything has been looked at.
pub(super) async fn step(
    store: &Store,
    verification: &Verification,
    findings: &mut Vec<Finding>,
) -> Result<i64, StoreError> {
    let after = verification.position;
    let to = (after + PAGE_LEN).min(verification.to);
    let mut rows = page(store, after, to).await?;
    for row in rows.iter_mut().filter(|row| row.event.version > 1 && row.previous_position.is_none()) {
        find_archived(store, row).await?;
    }
    let bytes: usize = rows.iter().map(|row| row.event.payload.len()).sum();
    let is_cut = i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX);
    let up_to = rows.last().filter(|_| is_cut).map_or(to, |last| last.event.position);
    let mut expected = after + 1;
    for row in &rows {
        if verification.has(Check::Positions) {
            missing(expected, row.event.position - 1, findings);
        }
        expected = row.event.position + 1;
        if verification.has(Check::Versions) {
            check_place(row, findings);
        }
        if verification.has(Check::Chain) {
            check_hash(row, findings);
        }
        if verification.has(Check::Schemas) {
            check_payload(store, row, findings);
        }
    }
    if verification.has(Check::Positions) {
        missing(expected, up_to, findings);
    }
    Ok(up_to)
}

async fn page(store: &Store, after: i64, to: i64) -> Result<Vec<Row>, StoreError> {
    let statement = concat!(
        "select ",
        stored_columns!(),
        ", e.type_id, p.position as previous_position, p.hash as previous_hash,
                s.category as head_category, s.stream_no as head_stream_no
         from (
             select page.*, sum(octet_length(payload)) over (order by position) as bytes
             from es.event page where position > $1 and position <= $2
         ) e
         left join es.event_type t using (type_id)
         left join es.stream s on s.stream_id = e.stream_id and s.tenant_id = e.tenant_id
         left join lateral (
             select p.position, p.hash from es.event p
             where p.stream_no = e.stream_no and p.version = e.version - 1 and p.position < e.position
             limit 1
         ) p on e.version > 1
         where e.bytes - octet_length(e.payload) < $3 order by e.position"
    );
    Ok(sqlx::query_as(statement).bind(after).bind(to).bind(PAGE_BYTES_MAX).fetch_all(store.pool()).await?)
}

/// Looks for the event before one in the archive: that it is not in the database does not mean that it is lost.
async fn find_archived(store: &Store, row: &mut Row) -> Result<(), StoreError> {
    let StoredEvent { tenant, stream_id, version, position, .. } = row.event;
    let range = StreamRange {
        tenant,
        stream_id,
        after: version - 2,
        until: version - 1,
        limit: 1,
        hidden_too: true,
        longest: i64::MAX,
    };
    let found = store.stream_rows(&range).await?;
    if let Some(previous) = found.into_iter().find(|found| found.version == version - 1 && found.position < position) {
        (row.previous_position, row.previous_hash) = (Some(previous.position), Some(previous.hash));
    }
    Ok(())
}

/// The positions that should be there and are not, as one finding at the first of them.
fn missing(first: i64, last: i64, findings: &mut Vec<Finding>) {
    if first > last {
        return;
    }
    let what = if first == last {
        format!("no event has position {first}")
    } else {
        format!("no events have the positions {first} to {last}")
    };
    let position = Some(first);
    findings.push(Finding { check: Check::Positions, position, tenant: None, stream_id: None, version: None, what });
}

fn check_place(row: &Row, findings: &mut Vec<Finding>) {
    let event = &row.event;
    let mut add = |what: String| findings.push(at(Check::Versions, event, what));
    if event.version < 1 {
        add(format!("version {} can't be", event.version));
    } else if event.version > 1 && row.previous_position.is_none() {
        add(format!("version {} of the stream does not stand before it", event.version - 1));
    }
    match row.head_category {
        None => add("the stream has no head".to_owned()),
        Some(category) if category != event.category => {
            add(format!("its category is {}, and that of its stream is {category}", event.category));
        }
        Some(_) => (),
    }
    if row.head_stream_no.is_some_and(|number| number != event.stream_no) {
        add(format!("its stream has the number {:?}, and it says {}", row.head_stream_no, event.stream_no));
    }
    if event.version == 1 && event.stream_no != event.position {
        add(format!("the first event of a stream gives it its number, and this one says {}", event.stream_no));
    }
}

/// The hash over the content and the event before it. Where that one is not to be found, nothing can be said.
fn check_hash(row: &Row, findings: &mut Vec<Finding>) {
    let event = &row.event;
    let before: Hash = match (event.version, &row.previous_hash) {
        (..=1, _) => NOTHING,
        (_, Some(hash)) => match hash.as_slice().try_into() {
            Ok(hash) => hash,
            Err(_) => return findings.push(at(Check::Chain, event, "the hash before it is not 32 bytes".to_owned())),
        },
        (_, None) => return findings.push(at(Check::Chain, event, "the event before it is missing".to_owned())),
    };
    let Some(digest) = event.digest() else {
        let what = format!("its category {} is not known to this build", event.category);
        return findings.push(at(Check::Chain, event, what));
    };
    if event.hash != chain::event_hash(&before, event.version, &digest) {
        let what = "its hash is not that of its content and of the event before it".to_owned();
        findings.push(at(Check::Chain, event, what));
    }
}

fn check_payload(store: &Store, row: &Row, findings: &mut Vec<Finding>) {
    let event = &row.event;
    if event.type_name.is_empty() {
        findings.push(at(Check::Schemas, event, format!("its type {} is not registered", row.type_id)));
        return;
    }
    let checked = event.decode().and_then(|decoded| {
        let schemas = &store.inner.schemas;
        match schemas.written(&event.type_name, event.schema_version) {
            Some(written) => schemas.check(written, &serde_json::from_str(&event.payload)?),
            // A former version: what it was raised to is of the schema that is written now.
            None => check_raised(store, &decoded),
        }
    });
    if let Err(error) = checked {
        findings.push(at(Check::Schemas, event, reason(&error)));
    }
}

fn check_raised(store: &Store, event: &DomainEvent) -> Result<(), StoreError> {
    let (event_type, payload) = match event {
        DomainEvent::PromptCard(event) => (event.event_type(), event.encode()?),
        DomainEvent::TestRun(event) => (event.event_type(), event.encode()?),
        DomainEvent::Execution(event) => (event.event_type(), event.encode()?),
        DomainEvent::DataSubject(event) => (event.event_type(), event.encode()?),
        DomainEvent::JobPolicy(event) => (event.event_type(), event.encode()?),
        DomainEvent::Schedule(event) => (event.event_type(), event.encode()?),
        DomainEvent::Job(event) => (event.event_type(), event.encode()?),
        DomainEvent::Regrade(event) => (event.event_type(), event.encode()?),
        DomainEvent::Review(event) => (event.event_type(), event.encode()?),
        // Only a reader of pages is handed one, to pass by; what can't be decoded has been found already.
        DomainEvent::Unread(_) => return Ok(()),
    };
    store.inner.schemas.check(event_type, &payload)
}

/// Why, without the place: the finding has it already.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Decode { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

fn at(check: Check, event: &StoredEvent, what: String) -> Finding {
    Finding {
        check,
        position: Some(event.position),
        tenant: Some(event.tenant.0),
        stream_id: Some(event.stream_id),
        version: Some(event.version),
        what,
    }
}
