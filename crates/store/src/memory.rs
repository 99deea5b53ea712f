//! An event log in memory, for tests of domains and readers that need no PostgreSQL; nothing of it outlives it.
//!
//! It keeps what PostgreSQL keeps, encoded and hashed in the same way, and commands are judged by the same code.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::ports::Clock;
use pcs_domain::{Aggregate, DomainEvent, EventSet, EventType, Timestamp};
use uuid::Uuid;

use crate::append::{Append, Appended, Behind, Encoder, Expected, NewEvent, StreamWrite};
use crate::appender::judge::{Found, Verdict, judge};
use crate::chain::{Hash, Tip};
use crate::error::{AppendError, StoreError};
use crate::log::{EventLog, Remembered};
use crate::read::Loaded;
use crate::recorded::{Record, Recorded};
use crate::schemas::Schemas;
use crate::stream_state::StreamState;
use crate::types::written;

/// The log in memory. Its times are those of the clock that it is made with.
pub struct MemoryLog<C> {
    schemas: Schemas,
    type_ids: HashMap<EventType, i16>,
    clock: C,
    kept: Mutex<Kept>,
}

/// An id of a tenant's stream or command.
type Key = (TenantId, Uuid);

#[derive(Default)]
struct Kept {
    /// The event at position `n` is the one at index `n - 1`.
    events: Vec<Stored>,
    streams: HashMap<Key, Stream>,
    commands: HashMap<Key, (Remembered, i64)>,
}

struct Stored {
    recorded: Recorded,
    payload: String,
    hash: Hash,
}

#[derive(Default)]
struct Stream {
    state: Option<StreamState>,
    /// Indices of its events; the first one's position is the stream's number.
    events: Vec<usize>,
}

impl Stream {
    fn state(&self) -> StreamState {
        self.state.unwrap_or(StreamState::Open)
    }

    fn is_hidden(&self) -> bool {
        matches!(self.state(), StreamState::Deleted | StreamState::Tombstoned)
    }
}

impl<C: Clock> MemoryLog<C> {
    /// An empty log.
    ///
    /// # Errors
    /// Where a schema of this build is wrong.
    pub fn new(clock: C) -> Result<Self, StoreError> {
        let type_ids = (1..).zip(written()).map(|(id, event_type)| (event_type, id)).collect();
        Ok(Self { schemas: Schemas::compile()?, type_ids, clock, kept: Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is kept changes in one go, at the end of an append.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder { schemas: &self.schemas, type_ids: &self.type_ids }
    }
}

impl Kept {
    /// What `es.judge` says of each stream of an append.
    fn found(&self, append: &Append) -> Vec<Found> {
        let known = append.context.fingerprint.and_then(|_| self.commands.get(&command_of(append)));
        let of_stream = |stream: &StreamWrite| {
            let own = self.streams.get(&(append.context.tenant, stream.stream_id));
            let newest = own.and_then(|own| self.events.get(*own.events.last()?));
            Found {
                version: newest.map_or(0, |newest| newest.recorded.version),
                state: own.map_or(StreamState::Open, Stream::state) as i16,
                stream_no: own.and_then(|own| Some(self.events.get(*own.events.first()?)?.recorded.position)),
                head_hash: newest.map(|newest| newest.hash.to_vec()),
                known: known.is_some(),
                fingerprint: known.and_then(|(remembered, _)| remembered.fingerprint),
                first_position: known.map(|(_, first)| *first),
                last_position: known.map(|(remembered, _)| remembered.last_position),
            }
        };
        append.streams.iter().map(of_stream).collect()
    }

    fn head(&self) -> i64 {
        i64::try_from(self.events.len()).unwrap_or(i64::MAX)
    }

    /// The events of an append that was judged, as they will be kept.
    fn made(&self, append: &Append, recorded_at: Timestamp) -> Result<Vec<Stored>, StoreError> {
        let mut made: Vec<Stored> = Vec::new();
        for stream in &append.streams {
            let Some(place) = &stream.place else { continue };
            for ((version, event), hash) in (place.version + 1..).zip(&stream.events).zip(&place.hashes) {
                let position = self.head() + i64::try_from(made.len()).unwrap_or(i64::MAX) + 1;
                let at = (position, version, recorded_at);
                let recorded = recorded(append, stream, event, at)?;
                made.push(Stored { recorded, payload: event.payload.clone(), hash: *hash });
            }
        }
        Ok(made)
    }

    fn keep(&mut self, append: &Append, made: Vec<Stored>) -> Appended {
        let first_position = self.head() + 1;
        for stored in made {
            let key = (stored.recorded.tenant, stored.recorded.stream_id);
            self.streams.entry(key).or_default().events.push(self.events.len());
            self.events.push(stored);
        }
        let last_position = self.head();
        if let Some(fingerprint) = append.context.fingerprint {
            let remembered = Remembered { fingerprint: Some(fingerprint), last_position };
            self.commands.insert(command_of(append), (remembered, first_position));
        }
        let version = append.streams.first().map_or(0, |stream| {
            let before = stream.place.as_ref().map_or(0, |place| place.version);
            before + i64::try_from(stream.events.len()).unwrap_or(i64::MAX)
        });
        Appended { first_position, last_position, version, duplicate: false }
    }

    /// The events of a stream that is not hidden, in order.
    fn visible(&self, tenant: TenantId, stream_id: Uuid) -> impl Iterator<Item = &Stored> {
        let stream = self.streams.get(&(tenant, stream_id)).filter(|stream| !stream.is_hidden());
        stream.into_iter().flat_map(|stream| &stream.events).filter_map(|index| self.events.get(*index))
    }
}

fn command_of(append: &Append) -> Key {
    (append.context.tenant, append.context.command_id.0)
}

/// The event as a reader gets it: decoded from what is stored of it.
fn recorded(
    append: &Append,
    stream: &StreamWrite,
    event: &NewEvent,
    (position, version, recorded_at): (i64, i64, Timestamp),
) -> Result<Recorded, StoreError> {
    let EventType { name, version: schema_version } = event.event_type;
    let stream_id = stream.stream_id;
    let decoded = DomainEvent::decode(stream.category, name, schema_version, &event.payload);
    let context = &append.context;
    Ok(Recorded::from(Record {
        position,
        tenant: context.tenant,
        category: stream.category,
        stream_id,
        version,
        event_id: event.event_id,
        type_name: name.into(),
        schema_version,
        recorded_at,
        command_id: context.command_id,
        correlation_id: context.correlation_id,
        causation_id: context.causation_id,
        traceparent: context.traceparent.clone(),
        actor: context.actor,
        event: decoded.map_err(|source| StoreError::Decode { position, stream_id, version, source })?,
    }))
}

fn wanted(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

impl<C: Clock> EventLog for MemoryLog<C> {
    fn write<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        expected: Expected,
        events: &[E],
    ) -> Result<(), StoreError> {
        self.encoder().add(append, (stream_id, expected, Behind::Whatever), events)
    }

    fn write_behind<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        tip: Option<Tip>,
        events: &[E],
    ) -> Result<(), StoreError> {
        let expected = Expected::Exact(tip.map_or(0, |tip| tip.version));
        self.encoder().add(append, (stream_id, expected, Behind::Tip(tip)), events)
    }

    async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        append.link();
        let mut kept = self.kept();
        match judge(&append, &kept.found(&append))? {
            Verdict::Ends(outcome) => outcome,
            Verdict::Goes(going) => {
                let made = kept.made(&going, self.clock.now())?;
                Ok(kept.keep(&going, made))
            }
        }
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        after_version: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        let kept = self.kept();
        let after = kept.visible(tenant, stream_id).filter(|stored| stored.recorded.version > after_version);
        Ok(after.take(wanted(limit)).map(|stored| stored.recorded.clone()).collect())
    }

