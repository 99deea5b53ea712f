//! Events that a projection could not apply: the list, and what a person does about them.

use pcs_domain::Timestamp;
use pcs_store::{LogPage, Store};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{Connection, FromRow, PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::generation::Generation;
use crate::step::{Target, Write, write_rows};
use crate::{ControlError, Projection, ProjectionError, checkpoint, row, storable};

/// Events of a lane that are drained in one transaction.
const DRAIN_LEN: i64 = 200;

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BadEvent {
    /// The projection.
    pub projection: String,
    /// Which of its generations.
    pub generation: String,
    /// The event's position.
    pub position: i64,
    /// What it is about: later events of the same lane wait for it.
    pub lane: Uuid,
    /// The tenant's number.
    pub tenant_id: i32,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its version in the stream.
    pub version: i64,
    /// Its type and the version of its payload.
    pub event_type: String,
    /// `parked` (it failed), `queued` (it waits for one that failed) or `skipped` (it was given up).
    pub state: String,
    /// What went wrong; absent for one that waits.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was set aside, by the database's clock.
    pub at: Timestamp,
}

impl FromRow<'_, PgRow> for BadEvent {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            projection: row.try_get("name")?,
            generation: row.try_get("generation")?,
            position: row.try_get("position")?,
            lane: row.try_get("lane")?,
            tenant_id: row.try_get("tenant_id")?,
            stream_id: row.try_get("stream_id")?,
            version: row.try_get("version")?,
            event_type: row.try_get("event_type")?,
            state: row.try_get("state")?,
            error: row.try_get("error")?,
            attempts: row.try_get("attempts")?,
            at: row::timestamp(row, "at")?,
        })
    }
}

/// What came of trying a lane again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Drained {
    /// Events that were applied, in order.
    pub applied: i64,
    /// Events that still wait.
    pub left: i64,
}

/// The events that were set aside, in the order of their positions, after a position; of one projection or of all. More
/// than `limit` where several projections have set the last one aside: the next page begins behind its position.
///
/// # Errors
/// Where the database does not answer.
pub async fn bad_events(
    pool: &PgPool,
    projection_name: Option<&str>,
    after_position: i64,
    limit: i64,
) -> Result<Vec<BadEvent>, ProjectionError> {
    let rows = sqlx::query_as(
        "select name, generation, position, lane, tenant_id, stream_id, version, event_type, state, error, attempts, at
         from (
             select * from read.bad_event where ($1::text is null or name = $1) and position > $2
             order by position fetch first $3 rows with ties
         ) page
         order by position, name, generation",
    )
    .bind(projection_name)
    .bind(after_position)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// A lane of a projection.
struct Lane<'a> {
    target: Target<'a>,
    tenant_id: i32,
    lane: Uuid,
}

/// Applies the events of a parked lane in their order, until one fails again. The projector waits meanwhile.
///
/// # Errors
/// Where nothing is parked there, or the database does not answer; what was applied before stays.
pub async fn retry_lane(
    store: &Store,
    projection: &dyn Projection,
    tenant_id: i32,
    lane: Uuid,
) -> Result<Drained, ControlError> {
    let target = Target { projection, generation: Generation::Live, write: Write::Apply };
    let lane = Lane { target, tenant_id, lane };
    let mut drained = Drained { applied: 0, left: lane.len(store.pool()).await? };
    if drained.left == 0 {
        return Err(ControlError::NotParked(lane.lane));
    }
    loop {
        let (applied, failed) = lane.drain(store).await?;
        drained.applied += applied;
        drained.left = lane.len(store.pool()).await?;
        if failed || drained.left == 0 {
            return Ok(drained);
        }
    }
}

