//! The format of an exported log: JSON lines, each event with everything that its row holds.
//!
//! The first line is a [`Header`], the last a [`Footer`] with the count of events and the SHA-256 of every byte before
//! it. In between there is one [`EventLine`] per event in the order of positions, the last one of each batch with the
//! batch's seal, and then one [`ClosedLine`] per stream that takes no events.

use pcs_domain::Timestamp;
use pcs_domain::ids::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;
use crate::export_rows::ExportRow;

/// The version of the format that this build writes and reads.
pub(crate) const EXPORT_FORMAT: u32 = 1;
/// Positions that are read at once.
const PAGE_LEN: i64 = 2_000;

/// The first line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// [`EXPORT_FORMAT`] of the build that wrote the file.
    pub(crate) pcs_export: u32,
    /// Which log this is of: the id of the event at position 1. Absent where the log is empty.
    pub(crate) log_id: Option<Uuid>,
    /// The position of the first event.
    pub(crate) from: i64,
    /// The position of the last event; one before `from` where there is none.
    pub(crate) to: i64,
    /// The tenant whose events these are; absent for all, and only then the positions have no gaps.
    pub(crate) tenant: Option<i32>,
    /// Names and versions of the types that occur.
    pub(crate) types: Vec<(String, i16)>,
}

/// An event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLine {
    /// Its place in the log.
    pub(crate) position: i64,
    /// The tenant.
    pub(crate) tenant: i32,
    /// Its stream.
    pub(crate) stream_id: Uuid,
    /// The number of the stream's category.
    pub(crate) category: i16,
    /// Its place in the stream.
    pub(crate) version: i64,
    /// Its own id.
    pub(crate) event_id: Uuid,
    /// Its wire name.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    /// The version of its payload.
    pub(crate) schema_version: i16,
    /// When it was recorded.
    pub(crate) recorded_at: Timestamp,
    /// The command that caused it.
    pub(crate) command_id: Uuid,
    /// What is remembered of that command, beside its last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remembered: Option<Remembered>,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<Uuid>,
    /// The event that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) causation_id: Option<Uuid>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor_id: Option<Uuid>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// The payload's text, byte for byte.
    pub(crate) payload: String,
    /// Its hash, in hexadecimal.
    pub(crate) hash: String,
    /// The seal of the batch that ends here, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<String>,
}

/// A stream that is deleted, archived or tombstoned.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosedLine {
    /// The stream.
    pub(crate) closed_stream: Uuid,
    /// Its tenant.
    pub(crate) tenant: i32,
    /// The number of its state.
    pub(crate) state: i16,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed_at: Option<Timestamp>,
}

/// A command that is known by its idempotency key: without it, sending it again would do it again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remembered {
    /// The digest of its content.
    pub(crate) fingerprint: Option<Uuid>,
    /// The position of its first event.
    pub(crate) first_position: i64,
    /// When it was executed.
    pub(crate) at: Timestamp,
}

/// The last line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Footer {
    /// How many events there are.
    pub(crate) count: u64,
    /// The digest of every byte before this line, in hexadecimal.
    pub(crate) sha256: String,
}

/// The digest of the lines so far.
#[derive(Clone, Default)]
pub(crate) struct LinesDigest(Sha256);

impl LinesDigest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn hex(&self) -> String {
        hex(&self.0.clone().finalize())
    }
}

/// Bytes as they stand in the file.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An export in progress: the text of the file, piece by piece.
pub struct Export {
    header: Header,
    position: i64,
    count: u64,
    digest: LinesDigest,
    stage: Stage,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Stage {
    Header,
    Events,
    Closed { after: (Uuid, i32) },
    Footer,
    Done,
}

#[derive(sqlx::FromRow)]
struct ClosedRow {
    stream_id: Uuid,
    tenant_id: i32,
    state: i16,
    state_changed_at: Option<time::OffsetDateTime>,
}

impl Export {
    /// Begins an export of the events between two positions, both included, and on to the end of the last one's batch; up
    /// to the newest where there is no `to`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn begin(
        store: &Store,
        from: i64,
        to: Option<i64>,
        tenant: Option<TenantId>,
    ) -> Result<Self, StoreError> {
        let head = store.head().await?;
        let from = from.max(1);
        let to = to.unwrap_or(head).min(head).max(from - 1);
        // A batch is sealed as a whole: half of one could not be verified where it is imported.
        let sealed: Option<i64> =
            sqlx::query_scalar("select min(last_position) from es.seal where last_position >= $1")
                .bind(to)
                .fetch_one(store.pool())
                .await?;
        let to = if to < from { to } else { sealed.unwrap_or(to) };
        let types = sqlx::query_as("select name, schema_version from es.event_type order by name, schema_version")
            .fetch_all(store.pool())
            .await?;
        let tenant = tenant.map(|tenant| tenant.0);
        let header = Header { pcs_export: EXPORT_FORMAT, log_id: store.log_id().await?, from, to, tenant, types };
        Ok(Self { header, position: from - 1, count: 0, digest: LinesDigest::default(), stage: Stage::Header })
    }

