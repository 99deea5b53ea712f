//! The walk over the seals: each batch beside its events, and beside the batch before it.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{Check, Finding};
use crate::Store;
use crate::chain::{self, Hash, NOTHING};
use crate::error::StoreError;

/// Batches that one step looks at.
const PAGE_LEN: i64 = 200;

/// Up to where the seals have been looked at, and the last of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    position: i64,
    seal: Hash,
}

/// A batch as it was sealed.
#[derive(FromRow)]
pub(crate) struct SealRow {
    pub(crate) last_position: i64,
    pub(crate) first_position: i64,
    recorded_at: OffsetDateTime,
    seal: Vec<u8>,
}

/// What of an event goes into its batch's seal.
#[derive(FromRow)]
pub(crate) struct EventRow {
    pub(crate) position: i64,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) hash: Vec<u8>,
}

impl SealRow {
    /// As what the next batch is sealed behind.
    pub(crate) fn sealed(&self) -> Sealed {
        Sealed { position: self.last_position, seal: as_hash(&self.seal) }
    }
}

/// The seal behind which a range that begins at a position is verified: that of the batch with the position before it. A
/// batch that the range cuts is left out, because the other half of it may be archived.
pub(crate) async fn before(store: &Store, from: i64) -> Result<Sealed, StoreError> {
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "select first_position, last_position, seal from es.seal where last_position >= $1
         order by last_position limit 1",
    )
    .bind(from - 1)
    .fetch_optional(store.pool())
    .await?;
    let (_, position, seal) = row.filter(|(first, ..)| *first < from).unwrap_or((0, 0, NOTHING.to_vec()));
    // A seal of another length is found where it is looked at; here it only makes the next one wrong as well.
    Ok(Sealed { position, seal: as_hash(&seal) })
}

/// The next seals after a position, of batches that begin up to another.
pub(crate) async fn after(store: &Store, position: i64, to: i64) -> Result<Vec<SealRow>, StoreError> {
    Ok(sqlx::query_as(
        "select last_position, first_position, recorded_at, seal from es.seal
         where last_position > $1 and first_position <= $2 order by last_position limit $3",
    )
    .bind(position)
    .bind(to)
    .bind(PAGE_LEN)
    .fetch_all(store.pool())
    .await?)
}

/// Looks at the seals after one, up to a position; answers the last of them, none where there are no more.
pub(super) async fn step(
    store: &Store,
    mut sealed: Sealed,
    to: i64,
    findings: &mut Vec<Finding>,
) -> Result<Option<Sealed>, StoreError> {
    let seals = after(store, sealed.position, to).await?;
    let Some(last) = seals.last() else {
        if sealed.position < to {
            findings.push(at(sealed.position + 1, format!("no batch of the positions up to {to} is sealed")));
        }
        return Ok(None);
    };
    let events: Vec<EventRow> = sqlx::query_as(
        "select position, recorded_at, hash from es.event where position > $1 and position <= $2 order by position",
    )
    .bind(sealed.position)
    .bind(last.last_position)
    .fetch_all(store.pool())
    .await?;
    let mut rest = events.as_slice();
    for seal in &seals {
        let len = rest.iter().take_while(|event| event.position <= seal.last_position).count();
        let (batch, after) = rest.split_at(len);
        rest = after;
        findings.extend(faults(&sealed, seal, batch).into_iter().map(|(position, what)| at(position, what)));
        // Each seal is judged by what is stored before it, so that one wrong seal is one finding and its successor's.
        sealed = seal.sealed();
    }
    Ok(Some(sealed))
}

fn as_hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or(NOTHING)
}

/// What is wrong with a batch, and where.
pub(crate) fn faults(before: &Sealed, seal: &SealRow, batch: &[EventRow]) -> Vec<(i64, String)> {
    let (first, last) = (seal.first_position, seal.last_position);
    let mut faults = Vec::new();
    if first != before.position + 1 {
        let what = format!("the batch says that it begins at {first}, and the one before ends at {}", before.position);
        faults.push((before.position + 1, what));
    }
    for event in batch.iter().filter(|event| event.recorded_at != seal.recorded_at) {
        faults.push((event.position, "it was recorded at another time than its batch".to_owned()));
    }
    let digest = chain::batch_digest(batch.iter().map(|event| &event.hash));
    let expected = chain::batch_seal(&before.seal, (first, last), seal.recorded_at, &digest);
    if seal.seal != expected {
        let what = format!("the batch of the positions {first} to {last} is not as it was sealed");
        faults.push((first, what));
    }
    faults
}

fn at(position: i64, what: String) -> Finding {
    let position = Some(position);
    Finding { check: Check::Chain, position, tenant: None, stream_id: None, version: None, what }
}
