//! Reads of the past: which position the log was at.

use pcs_domain::Timestamp;

use crate::Store;
use crate::error::StoreError;

impl Store {
    /// The greatest position that was recorded at or before a moment: the head for one in the future, 0 for one before
    /// the first event.
    ///
    /// # Errors
    /// Where the database or, for a moment of which the events were archived, the archive does not answer.
    pub async fn position_at(&self, at: Timestamp) -> Result<i64, StoreError> {
        // Positions have no gaps and their times never go back, so halving finds it: one look-up by key for each of
        // some thirty steps, where an index on the time would cost every append. What is missing is in the archive.
        let (low, high, found): (i64, i64, bool) = sqlx::query_as(
            "with recursive search (low, high, found) as (
                 select 0::bigint, position, true from es.head
                 union all
                 select case when e.recorded_at <= $1 then s.middle else s.low end,
                        case when e.recorded_at > $1 then s.middle - 1 else s.high end,
                        e.position is not null
                 from (select low, high, (low + high + 1) / 2 as middle from search where low < high and found) s
                 left join lateral (select position, recorded_at from es.event where position = s.middle) e on true
             )
             select low, high, found from search where low >= high or not found",
        )
        .bind(at.get())
        .fetch_one(self.pool())
        .await?;
        if found { Ok(low) } else { self.archived_position_at(at, low, high).await }
    }

    /// The same between two positions, with what is archived.
    async fn archived_position_at(&self, at: Timestamp, mut low: i64, mut high: i64) -> Result<i64, StoreError> {
        while low < high {
            let middle = low + (high - low + 1) / 2;
            let row = self.rows_after(middle - 1, 1).await?.into_iter().next();
            match row {
                Some(row) if row.recorded_at > at.get() => high = middle - 1,
                // What is not to be had any more can't be newer than what is.
                Some(_) | None => low = middle,
            }
        }
        Ok(low)
    }
}
