//! `job_list.v1`: one row a job on request, as it is now, and one a failed attempt.

mod queries;

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::ids::{JobId, TenantId};
use pcs_domain::job::JobEvent;
use pcs_domain::{Category, DomainEvent, Timestamp};
use pcs_store::Recorded;
use serde::Serialize;
use sqlx::PgConnection;

pub use self::queries::{JobAttempt, JobFilter, JobRow, JobStatus, attempts, by_id, page};
use crate::{BoxFuture, Projection, ProjectionError, storable};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "job_list.v1";

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct JobList;

type Jobs = BTreeMap<(TenantId, JobId), JobRow>;

impl Projection for JobList {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["job", "job_attempt"]
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Job]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            let touched: BTreeSet<_> =
                batch.iter().filter_map(|recorded| job_event(recorded).map(|_| key(recorded))).collect();
            if touched.is_empty() {
                return Ok(());
            }
            let mut jobs = load(connection, &touched).await?;
            batch.iter().for_each(|recorded| fold(&mut jobs, recorded));
            save(connection, &jobs).await?;
            save_attempts(connection, batch).await
        })
    }
}

fn key(recorded: &Recorded) -> (TenantId, JobId) {
    (recorded.tenant, JobId(recorded.stream_id))
}

/// The events that this projection uses: all of jobs.
fn job_event(recorded: &Recorded) -> Option<&JobEvent> {
    match &recorded.event {
        DomainEvent::Job(event) => Some(event),
        DomainEvent::PromptCard(_)
        | DomainEvent::TestRun(_)
        | DomainEvent::Execution(_)
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Regrade(_)
        | DomainEvent::Review(_)
        | DomainEvent::Unread(_) => None,
    }
}

fn fold(jobs: &mut Jobs, recorded: &Recorded) {
    let Some(event) = job_event(recorded) else { return };
    if let JobEvent::Requested(e) = event {
        jobs.entry(key(recorded)).or_insert_with(|| JobRow {
            id: JobId(recorded.stream_id),
            kind: e.kind.clone(),
            lane: e.lane,
            status: JobStatus::Waiting,
            input: e.input.clone(),
            output: None,
            attempts: 0,
            worker: None,
            error_class: None,
            error: None,
            requested_by: e.requested_by,
            requested_at: recorded.recorded_at,
            not_before: e.not_before,
            ended_at: None,
            revision: recorded.version,
        });
        return;
    }
    // As in the domain: what happens to no job changes nothing.
    if let Some(job) = jobs.get_mut(&key(recorded)) {
        change(job, event, recorded.recorded_at);
        job.revision = recorded.version;
    }
}

fn change(job: &mut JobRow, event: &JobEvent, at: Timestamp) {
    match event {
        // A stream has one, its first, and `fold` has used it.
        JobEvent::Requested(_) => (),
        JobEvent::AttemptFailed(e) => {
            (job.attempts, job.worker) = (e.attempt, Some(e.worker.clone()));
            (job.error_class, job.error) = (Some(e.class), Some(e.error.clone()));
        }
        JobEvent::Finished(e) => {
            (job.status, job.ended_at, job.attempts) = (JobStatus::Finished, Some(at), e.attempt);
            (job.output, job.worker) = (Some(e.output.clone()), Some(e.worker.clone()));
            (job.error_class, job.error) = (None, None);
        }
        JobEvent::DeadLettered(e) => {
            (job.status, job.ended_at, job.attempts) = (JobStatus::Dead, Some(at), e.attempt);
            job.worker = Some(e.worker.clone());
            (job.error_class, job.error) = (Some(e.class), Some(e.error.clone()));
        }
        JobEvent::Cancelled(_) => (job.status, job.ended_at) = (JobStatus::Cancelled, Some(at)),
        JobEvent::Requeued(_) => (job.status, job.ended_at) = (JobStatus::Waiting, None),
    }
}

async fn load(connection: &mut PgConnection, touched: &BTreeSet<(TenantId, JobId)>) -> Result<Jobs, ProjectionError> {
    let (tenants, ids): (Vec<_>, Vec<_>) = touched.iter().map(|(tenant, id)| (tenant.0, id.0)).unzip();
    // Planned anew each time: a plan that was made while the table was empty would scan it for ever.
    let rows: Vec<queries::Stored> = sqlx::query_as(
        "select tenant_id, id, kind, lane, status, input, output, attempts, worker, error_class, error, requested_by,
                requested_at, not_before, ended_at, revision
         from job join unnest($1::int[], $2::uuid[]) as touched (tenant_id, id) using (tenant_id, id)",
    )
    .persistent(false)
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|stored| ((stored.tenant, stored.job.id), stored.job)).collect())
}

