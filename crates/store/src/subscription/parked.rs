//! Events that were set aside: kept with their error, handled again on demand, without touching the checkpoint.

use std::collections::HashSet;
use std::time::Duration;

use pcs_domain::Timestamp;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::checkpoint::Held;
use super::{Delivery, Handler, Refusal, SubscriptionError};
use crate::Store;

/// How long a retry of parked events that says nothing keeps others out; each event prolongs it.
const RETRY_LEASE: Duration = Duration::from_secs(60);

/// An event that was set aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parked {
    /// Its position.
    pub position: i64,
    /// Its stream; none where it could not be read so far.
    pub stream_id: Option<Uuid>,
    /// Its type, where it could be read so far.
    pub event_type: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// What was said the last time.
    pub error: String,
    /// When it was set aside.
    pub parked_at: Timestamp,
}

/// What handling parked events again brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Retried {
    /// Events that are not parked any more.
    pub handled: usize,
    /// Events that were tried, or stand behind one of their stream, and are still parked.
    pub left: usize,
}

/// An event on its way to the parked ones.
pub(super) struct Aside {
    pub(super) position: i64,
    pub(super) stream_id: Option<Uuid>,
    pub(super) event_type: Option<String>,
    pub(super) attempts: u32,
    pub(super) error: String,
}

/// Sets an event aside and moves the checkpoint past it, together; answers whether the lane is still held.
pub(super) async fn park(pool: &PgPool, held: Held<'_>, aside: &Aside) -> Result<bool, sqlx::Error> {
    let parked = sqlx::query(
        "with moved as (
             update es.subscription_lane
             set position = $4, tried_position = 0, tries = 0, updated_at = clock_timestamp()
             where name = $1 and lane = $2 and fence = $3 and position <= $4
             returning name, lane
         )
         insert into es.subscription_parked as p (name, position, lane, stream_id, event_type, attempts, error)
         select name, $4, lane, $5, $6, $7, $8 from moved
         on conflict (name, position) do update set attempts = excluded.attempts, error = excluded.error",
    )
    .bind(held.name)
    .bind(i32::from(held.lane))
    .bind(held.fence)
    .bind(aside.position)
    .bind(aside.stream_id)
    .bind(&aside.event_type)
    .bind(i32::try_from(aside.attempts).unwrap_or(i32::MAX))
    .bind(&aside.error)
    .execute(pool)
    .await?;
    Ok(parked.rows_affected() == 1)
}

type Row = (i64, Option<Uuid>, Option<String>, i32, String, OffsetDateTime);

