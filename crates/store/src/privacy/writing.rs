//! The one place where events are sealed: every append passes here on its way to the appender.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::EventType;
use pcs_domain::canonical::canonical_json;
use pcs_domain::ids::{SubjectId, TenantId};
use serde_json::Value;
use uuid::Uuid;

use super::envelope::Target;
use crate::Store;
use crate::append::Append;
use crate::error::StoreError;

/// What the canonical text of a payload about a data subject has in it; others need not be parsed.
const SUBJECT_MEMBER: &str = "\"subject\":{";

/// A payload of an append that is about a data subject: the numbers of its stream and event, and what it says.
struct Clear {
    stream: usize,
    event: usize,
    event_type: EventType,
    event_id: Uuid,
    payload: Value,
}

impl Store {
    /// Seals what is a data subject's, and checks what came of it against its schema.
    pub(crate) async fn seal(&self, append: &mut Append) -> Result<(), StoreError> {
        let (tenant, markings) = (append.context.tenant, &self.inner.markings);
        let clear = self.clear(append)?;
        if clear.is_empty() {
            return Ok(());
        }
        let target = |clear: &Clear| Target { markings, event_type: clear.event_type, tenant, event: clear.event_id };
        let subjects: BTreeSet<SubjectId> =
            clear.iter().flat_map(|clear| target(clear).subjects(&clear.payload)).collect();
        let subjects: Vec<SubjectId> = subjects.into_iter().collect();
        let keys = match subjects.is_empty() {
            true => BTreeMap::new(),
            false => self.inner.keys.for_writing(self.pool(), tenant, &subjects).await?,
        };
        for mut clear in clear {
            let target = target(&clear);
            target.seal(&mut clear.payload, &keys)?;
            self.inner.schemas.check(clear.event_type, &clear.payload)?;
            append.streams[clear.stream].events[clear.event].payload = canonical_json(&clear.payload);
        }
        Ok(())
    }

    /// The payloads of an append that are about data subjects.
    fn clear(&self, append: &Append) -> Result<Vec<Clear>, StoreError> {
        let mut found = Vec::new();
        for (stream, write) in append.streams.iter().enumerate() {
            for (event, new) in write.events.iter().enumerate() {
                let (event_type, event_id) = (new.event_type, new.event_id);
                if self.inner.markings.of(event_type).is_empty() || !new.payload.contains(SUBJECT_MEMBER) {
                    continue;
                }
                let payload: Value = serde_json::from_str(&new.payload)?;
                if self.inner.markings.has_subject(event_type, &payload) {
                    found.push(Clear { stream, event, event_type, event_id, payload });
                }
            }
        }
        Ok(found)
    }

    /// The digest of a command's content as it may be kept: with a key of the tenant, so that nobody who has only the
    /// database can find the content out by trying. Unchanged in a process without master keys, which takes no
    /// personal data either.
    ///
    /// # Errors
    /// Where the keys can't be read.
    pub async fn blind(&self, tenant: TenantId, fingerprint: Uuid) -> Result<Uuid, StoreError> {
        if !self.inner.keys.are_set() {
            return Ok(fingerprint);
        }
        let key = self.inner.keys.index(self.pool(), tenant).await?.derive("fingerprint");
        Ok(super::subjects::id_of(&key.digest(fingerprint.as_bytes())))
    }
}
