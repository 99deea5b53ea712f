//! What goes into one append: a command's events, the streams they belong to, and what is expected of them.

use pcs_domain::Category;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use tokio::sync::oneshot;
use uuid::Uuid;

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
    /// The number that `es.append` takes.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Any => -2,
            Self::Exists => -1,
            Self::NoStream => 0,
            Self::Exact(version) => version,
        }
    }

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
}

/// The events of one stream, or only a check of it where there are none.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub(crate) stream_id: Uuid,
    pub(crate) category: Category,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<NewEvent>,
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
        self.streams.push(StreamWrite { stream_id, category, expected, events: Vec::new() });
        self
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
        if append.streams.iter().any(|stream| stream.stream_id == stream_id) {
            // Their versions would be counted from the same start.
            return Err(StoreError::StreamTwice { stream_id });
        }
        let mut encoded = Vec::with_capacity(events.len());
        for (nth, event) in events.iter().enumerate() {
            let event_type = event.event_type();
            let payload = event.encode()?;
            self.inner.schemas.check(event_type, &payload)?;
            let type_id = self.inner.types.id_of(event_type)?;
            // Derived, so that an append that is sent twice carries the same events.
            let name = format!("{stream_id}/{nth}");
            let event_id = Uuid::new_v5(&append.context.command_id.0, name.as_bytes());
            encoded.push(NewEvent { event_id, type_id, payload });
        }
        append.streams.push(StreamWrite { stream_id, category: E::CATEGORY, expected, events: encoded });
        Ok(())
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
