//! Schedules on the desk: when each is due next.

use pcs_domain::Timestamp;
use pcs_domain::ids::{ScheduleId, TenantId, TestRunId};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::RelayError;

/// A schedule whose time has come.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct DueSchedule {
    pub(crate) schedule_id: Uuid,
    pub(crate) tenant_id: i32,
    pub(crate) due_at: OffsetDateTime,
}

pub(crate) async fn add_schedule(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: ScheduleId,
    (name, due_at): (&str, Timestamp),
) -> Result<(), RelayError> {
    sqlx::query(
        "insert into jobs.schedule (schedule_id, tenant_id, name, due_at) values ($1, $2, $3, $4)
         on conflict do nothing",
    )
    .bind(id.0)
    .bind(tenant.0)
    .bind(name)
    .bind(due_at.get())
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn pause_schedule(connection: &mut PgConnection, id: ScheduleId) -> Result<(), RelayError> {
    sqlx::query("update jobs.schedule set paused = true where schedule_id = $1").bind(id.0).execute(connection).await?;
    Ok(())
}

/// Lets a schedule go on; times that passed while it was paused are not made up for.
pub(crate) async fn resume_schedule(
    connection: &mut PgConnection,
    id: ScheduleId,
    due_at: Option<Timestamp>,
) -> Result<(), RelayError> {
    sqlx::query("update jobs.schedule set paused = false, due_at = coalesce($2, 'infinity') where schedule_id = $1")
        .bind(id.0)
        .bind(due_at.map(Timestamp::get))
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn drop_schedule(connection: &mut PgConnection, id: ScheduleId) -> Result<(), RelayError> {
    sqlx::query("delete from jobs.schedule where schedule_id = $1").bind(id.0).execute(connection).await?;
    Ok(())
}

/// Schedules whose time has come, by the database's clock, and what that clock says.
pub(crate) async fn due_schedules(pool: &PgPool) -> Result<(Vec<DueSchedule>, Timestamp), RelayError> {
    let now: OffsetDateTime = sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
    let due = sqlx::query_as(
        "select schedule_id, tenant_id, due_at from jobs.schedule where not paused and due_at <= $1
         order by due_at limit 100",
    )
    .bind(now)
    .fetch_all(pool)
    .await?;
    Ok((due, Timestamp::new(now)))
}

/// Moves a schedule on to its next time, unless somebody else has.
pub(crate) async fn move_schedule(
    pool: &PgPool,
    due: &DueSchedule,
    next: Option<Timestamp>,
    run: Option<TestRunId>,
) -> Result<(), RelayError> {
    sqlx::query(
        "update jobs.schedule set due_at = coalesce($3, 'infinity'), last_due_at = $2,
                                  last_run_id = coalesce($4, last_run_id)
         where schedule_id = $1 and due_at = $2",
    )
    .bind(due.schedule_id)
    .bind(due.due_at)
    .bind(next.map(Timestamp::get))
    .bind(run.map(|run| run.0))
    .execute(pool)
    .await?;
    Ok(())
}
