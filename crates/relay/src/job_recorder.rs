//! Records what workers of jobs on request report, and answers what they ask.

use std::time::Duration;

use pcs_domain::execution::FailureClass;
use pcs_domain::ids::{CommandId, ExecutionId, JobId, TenantId};
use pcs_domain::job::{Job, JobCommand};
use pcs_domain::jobs::on_request::{JobOutcome, JobQuestion, JobReply, JobReport};
use pcs_domain::jobs::test_execution::{Claim, Receipt};
use pcs_store::{CommandContext, Expected, Store, execute};

use crate::presence::Presence;
use crate::recorder::{ENDED_LEN_MAX, RELAY, WORKERS_LOST_MAX, receipt};
use crate::{RelayError, capacity, desk};

/// Answers workers of jobs on request.
pub(crate) struct JobRecorder {
    store: Store,
    presence: Presence,
}

impl JobRecorder {
    pub(crate) fn new(store: Store, presence: Presence) -> Self {
        Self { store, presence }
    }

    /// Commits a report: the answer means that it is durable, or that it changes nothing.
    pub(crate) async fn commit(&self, report: JobReport) -> Result<Receipt, RelayError> {
        let JobReport { tenant, job_id, attempt, worker, outcome, .. } = report;
        let (purpose, command) = match outcome {
            JobOutcome::Finished { output } => {
                (format!("finished/{attempt}"), JobCommand::RecordResult { output, attempt, worker })
            }
            JobOutcome::Failed(failure) => {
                let retry_after = failure.retry_after_ms.map(Duration::from_millis);
                let (class, error) = (failure.class, failure.error);
                let command = JobCommand::RecordFailure { job: job_id, class, error, retry_after, attempt, worker };
                (format!("failed/{attempt}"), command)
            }
        };
        self.record(tenant, job_id, &purpose, command).await
    }

    async fn record(
        &self,
        tenant: TenantId,
        job_id: JobId,
        purpose: &str,
        command: JobCommand,
    ) -> Result<Receipt, RelayError> {
        // No fingerprint: the stream's expected version refuses a second result, so no row is needed to remember it.
        let mut context = CommandContext::derived(tenant, CommandId::derived(job_id.0, purpose));
        context.correlation_id = Some(job_id.0);
        receipt(execute::<Job>(&self.store, &context, job_id.0, Expected::Any, command).await)
    }

    /// Answers a question.
    pub(crate) async fn answer(&self, question: JobQuestion) -> Result<JobReply, RelayError> {
        match question {
            JobQuestion::Wanted { tenant, job_id, attempt, claim } => {
                if !self.load(tenant, job_id).await?.wants(attempt) {
                    return Ok(JobReply::Wanted { wanted: false });
                }
                self.claimed((tenant, job_id), attempt, &claim).await
            }
            JobQuestion::HandBack { tenant, job_id, claim } => {
                // It may have been recorded just before the worker had to stop.
                if matches!(self.load(tenant, job_id).await?, Job::Waiting { .. }) {
                    desk::hand_back(self.store.pool(), ExecutionId(job_id.0), &claim).await?;
                }
                Ok(JobReply::Noted)
            }
            JobQuestion::Ended { jobs } => {
                let mut ended = Vec::new();
                for (tenant, job_id) in jobs.into_iter().take(ENDED_LEN_MAX) {
                    if !matches!(self.load(tenant, job_id).await?, Job::Waiting { .. }) {
                        ended.push(job_id);
                    }
                }
                Ok(JobReply::Ended { jobs: ended })
            }
            JobQuestion::Reserve(wanted) => match self.load(wanted.tenant, wanted.job_id).await? {
                Job::Waiting { request, .. } => capacity::reserve_call(&self.store, &request, &wanted).await,
                // The worker hears by the other path that it is over; a call would be for nobody.
                Job::Absent | Job::Finished(_) | Job::Dead { .. } | Job::Cancelled(_) => {
                    Ok(JobReply::Wanted { wanted: false })
                }
            },
            JobQuestion::Settle(end) => {
                capacity::settle_call(&self.store, &end).await?;
                Ok(JobReply::Noted)
            }
        }
    }

    async fn load(&self, tenant: TenantId, job_id: JobId) -> Result<Job, RelayError> {
        Ok(self.store.load::<Job>(tenant, job_id.0).await?.state)
    }

    /// Notes that a worker has what another one had before. A job that loses one worker after the other may be what ends
    /// them: it is given up.
    async fn claimed(
        &self,
        (tenant, job_id): (TenantId, JobId),
        attempt: u16,
        claim: &Claim,
    ) -> Result<JobReply, RelayError> {
        let alive = self.presence.alive();
        let lost = desk::claim(self.store.pool(), ExecutionId(job_id.0), claim, &alive).await?;
        if lost < WORKERS_LOST_MAX {
            return Ok(JobReply::Wanted { wanted: true });
        }
        tracing::error!(job.id = %job_id, lost, "a job is given up: workers that had it were lost");
        let command = JobCommand::RecordFailure {
            job: job_id,
            class: FailureClass::WorkerLost,
            error: format!("{lost} workers were lost while they had it"),
            retry_after: None,
            attempt,
            worker: RELAY.to_owned(),
        };
        match self.record(tenant, job_id, "given up", command).await? {
            Receipt::Unavailable { message } => Ok(JobReply::Unavailable { message }),
            Receipt::Recorded | Receipt::Refused { .. } => Ok(JobReply::Wanted { wanted: false }),
        }
    }
}
