//! An event as it is shown: a row of a table, all of its fields, or JSON.

use pcs_domain::Category;
use pcs_store::StoredEvent;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::commands::output::{Align, excerpt, plain_line, plain_text};

/// Characters of a payload in a row of a table.
const PAYLOAD_CHARS_MAX: usize = 100;

/// Columns of a table of events.
pub const COLUMNS: [(&str, Align); 6] = [
    ("position", Align::Right),
    ("recorded", Align::Left),
    ("stream", Align::Left),
    ("version", Align::Right),
    ("type", Align::Left),
    ("payload", Align::Left),
];

/// An event for programs: the payload is JSON, and text where it can't be read as such.
#[derive(Serialize)]
pub struct EventView<'a> {
    position: i64,
    tenant: i32,
    stream: String,
    category: Option<&'static str>,
    stream_id: uuid::Uuid,
    version: i64,
    event_id: uuid::Uuid,
    #[serde(rename = "type")]
    type_name: &'a str,
    schema_version: i16,
    recorded_at: String,
    command_id: uuid::Uuid,
    correlation_id: Option<uuid::Uuid>,
    causation_id: Option<uuid::Uuid>,
    actor_id: Option<uuid::Uuid>,
    traceparent: Option<&'a str>,
    hash: String,
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> From<&'a StoredEvent> for EventView<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        let payload = serde_json::from_str(&event.payload).map_or(Payload::Text(&event.payload), Payload::Json);
        Self {
            position: event.position,
            tenant: event.tenant.0,
            stream: event.stream_name(),
            category: Category::from_number(event.category).map(Category::name),
            stream_id: event.stream_id,
            version: event.version,
            event_id: event.event_id,
            type_name: &event.type_name,
            schema_version: event.schema_version,
            recorded_at: event.recorded_at.to_string(),
            command_id: event.command_id,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            actor_id: event.actor_id,
            traceparent: event.trace.as_deref(),
            hash: hex(&event.hash),
            payload,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row under [`COLUMNS`].
#[must_use]
pub fn row(event: &StoredEvent) -> Vec<String> {
    vec![
        event.position.to_string(),
        event.recorded_at.to_string(),
        event.stream_name(),
        event.version.to_string(),
        format!("{}.v{}", event.type_name, event.schema_version),
        excerpt(&event.payload, PAYLOAD_CHARS_MAX),
    ]
}

/// An event on one line, for output that goes on and on.
#[must_use]
pub fn line(event: &StoredEvent) -> String {
    plain_line(&row(event).join("  "))
}

/// All fields of an event, the payload indented.
#[must_use]
pub fn fields(event: &StoredEvent) -> Vec<(&'static str, String)> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let payload: Result<serde_json::Value, _> = serde_json::from_str(&event.payload);
    let payload = payload.and_then(|value| serde_json::to_string_pretty(&value));
    vec![
        ("position", event.position.to_string()),
        ("stream", event.stream_name()),
        ("version", event.version.to_string()),
        ("event id", event.event_id.to_string()),
        ("type", format!("{}.v{}", event.type_name, event.schema_version)),
        ("tenant", event.tenant.to_string()),
        ("recorded at", event.recorded_at.to_string()),
        ("command id", event.command_id.to_string()),
        ("correlation id", or_dash(event.correlation_id.map(|id| id.to_string()))),
        ("causation id", or_dash(event.causation_id.map(|id| id.to_string()))),
        ("actor id", or_dash(event.actor_id.map(|id| id.to_string()))),
        ("traceparent", or_dash(event.trace.as_deref().map(plain_line))),
        ("hash", hex(&event.hash)),
        ("payload", plain_text(&payload.unwrap_or_else(|_| event.payload.clone()))),
    ]
}