/// A job with its tenant, as the statement takes it: the fields have the columns' names.
#[derive(Serialize)]
struct Saved<'a> {
    tenant_id: TenantId,
    #[serde(flatten)]
    job: &'a JobRow,
}

async fn save(connection: &mut PgConnection, jobs: &Jobs) -> Result<(), ProjectionError> {
    let rows = jobs.iter().map(|((tenant, _), job)| Saved { tenant_id: *tenant, job });
    for array in storable::json_arrays(rows)? {
        sqlx::query(include_str!("../../queries/job_save.sql")).bind(array).execute(&mut *connection).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct SavedAttempt<'a> {
    tenant_id: TenantId,
    job_id: JobId,
    attempt: u16,
    worker: &'a str,
    class: &'static str,
    error: &'a str,
    retry_at: Option<Timestamp>,
    at: Timestamp,
}

fn attempt(recorded: &Recorded) -> Option<SavedAttempt<'_>> {
    let (attempt, worker, class, error, retry_at) = match job_event(recorded)? {
        JobEvent::AttemptFailed(e) => (e.attempt, &e.worker, e.class, &e.error, Some(e.retry_at)),
        JobEvent::DeadLettered(e) => (e.attempt, &e.worker, e.class, &e.error, None),
        JobEvent::Requested(_) | JobEvent::Finished(_) | JobEvent::Cancelled(_) | JobEvent::Requeued(_) => return None,
    };
    let (tenant_id, job_id) = key(recorded);
    let (class, at) = (class.name(), recorded.recorded_at);
    Some(SavedAttempt { tenant_id, job_id, attempt, worker, class, error, retry_at, at })
}

async fn save_attempts(connection: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    for array in storable::json_arrays(batch.iter().filter_map(attempt))? {
        sqlx::query(
            "insert into job_attempt (tenant_id, job_id, attempt, worker, class, error, retry_at, at)
             select tenant_id, job_id, attempt, worker, class, error, retry_at, at
             from jsonb_to_recordset($1::jsonb) as r (tenant_id int, job_id uuid, attempt int, worker text, class text,
                                                      error text, retry_at timestamptz, at timestamptz)
             on conflict do nothing",
        )
        .bind(array)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pcs_domain::execution::FailureClass;
    use pcs_domain::job::{Cancelled, DeadLettered, Finished, Requested, Requeued};
    use pcs_domain::test_run::Lane;
    use serde_json::Map;

    use super::*;
    use crate::tests::{actor, recorded};

    fn requested() -> JobEvent {
        JobEvent::Requested(Requested {
            kind: "maintenance".to_owned(),
            lane: Lane::Bulk,
            input: Map::new(),
            not_before: None,
            requested_by: Some(actor()),
        })
    }

    fn dead() -> JobEvent {
        let (worker, error) = ("w".to_owned(), "no".to_owned());
        JobEvent::DeadLettered(DeadLettered { attempt: 1, worker, class: FailureClass::BadRequest, error })
    }

    fn fold_all(events: Vec<JobEvent>) -> Jobs {
        let mut jobs = Jobs::new();
        for (index, event) in events.into_iter().enumerate() {
            fold(&mut jobs, &recorded(7, i64::try_from(index).unwrap() + 1, DomainEvent::Job(event)));
        }
        jobs
    }

    #[test]
    fn a_dead_letter_that_is_tried_again_is_no_longer_one() {
        let job = |more: Vec<JobEvent>| fold_all([vec![requested(), dead()], more].concat()).pop_first().unwrap().1;
        let seen = job(vec![]);
        assert_eq!((seen.status, seen.error.as_deref(), seen.ended_at.is_some()), (JobStatus::Dead, Some("no"), true));
        let again = JobEvent::Requeued(Requeued { attempt: 2, requeued_by: actor() });
        let seen = job(vec![again.clone()]);
        assert_eq!((seen.status, seen.error.as_deref(), seen.ended_at), (JobStatus::Waiting, Some("no"), None));
        let done = JobEvent::Finished(Finished { output: Map::new(), attempt: 2, worker: "v".to_owned() });
        let seen = job(vec![again, done]);
        assert_eq!((seen.status, seen.error, seen.attempts, seen.revision), (JobStatus::Finished, None, 2, 4));
    }

    #[test]
    fn what_happens_to_no_job_changes_nothing() {
        let cancelled = JobEvent::Cancelled(Cancelled { reason: String::new(), cancelled_by: actor() });
        assert!(fold_all(vec![cancelled]).is_empty());
    }
}
