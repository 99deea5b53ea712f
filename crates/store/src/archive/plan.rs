//! Which partitions can go into the archive, and what keeps the others.

use sqlx::PgPool;

use super::catalogue::{self, ArchiveState, ArchivedPartition};
use crate::Store;
use crate::error::StoreError;

/// Somebody who follows the log, and how far it has read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reader {
    /// Who it is, for people.
    pub name: String,
    /// The last position that it has read.
    pub position: i64,
}

/// What is to be done with a partition that is part of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It can be archived now.
    Ready,
    /// It goes on where an earlier run was interrupted.
    Begun,
    /// It was attached again from the archive on purpose, and stays until that is said.
    Restored,
    /// Events are still written to it.
    Open,
    /// It is among the newest closed ones, which shall stay.
    Kept,
    /// Somebody has not read it to its end.
    HeldBy(Reader),
}

/// A partition of the log, and what is to be done with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub number: i64,
    /// The first position that it can hold.
    pub first_position: i64,
    /// The last position.
    pub last_position: i64,
    /// What is to be done.
    pub verdict: Verdict,
}

impl Store {
    /// What an archive run would do: the partitions that are part of the log, the oldest first. The `keep` newest closed
    /// ones stay, and those that a durable subscription or one of
    /// the `readers` has not read to their end. Nothing would break without them: who
    /// reads an archived range has it from the archive, only more slowly.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn archive_plan(&self, keep: u32, readers: &[Reader]) -> Result<Vec<Candidate>, StoreError> {
        let (partition_len, head) = catalogue::partition_len_and_head(self.pool()).await?;
        let archived = catalogue::partitions(self.pool()).await?;
        let numbers = catalogue::attached(self.pool()).await?;
        let open = head / partition_len;
        let subscriptions: Vec<(String, i64)> =
            sqlx::query_as("select name, min(position) from es.subscription_lane group by name order by name")
                .fetch_all(self.pool())
                .await?;
        let subscriptions: Vec<Reader> = subscriptions
            .into_iter()
            .map(|(name, position)| Reader { name: format!("subscription {name}"), position })
            .collect();
        let slowest = subscriptions.iter().chain(readers).min_by_key(|reader| reader.position);
        let candidate = |number: i64| {
            let (first_position, last_position) = bounds(number, partition_len);
            let begun = archived.iter().find(|partition| partition.number == number);
            let verdict = if number >= open {
                Verdict::Open
            } else if begun.is_some_and(|partition| partition.state == ArchiveState::Restored) {
                Verdict::Restored
            } else if number >= open.saturating_sub(i64::from(keep)) {
                Verdict::Kept
            } else if let Some(reader) = slowest.filter(|reader| reader.position < last_position) {
                Verdict::HeldBy(reader.clone())
            } else if begun.is_some() {
                Verdict::Begun
            } else {
                Verdict::Ready
            };
            Candidate { number, first_position, last_position, verdict }
        };
        Ok(numbers.into_iter().map(candidate).collect())
    }

    /// The partitions that are in the archive or on their way there, in order.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn archived_partitions(&self) -> Result<Vec<ArchivedPartition>, StoreError> {
        catalogue::partitions(self.pool()).await
    }
}

/// Cuts an empty log into partitions of another length, in positions; smaller ones are archived sooner.
///
/// # Errors
/// Where the log has events, because a position's partition never changes.
pub async fn set_partition_len(pool: &PgPool, partition_len: i64) -> Result<(), StoreError> {
    sqlx::query("select es.set_partition_len($1)").bind(partition_len).execute(pool).await?;
    Ok(())
}

/// The first and the last position of a partition; positions begin with 1.
pub(crate) fn bounds(number: i64, partition_len: i64) -> (i64, i64) {
    ((number * partition_len).max(1), (number + 1) * partition_len - 1)
}
