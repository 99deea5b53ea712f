//! Where a batch meets surprises: each of its commands is looked at under the lock of the head, and those that may go
//! on are appended in the same transaction.

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::commit;
use crate::append::{Append, Appended, Expected, Place, StreamWrite};
use crate::chain::{Hash, Tip};
use crate::error::{AppendError, StoreError};
use crate::stream_state::StreamState;

/// What the log says of one stream of a command, and of the command.
#[derive(Default, sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) version: i64,
    pub(crate) state: i16,
    pub(crate) stream_no: Option<i64>,
    pub(crate) head_hash: Option<Vec<u8>>,
    pub(crate) known: bool,
    pub(crate) fingerprint: Option<Uuid>,
    pub(crate) first_position: Option<i64>,
    pub(crate) last_position: Option<i64>,
}

/// What is to become of a command.
pub(crate) enum Verdict {
    /// Its events are appended, at the places that are filled in.
    Goes(Append),
    /// It is answered as it is.
    Ends(Result<Appended, AppendError>),
}

/// Judges and appends; one outcome per command.
pub(super) async fn one_by_one(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Vec<Result<Appended, AppendError>>, StoreError> {
    let mut transaction = connection.begin().await?;
    let mut found = look(&mut transaction, batch).await?.into_iter();
    let mut verdicts = Vec::with_capacity(batch.len());
    for append in batch {
        let streams: Vec<Found> = found.by_ref().take(append.streams.len()).collect();
        // What is wrong with one command's streams is its own trouble, not that of its neighbours.
        verdicts.push(judge(append, &streams).unwrap_or_else(|error| Verdict::Ends(Err(error.into()))));
    }
    let going: Vec<&Append> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Goes(append) => Some(append),
            Verdict::Ends(_) => None,
        })
        .collect();
    let mut appended = Vec::new();
    if !going.is_empty() {
        // Nobody else can have moved anything since the look: this transaction holds the head.
        let all = commit::as_it_is(&mut transaction, &going).await?;
        appended = all.ok_or_else(|| StoreError::Unknowable("the log changed under its lock".to_owned()))?;
    }
    transaction.commit().await?;
    let mut appended = appended.into_iter();
    Ok(verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Goes(_) => {
                appended.next().ok_or_else(|| StoreError::Unknowable("an outcome is missing".to_owned()).into())
            }
            Verdict::Ends(outcome) => outcome,
        })
        .collect())
}

/// One row per stream of each command, in order; takes the lock of the head.
async fn look(connection: &mut PgConnection, batch: &[&Append]) -> Result<Vec<Found>, StoreError> {
    let (mut tenants, mut streams, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for append in batch {
        for stream in &append.streams {
            tenants.push(append.context.tenant.0);
            streams.push(stream.stream_id);
            known.push(append.context.fingerprint.map(|_| append.context.command_id.0));
        }
    }
    let found = sqlx::query_as(
        "select version, state, stream_no, head_hash, known, fingerprint, first_position, last_position
         from es.judge($1, $2, $3)",
    )
    .bind(tenants)
    .bind(streams)
    .bind(known)
    .fetch_all(connection)
    .await?;
    Ok(found)
}

/// Judges a command by what the log has of each of its streams, in order.
pub(crate) fn judge(append: &Append, streams: &[Found]) -> Result<Verdict, StoreError> {
    let version = streams.first().map_or(0, |found| found.version);
    if let Some(first) = streams.first().filter(|found| found.known) {
        return Ok(Verdict::Ends(if first.fingerprint == append.context.fingerprint {
            Ok(Appended {
                first_position: first.first_position.unwrap_or_default(),
                last_position: first.last_position.unwrap_or_default(),
                version,
                duplicate: true,
            })
        } else {
            Err(AppendError::KeyReused)
        }));
    }
    let mut going = Append::new(append.context.clone());
    for (stream, found) in append.streams.iter().zip(streams) {
        let stream_id = stream.stream_id;
        let unknown = StoreError::UnknownState { stream_id, number: found.state };
        match StreamState::from_number(found.state).ok_or(unknown)? {
            StreamState::Open => (),
            state => return Ok(Verdict::Ends(Err(AppendError::StreamClosed { stream_id, state }))),
        }
        if !stream.expected.is_met_by(found.version) {
            let conflict = AppendError::Conflict { expected: stream.expected, actual: found.version };
            return Ok(Verdict::Ends(Err(conflict)));
        }
        if !stream.events.is_empty() {
            let place = Some(Place::behind(found.tip(stream_id)?, &stream.digests));
            going.streams.push(StreamWrite { place, expected: Expected::Exact(found.version), ..stream.clone() });
        }
    }
    // A command that only checks has passed its checks, and there is nothing to write.
    let nothing = Appended { first_position: 0, last_position: 0, version, duplicate: false };
    Ok(if going.streams.is_empty() { Verdict::Ends(Ok(nothing)) } else { Verdict::Goes(going) })
}

impl Found {
    fn tip(&self, stream_id: Uuid) -> Result<Option<Tip>, StoreError> {
        let Some((stream_no, hash)) = self.stream_no.zip(self.head_hash.as_deref()) else { return Ok(None) };
        let hash: Hash = hash.try_into().map_err(|_| StoreError::Damaged {
            stream_id,
            what: format!("its head has a hash of {} bytes instead of 32", hash.len()),
        })?;
        Ok(Some(Tip { stream_no, version: self.version, hash }))
    }
}
