//! The hashes of the log: of an event's content, of its stream up to it, and of a batch and all before it.
//!
//! The same definitions stand in SQL (`migrations/0006_es_chain.sql`), so that the log can be checked without this
//! program; a contract test holds the two against each other.

use pcs_domain::Category;
use pcs_domain::ids::TenantId;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::append::CommandContext;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first event of a stream, and before the first batch of the log.
pub const NOTHING: Hash = [0; 32];

/// Told apart from every other use of the hash.
const EVENT_PREFIX: &[u8] = b"pcs.event.1";
/// The moment from which PostgreSQL counts.
const POSTGRES_EPOCH: OffsetDateTime = datetime!(2000-01-01 0:00 UTC);

/// The content of an event, as its digest covers it: all that the writer says of it.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The stream.
    pub stream_id: Uuid,
    /// The kind of the stream.
    pub category: Category,
    /// The event's own id.
    pub event_id: Uuid,
    /// Its type's wire name.
    pub type_name: &'a str,
    /// The version of its payload.
    pub schema_version: i16,
    /// The command that caused it.
    pub command_id: Uuid,
    /// What it belongs to.
    pub correlation_id: Option<Uuid>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// Who did it.
    pub actor_id: Option<Uuid>,
    /// W3C trace context.
    pub trace: Option<&'a str>,
    /// The payload, byte for byte as it is stored.
    pub payload: &'a str,
}

impl<'a> Content<'a> {
    /// The content of an event that a command is about to write.
    pub(crate) fn written(
        context: &'a CommandContext,
        (stream_id, category): (Uuid, Category),
        event_id: Uuid,
        (type_name, schema_version): (&'a str, i16),
        payload: &'a str,
    ) -> Self {
        Self {
            tenant: context.tenant,
            stream_id,
            category,
            event_id,
            type_name,
            schema_version,
            command_id: context.command_id.0,
            correlation_id: context.correlation_id,
            causation_id: context.causation_id,
            actor_id: context.actor.map(|actor| actor.0),
            trace: context.traceparent.as_deref(),
            payload,
        }
    }

    /// The digest; each field has a length of its own or in front of it, so that no two contents have the same bytes.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(EVENT_PREFIX);
        hasher.update(self.tenant.0.to_be_bytes());
        hasher.update(self.stream_id.as_bytes());
        hasher.update(self.category.number().to_be_bytes());
        hasher.update(self.event_id.as_bytes());
        text(&mut hasher, self.type_name);
        hasher.update(self.schema_version.to_be_bytes());
        hasher.update(self.command_id.as_bytes());
        for id in [self.correlation_id, self.causation_id, self.actor_id] {
            hasher.update([u8::from(id.is_some())]);
            hasher.update(id.as_ref().map_or(&[][..], |id| id.as_bytes()));
        }
        hasher.update([u8::from(self.trace.is_some())]);
        if let Some(trace) = self.trace {
            text(&mut hasher, trace);
        }
        text(&mut hasher, self.payload);
        hasher.finalize().into()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a text of the database is shorter than 1 GiB")]
fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u32).to_be_bytes());
    hasher.update(text.as_bytes());
}

/// The hash of an event: of its content, its version, and the hash of the event before it in its stream.
#[must_use]
pub fn event_hash(before: &Hash, version: i64, digest: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(version.to_be_bytes());
    hasher.update(digest);
    hasher.finalize().into()
}

/// The digest of a batch's hashes, in the order of their positions.
#[must_use]
pub fn batch_digest<H: AsRef<[u8]>>(hashes: impl IntoIterator<Item = H>) -> Hash {
    let mut hasher = Sha256::new();
    for hash in hashes {
        hasher.update(hash.as_ref());
    }
    hasher.finalize().into()
}

/// The seal of a batch and of all batches before it.
#[must_use]
pub fn batch_seal(before: &Hash, (first, last): (i64, i64), recorded_at: OffsetDateTime, digest: &Hash) -> Hash {
    let micros = i64::try_from((recorded_at - POSTGRES_EPOCH).whole_microseconds()).unwrap_or(i64::MAX);
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(first.to_be_bytes());
    hasher.update(last.to_be_bytes());
    hasher.update(micros.to_be_bytes());
    hasher.update(digest);
    hasher.finalize().into()
}

/// The end of a stream: what the next append to it builds on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tip {
    /// The number of the stream: the position of its first event.
    pub stream_no: i64,
    /// The version of its newest event.
    pub version: i64,
    /// The hash of its newest event.
    pub hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_content_counts() {
        let id = |n| Some(Uuid::from_u128(n));
        let content = Content {
            tenant: TenantId(1),
            stream_id: Uuid::from_u128(1),
            category: Category::PromptCard,
            event_id: Uuid::from_u128(2),
            type_name: "a.b",
            schema_version: 1,
            command_id: Uuid::from_u128(3),
            correlation_id: id(4),
            causation_id: id(5),
            actor_id: None,
            trace: Some("t"),
            payload: "{}",
        };
        let others = [
            Content { tenant: TenantId(2), ..content },
            Content { stream_id: Uuid::nil(), ..content },
            Content { category: Category::TestRun, ..content },
            Content { event_id: Uuid::nil(), ..content },
            Content { type_name: "a.c", ..content },
            Content { schema_version: 2, ..content },
            Content { command_id: Uuid::nil(), ..content },
            Content { correlation_id: id(6), ..content },
            // The same ids in other places.
            Content { correlation_id: None, actor_id: id(4), ..content },
            Content { causation_id: None, ..content },
            Content { actor_id: id(7), ..content },
            Content { trace: None, ..content },
            Content { trace: Some(""), payload: "t{}", ..content },
            Content { payload: "{ }", ..content },
        ];
        let mut digests: Vec<Hash> = others.iter().map(Content::digest).chain([content.digest()]).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), others.len() + 1);
    }

    #[test]
    fn a_hash_depends_on_what_was_before() {
        let digest = [7; 32];
        let first = event_hash(&NOTHING, 1, &digest);
        assert_ne!(first, event_hash(&NOTHING, 2, &digest));
        assert_ne!(event_hash(&first, 2, &digest), event_hash(&NOTHING, 2, &digest));
    }
}