    /// How many positions are exported.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::try_from(self.header.to - self.header.from + 1).unwrap_or(0)
    }

    /// How many positions have gone by.
    #[must_use]
    pub fn done(&self) -> u64 {
        u64::try_from(self.position - self.header.from + 1).unwrap_or(0)
    }

    /// How many events have been written.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next lines, with their ends; none when the file is whole.
    ///
    /// # Errors
    /// Where the database or, for what is archived, the archive does not answer.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
        let mut text = Vec::new();
        match self.stage {
            Stage::Header => {
                write_line(&mut text, &self.header)?;
                self.stage = Stage::Events;
            }
            Stage::Events if self.position < self.header.to => {
                for row in self.page(store).await? {
                    write_line(&mut text, &event_line(row))?;
                    self.count += 1;
                }
            }
            Stage::Events => self.stage = Stage::Closed { after: (Uuid::nil(), i32::MIN) },
            Stage::Closed { after } => {
                let rows = self.closed(store, after).await?;
                let is_full = i64::try_from(rows.len()).is_ok_and(|len| len == PAGE_LEN);
                let last = rows.last().filter(|_| is_full).map(|last| (last.stream_id, last.tenant_id));
                self.stage = last.map_or(Stage::Footer, |after| Stage::Closed { after });
                for row in rows {
                    write_line(&mut text, &closed_line(&row))?;
                }
            }
            Stage::Footer => {
                write_line(&mut text, &Footer { count: self.count, sha256: self.digest.hex() })?;
                self.stage = Stage::Done;
                return Ok(Some(text));
            }
            Stage::Done => return Ok(None),
        }
        self.digest.add(&text);
        Ok(Some(text))
    }

    async fn closed(&self, store: &Store, after: (Uuid, i32)) -> Result<Vec<ClosedRow>, StoreError> {
        Ok(sqlx::query_as(
            "select stream_id, tenant_id, state, state_changed_at from es.stream
             where state <> 0 and stream_no <= $1 and ($2::int is null or tenant_id = $2)
               and (stream_id, tenant_id) > ($3, $4)
             order by stream_id, tenant_id limit $5",
        )
        .bind(self.header.to)
        .bind(self.header.tenant)
        .bind(after.0)
        .bind(after.1)
        .bind(PAGE_LEN)
        .fetch_all(store.pool())
        .await?)
    }

    async fn page(&mut self, store: &Store) -> Result<Vec<ExportRow>, StoreError> {
        let (rows, looked_at) = store.export_rows(self.position, self.header.to, PAGE_LEN, self.header.tenant).await?;
        self.position = looked_at;
        Ok(rows)
    }
}

fn write_line(text: &mut Vec<u8>, line: &impl Serialize) -> Result<(), StoreError> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn event_line(row: ExportRow) -> EventLine {
    let ExportRow { event, command, seal } = row;
    let remembered = command.map(|command| Remembered {
        fingerprint: command.fingerprint,
        first_position: command.first_position,
        at: Timestamp::new(command.at),
    });
    EventLine {
        position: event.position,
        tenant: event.tenant.0,
        stream_id: event.stream_id,
        category: event.category,
        version: event.version,
        event_id: event.event_id,
        type_name: event.type_name,
        schema_version: event.schema_version,
        recorded_at: event.recorded_at,
        command_id: event.command_id,
        remembered,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        actor_id: event.actor_id,
        trace: event.trace,
        hash: hex(&event.hash),
        payload: event.payload,
        seal: seal.as_deref().map(hex),
    }
}

fn closed_line(row: &ClosedRow) -> ClosedLine {
    ClosedLine {
        closed_stream: row.stream_id,
        tenant: row.tenant_id,
        state: row.state,
        changed_at: row.state_changed_at.map(Timestamp::new),
    }
}

impl Store {
    /// Which log this is: the id of its first event, which no other log has; none where it is empty.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn log_id(&self) -> Result<Option<Uuid>, StoreError> {
        let first = self.rows_after(0, 1).await?;
        Ok(first.first().filter(|row| row.position == 1).map(|row| row.event_id))
    }
}
