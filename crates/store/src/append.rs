//! What goes into one append: a command's events, the streams they belong to, and what is expected of them.

use std::collections::HashMap;

use pcs_domain::canonical::canonical_json;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::{Category, EventSet, EventType};
use uuid::Uuid;

use crate::Store;
use crate::chain::{Content, Hash, NOTHING, Tip, event_hash};
use crate::error::{AppendError, StoreError};
use crate::schemas::Schemas;

/// Largest payload of one event, in bytes of its JSON text.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest payload of all events of one append, in bytes: one message to the database holds them all.
pub const APPEND_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where a command comes from; copied into each of its events.
#[derive(Clone, Debug)]
pub struct CommandContext {
    /// The tenant.
    pub tenant: TenantId,
    /// Who sent it.
    pub actor: Option<ActorId>,
    /// Its id. With a `fingerprint` it is remembered, and sending it again has the first result.
    pub command_id: CommandId,
    /// A digest of the command's content: the same id with another one is refused. Without it nothing is remembered,
    /// which is cheaper, and right where the expected version alone refuses a second time.
    pub fingerprint: Option<Uuid>,
    /// What it belongs to, such as a request.
    pub correlation_id: Option<Uuid>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl CommandContext {
    /// The context of a command that nobody sent: it follows from something recorded.
    #[must_use]
    pub fn derived(tenant: TenantId, command_id: CommandId) -> Self {
        Self {
            tenant,
            actor: None,
            command_id,
            fingerprint: None,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
        }
    }
}

/// What a command expects of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// Nothing.
    Any,
    /// That it does not exist.
    NoStream,
    /// That it exists.
    Exists,
    /// That it is at exactly this version.
    Exact(i64),
}

impl Expected {
    /// Whether a stream at `version` (0: none) is as expected.
    #[must_use]
    pub fn is_met_by(self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == 0,
            Self::Exists => version > 0,
            Self::Exact(expected) => version == expected,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("a stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// An encoded event on its way into the log.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) event_id: Uuid,
    pub(crate) event_type: EventType,
    pub(crate) type_id: i16,
    pub(crate) payload: String,
}

/// The events of one stream, or only a check of it where there are none.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub(crate) stream_id: Uuid,
    pub(crate) category: Category,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) behind: Behind,
    /// The digests of the events' contents; made last, when the payloads are as they will be stored.
    pub(crate) digests: Vec<Hash>,
    /// Where the events go, where that is known before the head is locked.
    pub(crate) place: Option<Place>,
}

/// What the events of a stream go behind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behind {
    /// The appender looks it up.
    Whatever,
    /// This end, or nothing where the stream is new.
    Tip(Option<Tip>),
}

/// Where the events of one stream go: behind which, and with which hashes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The stream's number; none where it is new.
    pub(crate) stream_no: Option<i64>,
    /// The version before them.
    pub(crate) version: i64,
    /// Their hashes.
    pub(crate) hashes: Vec<Hash>,
}

impl Place {
    /// The place of events behind `tip`, or of the first ones where there is none.
    pub(crate) fn behind(tip: Option<Tip>, digests: &[Hash]) -> Self {
        let (mut hash, before) = tip.map_or((NOTHING, 0), |tip| (tip.hash, tip.version));
        let link = |(version, digest): (i64, &Hash)| {
            hash = event_hash(&hash, version, digest);
            hash
        };
        let hashes = (before + 1..).zip(digests).map(link).collect();
        Self { stream_no: tip.map(|tip| tip.stream_no), version: before, hashes }
    }
}

/// One command's append: all of its streams or none.
#[derive(Clone, Debug)]
pub struct Append {
    pub(crate) context: CommandContext,
    pub(crate) streams: Vec<StreamWrite>,
}

/// What an append did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// The position of the first event.
    pub first_position: i64,
    /// The position of the last event.
    pub last_position: i64,
    /// The version that the (first) stream is at.
    pub version: i64,
    /// Whether the command had been appended before; the positions are those of the first time.
    pub duplicate: bool,
}

impl Append {
    /// An append without streams yet.
    #[must_use]
    pub fn new(context: CommandContext) -> Self {
        Self { context, streams: Vec::new() }
    }

    /// Only checks a stream: the append fails where it is not as expected.
    #[must_use]
    pub fn check(mut self, category: Category, stream_id: Uuid, expected: Expected) -> Self {
        self.push((stream_id, category), expected, Behind::Whatever, Vec::new());
        self
    }

    pub(crate) fn push(
        &mut self,
        (stream_id, category): (Uuid, Category),
        expected: Expected,
        behind: Behind,
        events: Vec<NewEvent>,
    ) {
        let (digests, place) = (Vec::new(), None);
        self.streams.push(StreamWrite { stream_id, category, expected, events, behind, digests, place });
    }