    async fn read_after(&self, position: i64, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        let kept = self.kept();
        let after = kept.events.iter().skip(wanted(position)).take(wanted(limit));
        Ok(after.map(|stored| stored.recorded.clone()).collect())
    }

    async fn head(&self) -> Result<i64, StoreError> {
        Ok(self.kept().head())
    }

    async fn load_at<A: Aggregate>(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        version: i64,
    ) -> Result<Loaded<A>, StoreError> {
        let kept = self.kept();
        let mut loaded = Loaded::<A>::default();
        let mut stream_no = None;
        for Stored { recorded, payload, hash } in kept.visible(tenant, stream_id) {
            let Record { position, version: at, .. } = **recorded;
            if at > version {
                break;
            }
            let event = A::Event::decode(&recorded.type_name, recorded.schema_version, payload)
                .map_err(|source| StoreError::Decode { position, stream_id, version: at, source })?;
            loaded.state.evolve(event);
            loaded.revision = at;
            let stream_no = *stream_no.get_or_insert(position);
            loaded.tip = Some(Tip { stream_no, version: at, hash: *hash });
        }
        Ok(loaded)
    }

    async fn remembered(&self, tenant: TenantId, command_id: CommandId) -> Result<Option<Remembered>, StoreError> {
        Ok(self.kept().commands.get(&(tenant, command_id.0)).map(|(remembered, _)| *remembered))
    }

    async fn version_at(&self, tenant: TenantId, stream_id: Uuid, position: i64) -> Result<i64, StoreError> {
        let kept = self.kept();
        let until = kept.visible(tenant, stream_id).take_while(|stored| stored.recorded.position <= position);
        Ok(until.last().map_or(0, |stored| stored.recorded.version))
    }

    async fn set_stream_state(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        wanted: StreamState,
    ) -> Result<Option<StreamState>, StoreError> {
        let mut kept = self.kept();
        let Some(stream) = kept.streams.get_mut(&(tenant, stream_id)) else { return Ok(None) };
        let before = stream.state();
        if before != StreamState::Tombstoned {
            stream.state = Some(wanted);
        }
        Ok(Some(before))
    }
}