impl Store {
    /// Parked events of a subscription after a position, in order, at most `limit`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn parked(&self, name: &str, after: i64, limit: usize) -> Result<Vec<Parked>, SubscriptionError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select position, stream_id, event_type, attempts, error, parked_at from es.subscription_parked
             where name = $1 and position > $2 order by position limit $3",
        )
        .bind(name)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.pool())
        .await?;
        let parked = |(position, stream_id, event_type, attempts, error, parked_at)| Parked {
            position,
            stream_id,
            event_type,
            attempts: u32::try_from(attempts).unwrap_or_default(),
            error,
            parked_at: Timestamp::new(parked_at),
        };
        Ok(rows.into_iter().map(parked).collect())
    }

    /// Hands the first `limit` parked events over again, in order. Those that are handled are not parked any more; where
    /// one is not, later ones of its stream wait for it. The checkpoint stays where it is.
    ///
    /// # Errors
    /// [`SubscriptionError::RetryRunning`] where somebody else does it, [`SubscriptionError::Unknown`].
    pub async fn retry_parked(
        &self,
        name: &str,
        handler: &dyn Handler,
        limit: usize,
    ) -> Result<Retried, SubscriptionError> {
        let owner = Uuid::new_v4();
        take(self.pool(), name, owner).await?;
        let retried = self.retry_taken(name, owner, handler, limit).await;
        give_back(self.pool(), name, owner).await?;
        retried
    }

    async fn retry_taken(
        &self,
        name: &str,
        owner: Uuid,
        handler: &dyn Handler,
        limit: usize,
    ) -> Result<Retried, SubscriptionError> {
        let mut retried = Retried::default();
        let mut waiting = HashSet::new();
        for parked in self.parked(name, 0, limit).await? {
            // It also fails where the lease was lost: then somebody else is at it.
            take(self.pool(), name, owner).await?;
            let mut result = Err("an earlier event of its stream is still parked".to_owned());
            if parked.stream_id.is_none_or(|stream_id| !waiting.contains(&stream_id)) {
                result = self.retry_one(&parked, handler).await;
                if let Err(error) = &result {
                    failed_again(self.pool(), name, &parked, error).await?;
                }
            }
            if result.is_ok() {
                self.skip_parked(name, parked.position).await?;
                retried.handled += 1;
            } else {
                waiting.extend(parked.stream_id);
                retried.left += 1;
            }
        }
        Ok(retried)
    }

    async fn retry_one(&self, parked: &Parked, handler: &dyn Handler) -> Result<(), String> {
        let events = self.read_after(parked.position - 1, 1).await.map_err(|error| error.to_string())?;
        let event = events.first().ok_or("the log has no such event")?;
        // No lane is held for it: its fence is below all of theirs.
        let delivery = Delivery { lane: 0, fence: 0, attempt: parked.attempts.saturating_add(1) };
        match handler.handle(event, delivery).await {
            Ok(()) | Err(Refusal::Skip(_)) => Ok(()),
            Err(Refusal::Failed(error) | Refusal::Retry(error) | Refusal::Park(error)) => Err(error),
        }
    }

    /// Forgets one parked event; answers whether there was one.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn skip_parked(&self, name: &str, position: i64) -> Result<bool, SubscriptionError> {
        let skipped = sqlx::query("delete from es.subscription_parked where name = $1 and position = $2")
            .bind(name)
            .bind(position)
            .execute(self.pool())
            .await?;
        Ok(skipped.rows_affected() == 1)
    }

    /// Forgets all parked events of a subscription; answers how many there were.
    ///
    /// # Errors
    /// [`SubscriptionError::RetryRunning`] while they are handled again.
    pub async fn discard_parked(&self, name: &str) -> Result<u64, SubscriptionError> {
        let owner = Uuid::new_v4();
        take(self.pool(), name, owner).await?;
        let discarded =
            sqlx::query("delete from es.subscription_parked where name = $1").bind(name).execute(self.pool()).await;
        give_back(self.pool(), name, owner).await?;
        Ok(discarded?.rows_affected())
    }
}

async fn take(pool: &PgPool, name: &str, owner: Uuid) -> Result<(), SubscriptionError> {
    let taken = sqlx::query(
        "update es.subscription set retry_owner = $2, retry_until = clock_timestamp() + make_interval(secs => $3)
         where name = $1 and (retry_owner is null or retry_owner = $2 or retry_until < clock_timestamp())",
    )
    .bind(name)
    .bind(owner)
    .bind(RETRY_LEASE.as_secs_f64())
    .execute(pool)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(());
    }
    let exists: bool = sqlx::query_scalar("select exists (select from es.subscription where name = $1)")
        .bind(name)
        .fetch_one(pool)
        .await?;
    let name = name.to_owned();
    Err(if exists { SubscriptionError::RetryRunning { name } } else { SubscriptionError::Unknown { name } })
}

async fn give_back(pool: &PgPool, name: &str, owner: Uuid) -> Result<(), SubscriptionError> {
    sqlx::query(
        "update es.subscription set retry_owner = null, retry_until = null where name = $1 and retry_owner = $2",
    )
    .bind(name)
    .bind(owner)
    .execute(pool)
    .await?;
    Ok(())
}

async fn failed_again(pool: &PgPool, name: &str, parked: &Parked, error: &str) -> Result<(), SubscriptionError> {
    sqlx::query(
        "update es.subscription_parked set attempts = attempts + 1, error = $3 where name = $1 and position = $2",
    )
    .bind(name)
    .bind(parked.position)
    .bind(error)
    .execute(pool)
    .await?;
    Ok(())
}