    /// Hashes the events, and finds their places where the ends of their streams are known.
    pub(crate) fn link(&mut self) {
        let context = &self.context;
        for stream in &mut self.streams {
            let of = (stream.stream_id, stream.category);
            let digest = |event: &NewEvent| {
                let event_type = (event.event_type.name, event.event_type.version);
                Content::written(context, of, event.event_id, event_type, &event.payload).digest()
            };
            stream.digests = stream.events.iter().map(digest).collect();
            stream.place = match stream.behind {
                Behind::Whatever => None,
                Behind::Tip(tip) => Some(Place::behind(tip, &stream.digests)),
            };
        }
    }

    /// Whether nothing has to be looked up: it has events for each of its streams and says where they go.
    pub(crate) fn is_placed(&self) -> bool {
        !self.streams.is_empty()
            && self.streams.iter().all(|stream| stream.place.is_some() && !stream.events.is_empty())
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len().max(1)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.streams.iter().flat_map(|stream| &stream.events).map(|event| event.payload.len()).sum()
    }
}

/// Makes stored events of a domain's events.
pub(crate) struct Encoder<'a> {
    pub(crate) schemas: &'a Schemas,
    pub(crate) type_ids: &'a HashMap<EventType, i16>,
}

impl Encoder<'_> {
    pub(crate) fn add<E: EventSet>(
        &self,
        append: &mut Append,
        (stream_id, expected, behind): (Uuid, Expected, Behind),
        events: &[E],
    ) -> Result<(), StoreError> {
        if append.streams.iter().any(|stream| stream.stream_id == stream_id) {
            // Their versions would be counted from the same start.
            return Err(StoreError::StreamTwice { stream_id });
        }
        let mut encoded = Vec::with_capacity(events.len());
        for (nth, event) in events.iter().enumerate() {
            let event_type = event.event_type();
            let value = event.encode()?;
            self.schemas.check(event_type, &value)?;
            let payload = canonical_json(&value);
            if payload.len() > EVENT_BYTES_MAX {
                let what = format!("event {event_type}");
                return Err(StoreError::TooLarge { what, limit_bytes: EVENT_BYTES_MAX });
            }
            let type_id = self.type_ids.get(&event_type).copied().ok_or_else(|| StoreError::Schema {
                event_type: event_type.to_string(),
                path: String::new(),
                message: "the type is not registered".to_owned(),
            })?;
            // Derived, so that an append that is sent twice carries the same events.
            let name = format!("{stream_id}/{nth}");
            let event_id = Uuid::new_v5(&append.context.command_id.0, name.as_bytes());
            encoded.push(NewEvent { event_id, event_type, type_id, payload });
        }
        append.push((stream_id, E::CATEGORY), expected, behind, encoded);
        if append.bytes() > APPEND_BYTES_MAX {
            let what = "append, all events together,".to_owned();
            return Err(StoreError::TooLarge { what, limit_bytes: APPEND_BYTES_MAX });
        }
        Ok(())
    }
}

impl Store {
    /// Adds the events of one stream to an append; encodes them and checks them against their schemas.
    ///
    /// # Errors
    /// [`StoreError::Schema`] where an event is not of its schema, [`StoreError::StreamTwice`] where the append has the
    /// stream already.
    pub fn write<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        expected: Expected,
        events: &[E],
    ) -> Result<(), StoreError> {
        let new = matches!(expected, Expected::NoStream | Expected::Exact(0));
        let behind = if new { Behind::Tip(None) } else { Behind::Whatever };
        self.encoder().add(append, (stream_id, expected, behind), events)
    }

    /// Adds events behind the end of a stream as it was loaded; saves the look-up of that end.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_behind<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        tip: Option<Tip>,
        events: &[E],
    ) -> Result<(), StoreError> {
        let expected = Expected::Exact(tip.map_or(0, |tip| tip.version));
        self.encoder().add(append, (stream_id, expected, Behind::Tip(tip)), events)
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder { schemas: &self.inner.schemas, type_ids: self.inner.types.ids() }
    }

    /// Seals the personal data of an append and commits it, together with those of other callers; answers when it is
    /// durable.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] and [`AppendError::KeyReused`] wrote nothing; [`AppendError::Overloaded`] was not even
    /// tried; after [`StoreError::Unknowable`] the same append may be sent again.
    pub async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        self.seal(&mut append).await?;
        append.link();
        let result = self.inner.appender.append(append).await;
        if let Ok(appended) = &result {
            self.inner.newest.send_if_modified(|newest| {
                let moved = appended.last_position > *newest;
                *newest = appended.last_position.max(*newest);
                moved
            });
        }
        result
    }
}
