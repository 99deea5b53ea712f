//! An event as it was recorded, with everything around it.

use std::sync::Arc;

use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::{Category, DomainEvent, Timestamp};
use uuid::Uuid;

/// One row of the log; clones share it, so that every reader of a process has the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded(Arc<Record>);

impl Recorded {
    /// What it holds, to be taken apart; copied where others share it.
    #[must_use]
    pub fn into_record(self) -> Record {
        Arc::unwrap_or_clone(self.0)
    }
}

impl std::ops::Deref for Recorded {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl std::ops::DerefMut for Recorded {
    /// A shared one is copied first: others keep what they have.
    fn deref_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Record> for Recorded {
    fn from(record: Record) -> Self {
        Self(Arc::new(record))
    }
}

/// What a row of the log holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its place in the log, from 1 without gaps; the order of commits.
    pub position: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The kind of its stream.
    pub category: Category,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its place in the stream, from 1 without gaps.
    pub version: i64,
    /// Its own id.
    pub event_id: Uuid,
    /// Its wire name.
    pub type_name: Arc<str>,
    /// The version of its payload.
    pub schema_version: i16,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
    /// The command that caused it.
    pub command_id: CommandId,
    /// What it belongs to, such as a request.
    pub correlation_id: Option<Uuid>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Who did it.
    pub actor: Option<ActorId>,
    /// What happened.
    pub event: DomainEvent,
}
