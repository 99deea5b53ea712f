//! Finds events wherever they are: in the log, or in the archive where they are not in the log any more.
//!
//! Nobody is told when a partition leaves the log. What is missing shows it: positions have no gaps, and a stream's head
//! says how far its versions go. Whoever misses something looks up what is archived, and a partition is listed there
//! before it is detached. So no reader ever passes over events that are there.

use futures_util::future::try_join_all;
use pcs_domain::ids::TenantId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::catalogue::ArchivedPartition;
use super::error::ArchiveError;
use super::format::StreamKey;
use crate::Store;
use crate::error::StoreError;
use crate::rows::{PAGE_BYTES_MAX, Row, StreamRange, Wanted};

/// Events of a stream that are read at once while one of its versions is looked for.
const PAGE_LEN: i64 = 500;
/// Partitions that are asked for a stream at once.
const PARTITIONS_AT_ONCE: usize = 4;

impl Store {
    /// Events after a position, in order, at most `limit`, and fewer where they are large or where a partition ends. An
    /// empty page means that there are no more.
    pub(crate) async fn rows_after(&self, position: i64, limit: i64) -> Result<Vec<Row>, StoreError> {
        let archive = &self.inner.archive;
        let known = archive.current(self.pool()).await?;
        if let Some(partition) = having(&known, position).filter(|partition| partition.state.is_only_archived()) {
            let rows = self.archived_after(partition, position, limit).await?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        let mut rows = self.live_after(position, limit).await?;
        let Some(gap) = first_gap(position, &rows) else { return Ok(rows) };
        let known = archive.refresh(self.pool()).await?;
        let before_gap = gap.checked_sub(1).map_or(position, |nth| rows[nth].position);
        let Some(partition) = having(&known, before_gap) else { return Ok(rows) };
        if gap > 0 {
            rows.truncate(gap);
            return Ok(rows);
        }
        let archived = self.archived_after(partition, position, limit).await?;
        Ok(if archived.is_empty() { rows } else { archived })
    }

    /// The wanted events after a position and up to another, in order, and the position up to which they were looked for:
    /// less where they are large or where a partition ends.
    pub(crate) async fn wanted_rows(
        &self,
        wanted: &Wanted,
        position: i64,
        up_to: i64,
    ) -> Result<(Vec<Row>, i64), StoreError> {
        loop {
            let known = self.inner.archive.current(self.pool()).await?;
            let only_archived = |partition: &&ArchivedPartition| partition.state.is_only_archived();
            if let Some(partition) = having(&known, position).filter(only_archived) {
                let mut rows = self.archived_after(partition, position, up_to - position).await?;
                let looked_at = rows.last().map_or(partition.last_position, |last| last.position).min(up_to);
                rows.retain(|row| row.position <= up_to && wanted.has(row));
                return Ok((rows, looked_at));
            }
            let (rows, looked_at) = self.live_wanted(wanted, position, up_to).await?;
            // A filtered page can't see a gap: what has left the log is asked for after each one.
            let known = self.inner.archive.refresh(self.pool()).await?;
            let is_hit = |partition: &&ArchivedPartition| {
                partition.last_position > position && partition.first_position <= looked_at
            };
            let Some(first) = known.iter().filter(only_archived).find(is_hit) else { return Ok((rows, looked_at)) };
            if first.first_position > position + 1 {
                let before = first.first_position - 1;
                return Ok((rows.into_iter().take_while(|row| row.position <= before).collect(), before));
            }
        }
    }

    async fn archived_after(
        &self,
        partition: &ArchivedPartition,
        position: i64,
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(0);
        let bytes_max = usize::try_from(PAGE_BYTES_MAX).unwrap_or(usize::MAX);
        Ok(self.inner.archive.after(partition, position, limit, bytes_max).await?)
    }

    /// Events of a stream, in order.
    pub(crate) async fn stream_rows(&self, range: &StreamRange) -> Result<Vec<Row>, StoreError> {
        let (mut rows, end) = self.live_stream(range).await?;
        if end.version > range.longest {
            return Ok(Vec::new());
        }
        let last = range.after.saturating_add(range.limit).min(range.until).min(end.version);
        let wanted = usize::try_from(last - range.after).unwrap_or(0);
        // What stands behind a gap may be of a later page.
        rows.retain(|row| row.version <= last);
        if rows.len() >= wanted {
            return Ok(rows);
        }
        let archive = &self.inner.archive;
        let known = archive.refresh(self.pool()).await?;
        let from = StreamKey { stream_no: end.stream_no, version: range.after.saturating_add(1) };
        // The newest first: a stream that is still written to has its last archived events there.
        // Its number is the position of its first event.
        let mut partitions = known.iter().rev().take_while(|partition| partition.last_position >= end.stream_no);
        while rows.len() < wanted {
            let mut lookups = Vec::with_capacity(PARTITIONS_AT_ONCE);
            for partition in partitions.by_ref().take(PARTITIONS_AT_ONCE) {
                lookups.push(archive.of_stream(partition, from, last));
            }
            if lookups.is_empty() {
                break;
            }
            rows.extend(try_join_all(lookups).await?.into_iter().flatten());
            // A partition that was restored just now is in the log as well.
            rows.sort_by_key(|row| row.version);
            rows.dedup_by_key(|row| row.version);
        }
        rows.truncate(usize::try_from(range.limit).unwrap_or(0));
        Ok(rows)
    }

    /// The version that a stream was at when the log was at a position, and at a time where one is given.
    pub(crate) async fn version_until(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        position: i64,
        time: Option<OffsetDateTime>,
    ) -> Result<i64, StoreError> {
        let (before, after): (Option<i64>, Option<i64>) = sqlx::query_as(
            "select e.before, coalesce(e.after, s.version + 1)
             from es.stream s cross join lateral (
                 select max(e.version) filter (where e.position <= $3 and e.recorded_at <= coalesce($4, 'infinity')) as before,
                        min(e.version) filter (where e.position > $3 or e.recorded_at > $4) as after
                 from es.event e where e.stream_no = s.stream_no and e.position >= s.stream_no
             ) e
             where s.tenant_id = $1 and s.stream_id = $2",
        )
        .bind(tenant.0)
        .bind(stream_id)
        .bind(position)
        .bind(time)
        .fetch_optional(self.pool())
        .await?
        .unwrap_or_default();
        let mut version = before.unwrap_or(0);
        if after.is_none_or(|after| after == version + 1) {
            return Ok(version);
        }
        // The events between the two are archived.
        loop {
            let after = StreamRange::after(tenant, stream_id, version, PAGE_LEN);
            let rows = self.stream_rows(&StreamRange { hidden_too: true, ..after }).await?;
            let is_before = |row: &&Row| row.position <= position && time.is_none_or(|time| row.recorded_at <= time);
            let seen = rows.iter().take_while(is_before).count();
            version = seen.checked_sub(1).map_or(version, |last| rows[last].version);
            if rows.is_empty() || seen < rows.len() {
                return Ok(version);
            }
        }
    }

    /// The last position that is only in the archive; 0 where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn archived_to(&self) -> Result<i64, StoreError> {
        let known = self.inner.archive.refresh(self.pool()).await?;
        let last = known.iter().rev().find(|partition| partition.state.is_only_archived());
        Ok(last.map_or(0, |partition| partition.last_position))
    }

    /// Refuses a range of positions that is archived in part: for what reads the database alone.
    pub(crate) async fn refuse_archived(&self, from: i64, to: i64) -> Result<(), StoreError> {
        let known = self.inner.archive.refresh(self.pool()).await?;
        let is_hit = |partition: &&ArchivedPartition| {
            partition.state.is_only_archived() && partition.first_position <= to && partition.last_position >= from
        };
        match known.iter().rev().find(is_hit) {
            Some(last) => {
                Err(ArchiveError::NotInTheLog { first: last.first_position, last: last.last_position }.into())
            }
            None => Ok(()),
        }
    }
}

/// The partition that has the position after this one.
pub(super) fn having(known: &[ArchivedPartition], position: i64) -> Option<&ArchivedPartition> {
    let next = position.saturating_add(1);
    known.iter().find(|partition| partition.first_position <= next && next <= partition.last_position)
}

/// The first row that does not follow the position before it.
fn first_gap(position: i64, rows: &[Row]) -> Option<usize> {
    (position.saturating_add(1)..).zip(rows).position(|(expected, row)| row.position != expected)
}