/// Gives the first event of a parked lane up, which stays on record, and applies those that waited for it.
///
/// # Errors
/// Where nothing is parked there, or the database does not answer.
pub async fn skip_lane(
    store: &Store,
    projection: &dyn Projection,
    tenant_id: i32,
    lane: Uuid,
) -> Result<Drained, ControlError> {
    let mut transaction = store.pool().begin().await?;
    checkpoint::lock(&mut transaction, projection.name(), Generation::Live).await?;
    let skipped = sqlx::query(
        "update read.bad_event set state = 'skipped'
         where (name, generation, position) = (
             select name, generation, position from read.bad_event
             where name = $1 and generation = 'live' and tenant_id = $2 and lane = $3 and state <> 'skipped'
             order by position limit 1)",
    )
    .bind(projection.name())
    .bind(tenant_id)
    .bind(lane)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    if skipped.rows_affected() == 0 {
        return Err(ControlError::NotParked(lane));
    }
    match retry_lane(store, projection, tenant_id, lane).await {
        // It was the only one.
        Err(ControlError::NotParked(_)) => Ok(Drained { applied: 0, left: 0 }),
        drained => drained,
    }
}

impl Lane<'_> {
    /// How many events wait.
    async fn len(&self, pool: &PgPool) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "select count(*) from read.bad_event
             where name = $1 and generation = $2 and tenant_id = $3 and lane = $4 and state <> 'skipped'",
        )
        .bind(self.target.projection.name())
        .bind(self.target.generation.name())
        .bind(self.tenant_id)
        .bind(self.lane)
        .fetch_one(pool)
        .await
    }

    /// The positions that come next.
    async fn positions(&self, connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "select position from read.bad_event
             where name = $1 and generation = $2 and tenant_id = $3 and lane = $4 and state <> 'skipped'
             order by position limit $5",
        )
        .bind(self.target.projection.name())
        .bind(self.target.generation.name())
        .bind(self.tenant_id)
        .bind(self.lane)
        .bind(DRAIN_LEN)
        .fetch_all(connection)
        .await
    }

    /// Applies what comes next; answers how many events, and whether one failed.
    async fn drain(&self, store: &Store) -> Result<(i64, bool), ControlError> {
        let mut connection = store.pool().acquire().await?;
        let positions = self.positions(&mut connection).await?;
        drop(connection);
        let mut pages = Vec::with_capacity(positions.len());
        for position in &positions {
            pages.push(store.read_page(position - 1, 1, &self.target.projection.subscribed()).await?);
        }
        let mut transaction = store.pool().begin().await?;
        checkpoint::lock(&mut transaction, self.target.projection.name(), self.target.generation).await?;
        if self.positions(&mut transaction).await? != positions {
            // Somebody else drains the same lane; look again.
            transaction.rollback().await?;
            return Ok((0, false));
        }
        let mut applied = 0;
        for (position, page) in positions.iter().zip(&pages) {
            if let Some(error) = self.apply(&mut transaction, page).await? {
                self.fail(&mut transaction, *position, &error).await?;
                transaction.commit().await?;
                return Ok((applied, true));
            }
            sqlx::query("delete from read.bad_event where name = $1 and generation = $2 and position = $3")
                .bind(self.target.projection.name())
                .bind(self.target.generation.name())
                .bind(position)
                .execute(&mut *transaction)
                .await?;
            applied += 1;
        }
        transaction.commit().await?;
        Ok((applied, false))
    }

    /// Applies one event; answers why it can't be.
    async fn apply(&self, connection: &mut PgConnection, page: &LogPage) -> Result<Option<String>, ProjectionError> {
        if let Some(unreadable) = page.unreadable.first() {
            return Ok(Some(unreadable.error.to_string()));
        }
        let mut savepoint = connection.begin().await?;
        match write_rows(&mut savepoint, self.target, &page.events).await {
            Ok(()) => {
                savepoint.commit().await?;
                Ok(None)
            }
            Err(error) if error.is_of_the_events() => {
                savepoint.rollback().await?;
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    async fn fail(&self, connection: &mut PgConnection, position: i64, error: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update read.bad_event set state = 'parked', attempts = attempts + 1, error = $4
             where name = $1 and generation = $2 and position = $3",
        )
        .bind(self.target.projection.name())
        .bind(self.target.generation.name())
        .bind(position)
        .bind(storable::text(error))
        .execute(connection)
        .await?;
        Ok(())
    }
}
