//! Computes the hash of each archived event anew, from its content and the event before it in its stream.

use std::collections::HashMap;

use pcs_domain::Category;
use pcs_domain::ids::TenantId;

use super::error::ArchiveError;
use super::format::TypeLine;
use crate::Store;
use crate::chain::{Content, Hash, NOTHING, event_hash};
use crate::error::StoreError;
use crate::rows::{Row, StreamRange};

/// Streams whose newest hash is remembered; beyond them all are forgotten, and looked up again where they go on.
const STREAMS_MAX: usize = 500_000;

/// A walk over events in the order of their positions.
pub(crate) struct ChainCheck<'a> {
    store: &'a Store,
    types: HashMap<i16, (String, i16)>,
    /// The newest version and hash of streams by their numbers.
    newest: HashMap<i64, (i64, Vec<u8>)>,
    /// An event of another partition could not be read, and that was told.
    told_unreadable: bool,
}

impl<'a> ChainCheck<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, types: HashMap::new(), newest: HashMap::new(), told_unreadable: false }
    }

    /// The names of types: they are part of what is hashed.
    pub(crate) fn name_types(&mut self, types: &[TypeLine]) {
        let named = |line: &TypeLine| (line.type_id, (line.name.clone(), line.schema_version));
        self.types = types.iter().map(named).collect();
    }

    /// What is wrong with the hash of the next event, if anything is.
    pub(crate) async fn fault(&mut self, row: &Row) -> Result<Option<String>, StoreError> {
        let Some((type_name, schema_version)) = self.types.get(&row.type_id) else {
            return Ok(Some(format!("it is of type {}, which the manifest does not name", row.type_id)));
        };
        let Some(category) = Category::from_number(row.category) else {
            return Ok(Some(format!("it has category {}, which this build does not know", row.category)));
        };
        let content = Content {
            tenant: TenantId(row.tenant_id),
            stream_id: row.stream_id,
            category,
            event_id: row.event_id,
            type_name,
            schema_version: *schema_version,
            command_id: row.command_id,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            actor_id: row.actor_id,
            trace: row.trace.as_deref(),
            payload: &row.payload,
        };
        let digest = content.digest();
        let before = self.before(row).await;
        if self.newest.len() >= STREAMS_MAX {
            self.newest.clear();
        }
        self.newest.insert(row.stream_no, (row.version, row.hash.clone()));
        let before = match before {
            Ok(Some(before)) => before,
            Ok(None) => return Ok(Some(format!("version {} of its stream is not there", row.version - 1))),
            Err(StoreError::Archive(error)) if error.is_damage() => return Ok(self.unreadable(row, &error)),
            Err(error) => return Err(error),
        };
        let is_right = event_hash(&before, row.version, &digest)[..] == row.hash[..];
        Ok((!is_right).then(|| "its hash is not that of its content and of the event before it".to_owned()))
    }

    /// That the event before this one is in a damaged object: told once, because a look at that object finds the rest.
    fn unreadable(&mut self, row: &Row, error: &ArchiveError) -> Option<String> {
        let is_first = !std::mem::replace(&mut self.told_unreadable, true);
        is_first.then(|| format!("version {} of its stream can't be read: {error}", row.version - 1))
    }

    /// The hash of the event before this one in its stream.
    async fn before(&self, row: &Row) -> Result<Option<Hash>, StoreError> {
        if row.version == 1 {
            return Ok(Some(NOTHING));
        }
        if let Some((version, hash)) = self.newest.get(&row.stream_no)
            && *version == row.version - 1
        {
            return Ok(hash.as_slice().try_into().ok());
        }
        let after = StreamRange::after(TenantId(row.tenant_id), row.stream_id, row.version - 2, 1);
        let range = StreamRange { until: row.version - 1, hidden_too: true, ..after };
        let found = self.store.stream_rows(&range).await?;
        Ok(found.first().and_then(|row| row.hash.as_slice().try_into().ok()))
    }
}
