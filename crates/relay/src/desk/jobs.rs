//! Jobs on request on the desk: each is a run of one member, so lanes, weights, pauses and turns hold for it as for others.

use pcs_domain::Timestamp;
use pcs_domain::ids::{JobId, TenantId};
use pcs_domain::test_run::Lane;
use sqlx::PgConnection;

use super::{greet_tenant, number};
use crate::RelayError;

/// A job to be put on the desk.
pub(crate) struct NewJob<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) job_id: JobId,
    pub(crate) kind: &'a str,
    pub(crate) lane: Lane,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) trace: Option<&'a str>,
    /// The number of its next attempt.
    pub(crate) attempt: u16,
}

/// Puts a job on the desk.
pub(crate) async fn add_job(connection: &mut PgConnection, new: &NewJob<'_>) -> Result<(), RelayError> {
    greet_tenant(connection, new.tenant).await?;
    sqlx::query(
        "with run as (
             insert into jobs.run (run_id, tenant_id, planned, trace, lane, not_before)
             values ($1, $2, 1, $3, $4, coalesce($5, '-infinity'))
         ), queue as (
             insert into jobs.queue (run_id, tenant_id, kind, model, model_id, provider)
             values ($1, $2, $6, '', '', '') returning queue_id
         )
         insert into jobs.execution (execution_id, tenant_id, run_id, lane, version, case_id, model, repeat, queue_id,
                                     kind, attempt)
         select $1, $2, $1, $4, 0, $1, '', 0, queue_id, $6, $7 from queue",
    )
    .bind(new.job_id.0)
    .bind(new.tenant.0)
    .bind(new.trace)
    .bind(number(new.lane))
    .bind(new.not_before.map(Timestamp::get))
    .bind(new.kind)
    .bind(i16::try_from(new.attempt).unwrap_or(i16::MAX))
    .execute(connection)
    .await?;
    Ok(())
}
