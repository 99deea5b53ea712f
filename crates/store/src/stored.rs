//! An event as its row holds it, byte for byte: for tools that must also show what can't be read.

use pcs_domain::ids::TenantId;
use pcs_domain::{Category, DomainEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::chain::{Content, Hash};
use crate::error::StoreError;
use crate::rows;
use crate::types::TypeName;

/// The columns of [`StoredEvent`], of `es.event e` joined with `es.event_type t`.
macro_rules! stored_columns {
    () => {
        "e.position, e.tenant_id, e.stream_id, e.version, e.event_id, e.category, t.name as type_name,
         t.schema_version, e.recorded_at, e.command_id, e.correlation_id, e.causation_id, e.actor_id, e.trace,
         e.payload, e.stream_no, e.hash"
    };
}
pub(crate) use stored_columns;

/// One row of the log; nothing in it has been interpreted.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its place in the log, from 1.
    pub position: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its place in the stream, from 1.
    pub version: i64,
    /// Its own id.
    pub event_id: Uuid,
    /// The number of its stream's category; [`Category::from_number`] knows its name.
    pub category: i16,
    /// Its wire name.
    pub type_name: String,
    /// The version of its payload.
    pub schema_version: i16,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
    /// The command that caused it.
    pub command_id: Uuid,
    /// What it belongs to, such as a request.
    pub correlation_id: Option<Uuid>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// Who did it.
    pub actor_id: Option<Uuid>,
    /// W3C trace context.
    pub trace: Option<String>,
    /// The payload's text as it was written.
    pub payload: String,
    /// The number of its stream: the position of the stream's first event.
    pub stream_no: i64,
    /// The hash of its content and of the event before it in its stream, as it is stored.
    pub hash: Vec<u8>,
}

impl StoredEvent {
    /// A row, and the name and version of its type where it has one.
    pub(crate) fn new(row: rows::Row, type_name: Option<TypeName>) -> Self {
        let (type_name, schema_version) =
            type_name.map_or_else(Default::default, |(name, version)| (name.to_string(), version));
        Self {
            position: row.position,
            tenant: TenantId(row.tenant_id),
            stream_id: row.stream_id,
            version: row.version,
            event_id: row.event_id,
            category: row.category,
            type_name,
            schema_version,
            recorded_at: Timestamp::new(row.recorded_at),
            command_id: row.command_id,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            actor_id: row.actor_id,
            trace: row.trace,
            payload: row.payload,
            stream_no: row.stream_no,
            hash: row.hash,
        }
    }

    /// `<category>-<uuid>`, or only the id where this build does not know the category.
    #[must_use]
    pub fn stream_name(&self) -> String {
        stream_name(self.category, self.stream_id)
    }

    /// The digest of the content, from which the hash is made; none where this build does not know the category.
    pub(crate) fn digest(&self) -> Option<Hash> {
        let content = Content {
            tenant: self.tenant,
            stream_id: self.stream_id,
            category: Category::from_number(self.category)?,
            event_id: self.event_id,
            type_name: &self.type_name,
            schema_version: self.schema_version,
            command_id: self.command_id,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            actor_id: self.actor_id,
            trace: self.trace.as_deref(),
            payload: &self.payload,
        };
        Some(content.digest())
    }

    /// What happened.
    ///
    /// # Errors
    /// Where this build knows neither the category nor the type, or the payload is not what its schema says.
    pub fn decode(&self) -> Result<DomainEvent, StoreError> {
        let Self { position, stream_id, version, .. } = *self;
        let unknown = StoreError::Unknown { position, what: "category", number: self.category };
        let category = Category::from_number(self.category).ok_or(unknown)?;
        DomainEvent::decode(category, &self.type_name, self.schema_version, &self.payload)
            .map_err(|source| StoreError::Decode { position, stream_id, version, source })
    }
}

/// `<category>-<uuid>`, or only the id where this build does not know the category.
#[must_use]
pub fn stream_name(category: i16, stream_id: Uuid) -> String {
    Category::from_number(category)
        .map_or_else(|| stream_id.to_string(), |category| format!("{}-{stream_id}", category.name()))
}

impl FromRow<'_, PgRow> for StoredEvent {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get("position")?,
            tenant: TenantId(row.try_get("tenant_id")?),
            stream_id: row.try_get("stream_id")?,
            version: row.try_get("version")?,
            event_id: row.try_get("event_id")?,
            category: row.try_get("category")?,
            // A row whose type was never registered is still a row.
            type_name: row.try_get::<Option<String>, _>("type_name")?.unwrap_or_default(),
            schema_version: row.try_get::<Option<i16>, _>("schema_version")?.unwrap_or_default(),
            recorded_at: Timestamp::new(row.try_get("recorded_at")?),
            command_id: row.try_get("command_id")?,
            correlation_id: row.try_get("correlation_id")?,
            causation_id: row.try_get("causation_id")?,
            actor_id: row.try_get("actor_id")?,
            trace: row.try_get("trace")?,
            payload: row.try_get("payload")?,
            stream_no: row.try_get("stream_no")?,
            hash: row.try_get("hash")?,
        })
    }
}
