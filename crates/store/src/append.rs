//! What goes into one append: a command's events, the streams they belong to, and what is expected of them.

use pcs_domain::Category;
use pcs_domain::canonical::canonical_json;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::chain::{Content, Hash, NOTHING, Tip, event_hash};
use crate::error::{AppendError, StoreError};
use crate::{Store, appender};

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
    pub(crate) type_id: i16,
    pub(crate) payload: String,
    /// Of its content; its hash follows from the one before it.
    pub(crate) digest: Hash,
}

/// The events of one stream, or only a check of it where there are none.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub(crate) stream_id: Uuid,
    pub(crate) category: Category,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<NewEvent>,
    /// Where the events go, where that is known before the head is locked.
    pub(crate) place: Option<Place>,
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
    pub(crate) fn behind(tip: Option<Tip>, events: &[NewEvent]) -> Self {
        let (mut hash, before) = tip.map_or((NOTHING, 0), |tip| (tip.hash, tip.version));
        let link = |(version, event): (i64, &NewEvent)| {
            hash = event_hash(&hash, version, &event.digest);
            hash
        };
        let hashes = (before + 1..).zip(events).map(link).collect();
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
        self.streams.push(StreamWrite { stream_id, category, expected, events: Vec::new(), place: None });
        self
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

impl Store {
    /// Adds the events of one stream to an append; encodes them and checks them against their schemas.
    ///
    /// # Errors
    /// [`StoreError::Schema`] where an event is not of its schema, [`StoreError::StreamTwice`] where the append has the
    /// stream already.
    pub fn write<E: pcs_domain::EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        expected: Expected,
        events: &[E],
    ) -> Result<(), StoreError> {
        let events = self.encode_all(append, stream_id, events)?;
        let new = matches!(expected, Expected::NoStream | Expected::Exact(0));
        let place = new.then(|| Place::behind(None, &events));
        append.streams.push(StreamWrite { stream_id, category: E::CATEGORY, expected, events, place });
        Ok(())
    }

    /// Adds events behind the end of a stream as it was loaded; saves the look-up of that end.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_behind<E: pcs_domain::EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        tip: Option<Tip>,
        events: &[E],
    ) -> Result<(), StoreError> {
        let events = self.encode_all(append, stream_id, events)?;
        let expected = Expected::Exact(tip.map_or(0, |tip| tip.version));
        let place = Some(Place::behind(tip, &events));
        append.streams.push(StreamWrite { stream_id, category: E::CATEGORY, expected, events, place });
        Ok(())
    }

    fn encode_all<E: pcs_domain::EventSet>(
        &self,
        append: &Append,
        stream_id: Uuid,
        events: &[E],
    ) -> Result<Vec<NewEvent>, StoreError> {
        if append.streams.iter().any(|stream| stream.stream_id == stream_id) {
            // Their versions would be counted from the same start.
            return Err(StoreError::StreamTwice { stream_id });
        }
        let mut encoded = Vec::with_capacity(events.len());
        for (nth, event) in events.iter().enumerate() {
            let event_type = event.event_type();
            let value = serde_json::from_str(&event.encode()?)?;
            self.inner.schemas.check(event_type, &value)?;
            let payload = canonical_json(&value);
            let type_id = self.inner.types.id_of(event_type)?;
            // Derived, so that an append that is sent twice carries the same events.
            let name = format!("{stream_id}/{nth}");
            let event_id = Uuid::new_v5(&append.context.command_id.0, name.as_bytes());
            let type_name = (event_type.name, event_type.version);
            let stream = (stream_id, E::CATEGORY);
            let digest = Content::written(&append.context, stream, event_id, type_name, &payload).digest();
            encoded.push(NewEvent { event_id, type_id, payload, digest });
        }
        Ok(encoded)
    }

    /// Commits an append, together with those of other callers, and answers when it is durable.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] and [`AppendError::KeyReused`] wrote nothing; [`AppendError::Overloaded`] was not even
    /// tried; after [`StoreError::Unknowable`] the same append may be sent again.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.inner.appender.submit(appender::Pending { append, answer })?;
        let result = answered.await.map_err(|_| StoreError::Closed)?;
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
