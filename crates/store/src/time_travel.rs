//! Reads of the past: which position the log was at.

use pcs_domain::Timestamp;

use crate::Store;
use crate::error::StoreError;

impl Store {
    /// The greatest position that was recorded at or before a moment: the head for one in the future, 0 for one before
    /// the first event.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn position_at(&self, at: Timestamp) -> Result<i64, StoreError> {
        // Positions have no gaps and their times never go back, so halving finds it: one look-up by key for each of
        // some thirty steps, where an index on the time would cost every append. What is not in the log any more is
        // older than what is.
        let position = sqlx::query_scalar(
            "with recursive search (low, high) as (
                 select 0::bigint, position from es.head
                 union all
                 select case when e.position is null or e.recorded_at <= $1 then s.middle else s.low end,
                        case when e.position is null or e.recorded_at <= $1 then s.high else s.middle - 1 end
                 from (select low, high, (low + high + 1) / 2 as middle from search where low < high) s
                 left join lateral (select position, recorded_at from es.event where position = s.middle) e on true
             )
             select low from search where low >= high",
        )
        .bind(at.get())
        .fetch_one(self.pool())
        .await?;
        Ok(position)
    }
}
