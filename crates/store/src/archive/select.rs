//! Events as they are stored, with filters, wherever they are: what the tools read.

use uuid::Uuid;

use super::catalogue::ArchivedPartition;
use super::route::having;
use crate::Store;
use crate::error::StoreError;
use crate::inspect::Selection;
use crate::rows::{PAGE_BYTES_MAX, Row};
use crate::stored::StoredEvent;

/// Archived events that are looked at at once.
const PAGE_LEN: usize = 2_000;

impl Store {
    /// Events after a position and up to another that match, in order, at most `limit`.
    pub(crate) async fn matching(
        &self,
        selection: &Selection,
        (after, to): (i64, i64),
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut found, mut at) = (Vec::new(), after);
        while at < to && found.len() < limit {
            let known = self.inner.archive.refresh(self.pool()).await?;
            let archived = having(&known, at).filter(|partition| partition.state.is_only_archived());
            if let Some(partition) = archived {
                at = self.matching_archived(partition, selection, (at, to), (limit, &mut found)).await?;
                let bytes: usize = found.iter().map(|event: &StoredEvent| event.payload.len()).sum();
                if i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX) {
                    return Ok(found);
                }
                continue;
            }
            let next =
                known.iter().find(|partition| partition.state.is_only_archived() && partition.first_position > at);
            let end = next.map_or(to, |next| to.min(next.first_position - 1));
            let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
            let live = self.matching_live(selection, (at, end), left).await?;
            // What left the log meanwhile is missing in what was just read.
            let known = self.inner.archive.refresh(self.pool()).await?;
            let left_meanwhile = |partition: &ArchivedPartition| {
                partition.state.is_only_archived() && partition.first_position <= end && partition.last_position > at
            };
            if !known.iter().any(left_meanwhile) {
                let bytes: usize = live.iter().map(|event| event.payload.len()).sum();
                found.extend(live);
                if i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX) {
                    // The page was cut: what comes after its last event has not been looked at.
                    return Ok(found);
                }
                at = end;
            }
        }
        Ok(found)
    }

    /// Looks at the next page of an archived partition; answers the position up to which it has looked.
    async fn matching_archived(
        &self,
        partition: &ArchivedPartition,
        selection: &Selection,
        (after, to): (i64, i64),
        (limit, found): (usize, &mut Vec<StoredEvent>),
    ) -> Result<i64, StoreError> {
        let bytes_max = usize::try_from(PAGE_BYTES_MAX).unwrap_or(usize::MAX);
        let rows = self.inner.archive.after(partition, after, PAGE_LEN, bytes_max).await?;
        if rows.is_empty() {
            return Ok(partition.last_position);
        }
        let mut at = after;
        for row in rows {
            if row.position > to || found.len() >= limit {
                return Ok(row.position - 1);
            }
            at = row.position;
            let event = self.stored(row).await?;
            if selection.has(&event) {
                found.push(event);
            }
        }
        Ok(at)
    }

    /// The archived event with an id; reads the whole archive until it is found.
    pub(crate) async fn archived_with_id(&self, event_id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        let known = self.inner.archive.refresh(self.pool()).await?;
        let bytes_max = usize::try_from(PAGE_BYTES_MAX).unwrap_or(usize::MAX);
        for partition in known.iter().rev().filter(|partition| partition.state.is_only_archived()) {
            let mut after = partition.first_position - 1;
            loop {
                let rows = self.inner.archive.after(partition, after, PAGE_LEN, bytes_max).await?;
                let Some(last) = rows.last().map(|row| row.position) else { break };
                after = last;
                if let Some(row) = rows.into_iter().find(|row| row.event_id == event_id) {
                    return self.stored(row).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    /// A row with the name of its type; without one where the type was never registered.
    pub(crate) async fn stored(&self, row: Row) -> Result<StoredEvent, StoreError> {
        let name = match self.type_name(row.position, row.type_id).await {
            Ok(name) => Some(name),
            Err(StoreError::Unknown { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(StoredEvent::new(row, name))
    }
}

impl Selection {
    fn has(&self, event: &StoredEvent) -> bool {
        self.tenant.is_none_or(|tenant| tenant == event.tenant)
            && (self.categories.is_empty() || self.categories.iter().any(|c| c.number() == event.category))
            && (self.types.is_empty() || self.types.contains(&event.type_name))
            && self.stream_id.is_none_or(|stream_id| stream_id == event.stream_id)
            && self.since.is_none_or(|since| event.recorded_at >= since)
    }
}
