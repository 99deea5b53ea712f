//! One archived event: the row of the log as PostgreSQL writes it in JSON, so that a new column is never lost.

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::format::{StreamKey, parse};
use crate::chain::Hash;
use crate::rows::Row;

/// What every line begins with: the position is read without the rest.
const LINE_START: &str = "{\"position\":";

/// The fields that this build reads; a line may have more.
#[derive(Debug, Deserialize)]
struct Line {
    position: i64,
    stream_no: i64,
    version: i64,
    #[serde(deserialize_with = "moment")]
    recorded_at: OffsetDateTime,
    tenant_id: i32,
    category: i16,
    type_id: i16,
    stream_id: Uuid,
    event_id: Uuid,
    command_id: Uuid,
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    #[serde(deserialize_with = "bytes")]
    hash: Vec<u8>,
    trace: Option<String>,
    payload: String,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)
}

/// PostgreSQL writes bytes in JSON as `\\x` and hexadecimal digits.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("\\x").ok_or_else(|| de::Error::custom("bytes begin with \\x"))?;
    hex::decode(digits).map_err(de::Error::custom)
}

/// The position of a line.
pub(crate) fn position(line: &str) -> Result<i64, String> {
    let digits = line.strip_prefix(LINE_START).and_then(|rest| rest.split_once(','));
    let position = digits.and_then(|(digits, _)| digits.parse().ok());
    position.ok_or_else(|| "a line does not begin with its position".to_owned())
}

/// The event of a line.
pub(crate) fn row(line: &str) -> Result<Row, String> {
    let line: Line = parse(line)?;
    Ok(Row {
        position: line.position,
        stream_no: line.stream_no,
        version: line.version,
        recorded_at: line.recorded_at,
        tenant_id: line.tenant_id,
        category: line.category,
        type_id: line.type_id,
        stream_id: line.stream_id,
        event_id: line.event_id,
        command_id: line.command_id,
        correlation_id: line.correlation_id,
        causation_id: line.causation_id,
        actor_id: line.actor_id,
        hash: line.hash,
        trace: line.trace,
        payload: line.payload,
    })
}

/// A sum over events that does not depend on their order: the index of streams and the events must have the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Census {
    pub(crate) events: i64,
    sum: u128,
}

impl Census {
    /// Counts an event.
    pub(crate) fn count(&mut self, key: StreamKey, position: i64) {
        let mut digest = Sha256::new();
        digest.update(key.stream_no.to_be_bytes());
        digest.update(key.version.to_be_bytes());
        digest.update(position.to_be_bytes());
        let digest: Hash = digest.finalize().into();
        let (half, _) = digest.split_at(16);
        self.sum = self.sum.wrapping_add(half.try_into().map_or(0, u128::from_be_bytes));
        self.events += 1;
    }
}
