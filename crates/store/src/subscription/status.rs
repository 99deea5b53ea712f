//! How subscriptions are: how far each of their lanes has come, who works on it, and how long its next event has waited.

use pcs_domain::Timestamp;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SubscriptionError;
use crate::Store;
use crate::error::StoreError;

/// How a subscription is.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// Into how many lanes its streams are divided.
    pub lanes: i16,
    /// How many of them somebody works on.
    pub owned: i64,
    /// Every event up to here was handled or parked, in all lanes.
    pub position: i64,
    /// How many events of the log come after it, wanted or not.
    pub lag: i64,
    /// How old the first of those is, in seconds; none where there is none.
    pub lag_seconds: Option<f64>,
    /// How many events are parked.
    pub parked: i64,
}

/// How one lane of a subscription is.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneStatus {
    /// Its number, from 0.
    pub lane: i16,
    /// Every event of it up to here was handled or parked.
    pub position: i64,
    /// How many events of the log come after it, wanted or not, of this lane or not.
    pub lag: i64,
    /// How old the first of those is, in seconds; none where there is none.
    pub lag_seconds: Option<f64>,
    /// The process that works on it; none where nobody does, or where its lease is over.
    pub owner: Option<Uuid>,
    /// How often the owner has changed.
    pub fence: i64,
    /// Until when the lane is its owner's, if it says nothing.
    pub leased_until: Option<Timestamp>,
    /// When the checkpoint was stored the last time.
    pub updated_at: Timestamp,
    /// How many events of it are parked.
    pub parked: i64,
}

#[derive(sqlx::FromRow)]
struct LaneRow {
    lane: i16,
    position: i64,
    lag: i64,
    lag_seconds: Option<f64>,
    owner: Option<Uuid>,
    fence: i64,
    leased_until: Option<OffsetDateTime>,
    updated_at: OffsetDateTime,
    parked: i64,
}

impl From<LaneRow> for LaneStatus {
    fn from(row: LaneRow) -> Self {
        Self {
            lane: row.lane,
            position: row.position,
            lag: row.lag,
            lag_seconds: row.lag_seconds,
            owner: row.owner,
            fence: row.fence,
            leased_until: row.leased_until.map(Timestamp::new),
            updated_at: Timestamp::new(row.updated_at),
            parked: row.parked,
        }
    }
}

/// All subscriptions, by name; for those who have no store open.
///
/// # Errors
/// Where the database does not answer.
pub async fn subscription_statuses(pool: &PgPool) -> Result<Vec<SubscriptionStatus>, StoreError> {
    // The time of an event is that of its batch, and seals stay where the events of a batch are archived.
    Ok(sqlx::query_as(
        "select s.name, s.lanes, l.owned, l.position, greatest(h.position - l.position, 0) as lag,
                (select extract(epoch from clock_timestamp() - b.recorded_at)::float8 from es.seal b
                 where b.last_position > l.position order by b.last_position limit 1) as lag_seconds,
                (select count(*) from es.subscription_parked p where p.name = s.name) as parked
         from es.subscription s
         cross join es.head h
         cross join lateral (
             select min(position) as position,
                    count(*) filter (where owner is not null and leased_until > clock_timestamp()) as owned
             from es.subscription_lane where name = s.name
         ) l
         order by s.name",
    )
    .fetch_all(pool)
    .await?)
}

impl Store {
    /// All subscriptions, by name.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionStatus>, SubscriptionError> {
        Ok(subscription_statuses(self.pool()).await?)
    }

    /// The lanes of a subscription, in order.
    ///
    /// # Errors
    /// [`SubscriptionError::Unknown`].
    pub async fn subscription_lanes(&self, name: &str) -> Result<Vec<LaneStatus>, SubscriptionError> {
        let rows: Vec<LaneRow> = sqlx::query_as(
            "select l.lane, l.position, greatest(h.position - l.position, 0) as lag,
                    (select extract(epoch from clock_timestamp() - b.recorded_at)::float8 from es.seal b
                     where b.last_position > l.position order by b.last_position limit 1) as lag_seconds,
                    case when l.leased_until > clock_timestamp() then l.owner end as owner, l.fence, l.leased_until,
                    l.updated_at,
                    (select count(*) from es.subscription_parked p where p.name = l.name and p.lane = l.lane) as parked
             from es.subscription_lane l cross join es.head h
             where l.name = $1 order by l.lane",
        )
        .bind(name)
        .fetch_all(self.pool())
        .await?;
        if rows.is_empty() {
            return Err(SubscriptionError::Unknown { name: name.to_owned() });
        }
        Ok(rows.into_iter().map(LaneStatus::from).collect())
    }
}
