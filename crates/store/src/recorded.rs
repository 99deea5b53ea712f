//! An event as it was recorded, with everything around it.

use std::sync::Arc;

use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::{Category, DomainEvent, Timestamp};
use uuid::Uuid;

/// One row of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
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
