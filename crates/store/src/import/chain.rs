//! The chain of what is imported: the digest of each event, and the seal of each batch, verified and never made anew.

use pcs_domain::ids::TenantId;
use pcs_domain::{Category, Timestamp};
use sha2::{Digest, Sha256};

use crate::chain::{self, Content, Hash, NOTHING};
use crate::transfer::{EventLine, hex};

/// How far the seals have been verified.
pub(super) struct Chain {
    seal: Hash,
    /// The first position of the batch that is being read, and the time that its events share.
    first: i64,
    at: Option<Timestamp>,
    /// The time of the batch before it.
    before: Option<Timestamp>,
    hashes: Sha256,
}

impl Chain {
    /// The chain goes on behind a seal, at a position.
    pub(super) fn behind(seal: &[u8], first: i64) -> Self {
        let seal = seal.try_into().unwrap_or(NOTHING);
        Self { seal, first, at: None, before: None, hashes: Sha256::new() }
    }

    /// Takes the next event; answers the digest of its content, or what is wrong.
    pub(super) fn add(&mut self, event: &EventLine) -> Result<Hash, String> {
        let category = Category::from_number(event.category)
            .ok_or_else(|| format!("category {} is not known to this build", event.category))?;
        let hash: Hash = read(&event.hash).ok_or("the hash is not 32 bytes in hexadecimal")?;
        if *self.at.get_or_insert(event.recorded_at) != event.recorded_at {
            return Err("it was recorded at another time than its batch".to_owned());
        }
        if self.before.is_some_and(|before| before >= event.recorded_at) {
            return Err("it was recorded before the batch before it".to_owned());
        }
        self.hashes.update(hash);
        if let Some(seal) = &event.seal {
            self.end_batch(seal, event)?;
        }
        Ok(content(event, category).digest())
    }

    fn end_batch(&mut self, stored: &str, event: &EventLine) -> Result<(), String> {
        let stored: Hash = read(stored).ok_or("the seal is not 32 bytes in hexadecimal")?;
        let digest: Hash = std::mem::take(&mut self.hashes).finalize().into();
        let batch = (self.first, event.position);
        if chain::batch_seal(&self.seal, batch, event.recorded_at.get(), &digest) != stored {
            return Err(format!("the batch of the positions {} to {} is not as it was sealed", batch.0, batch.1));
        }
        (self.seal, self.first) = (stored, event.position + 1);
        (self.before, self.at) = (self.at, None);
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.at {
            None => Ok(()),
            Some(_) => Err(format!("the batch that begins at position {} has no seal", self.first)),
        }
    }
}

fn content(event: &EventLine, category: Category) -> Content<'_> {
    Content {
        tenant: TenantId(event.tenant),
        stream_id: event.stream_id,
        category,
        event_id: event.event_id,
        type_name: &event.type_name,
        schema_version: event.schema_version,
        command_id: event.command_id,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        actor_id: event.actor_id,
        trace: event.trace.as_deref(),
        payload: &event.payload,
    }
}

/// Reads 32 bytes in lower-case hexadecimal, the one way in which they are written.
fn read(text: &str) -> Option<Hash> {
    let mut hash = NOTHING;
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (hex(&hash) == text).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_no_other_way() {
        let hash: Hash = std::array::from_fn(|place| u8::try_from(place * 7).unwrap_or(0));
        let text = hex(&hash);
        assert_eq!(read(&text), Some(hash));
        for wrong in [&text[2..], &text.to_uppercase(), &format!("{text}00"), "", &text.replace('0', "+")] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
