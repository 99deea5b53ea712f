//! How far a subscription has come: begun once, moved by the owner of a lane, set back by an operator.

use sqlx::PgPool;

use super::{StartFrom, Subscription, SubscriptionError};
use crate::Store;

/// A lane as its owner knows it.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) name: &'a str,
    pub(super) lane: u16,
    pub(super) fence: i64,
}

impl Store {
    /// Sends a subscription to a position: what follows it is delivered again, or what stands before it is not. Owners
    /// notice at their next checkpoint, at the latest with their next lease.
    ///
    /// # Errors
    /// [`SubscriptionError::Unknown`], and [`SubscriptionError::Position`] for one after the end of the log.
    pub async fn rewind_subscription(&self, name: &str, to: i64) -> Result<(), SubscriptionError> {
        in_log(self.pool(), to).await?;
        // The owner stays, and the lease too: nobody else begins before it has noticed.
        let moved = sqlx::query(
            "update es.subscription_lane
             set position = $2, fence = fence + 1, tried_position = 0, tries = 0, updated_at = clock_timestamp()
             where name = $1",
        )
        .bind(name)
        .bind(to)
        .execute(self.pool())
        .await?;
        if moved.rows_affected() == 0 {
            return Err(SubscriptionError::Unknown { name: name.to_owned() });
        }
        Ok(())
    }

    /// Deletes a subscription with its checkpoint and its parked events; processes that run it end with an error.
    ///
    /// # Errors
    /// [`SubscriptionError::Unknown`].
    pub async fn delete_subscription(&self, name: &str) -> Result<(), SubscriptionError> {
        let deleted =
            sqlx::query("delete from es.subscription where name = $1").bind(name).execute(self.pool()).await?;
        if deleted.rows_affected() == 0 {
            return Err(SubscriptionError::Unknown { name: name.to_owned() });
        }
        Ok(())
    }

    /// Begins a subscription, or finds it begun: where it starts is settled the first time.
    pub(super) async fn open_subscription(&self, subscription: &Subscription) -> Result<(), SubscriptionError> {
        let at = match subscription.from {
            StartFrom::Start => Some(0),
            StartFrom::Position(position) => {
                in_log(self.pool(), position).await?;
                Some(position)
            }
            StartFrom::Now => None,
        };
        let lanes = i16::try_from(subscription.lanes).unwrap_or(i16::MAX);
        sqlx::query(
            "with begun as (
                 insert into es.subscription (name, lanes, started_after)
                 select $1, $2, coalesce($3, position) from es.head
                 on conflict (name) do nothing returning started_after
             )
             insert into es.subscription_lane (name, lane, position)
             select $1, lane, started_after from begun, generate_series(0, $2 - 1) lane",
        )
        .bind(&subscription.name)
        .bind(lanes)
        .bind(at)
        .execute(self.pool())
        .await?;
        let stored: Option<i16> = sqlx::query_scalar("select lanes from es.subscription where name = $1")
            .bind(&subscription.name)
            .fetch_optional(self.pool())
            .await?;
        let stored = stored.ok_or_else(|| SubscriptionError::Unknown { name: subscription.name.clone() })?;
        if stored != lanes {
            return Err(SubscriptionError::LanesChanged {
                name: subscription.name.clone(),
                stored: u16::try_from(stored).unwrap_or_default(),
                asked: subscription.lanes,
            });
        }
        Ok(())
    }
}

async fn in_log(pool: &PgPool, position: i64) -> Result<(), SubscriptionError> {
    let head: i64 = sqlx::query_scalar("select position from es.head").fetch_one(pool).await?;
    if (0..=head).contains(&position) { Ok(()) } else { Err(SubscriptionError::Position { position, head }) }
}

/// Moves a lane's checkpoint; answers whether the lane is still held with this fence.
pub(super) async fn store(pool: &PgPool, held: Held<'_>, position: i64) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(
        "update es.subscription_lane set position = $4, updated_at = clock_timestamp()
         where name = $1 and lane = $2 and fence = $3 and position <= $4",
    )
    .bind(held.name)
    .bind(i32::from(held.lane))
    .bind(held.fence)
    .bind(position)
    .execute(pool)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Remembers that an event is begun for the n-th time, before it is handled.
pub(super) async fn begin(pool: &PgPool, held: Held<'_>, position: i64, tries: i32) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query(
        "update es.subscription_lane set tried_position = $4, tries = $5 where name = $1 and lane = $2 and fence = $3",
    )
    .bind(held.name)
    .bind(i32::from(held.lane))
    .bind(held.fence)
    .bind(position)
    .bind(tries)
    .execute(pool)
    .await?;
    Ok(noted.rows_affected() == 1)
}
