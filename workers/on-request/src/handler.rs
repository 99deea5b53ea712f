//! One ticket from its delivery to its report.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_bus::{Bus, Disposition, Job, JobHandler, until_taken};
use pcs_domain::execution::FailureClass;
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::on_request::{JobFailure, JobOutcome, JobQuestion, JobReply, JobReport, JobTicket};
use pcs_domain::jobs::test_execution::Claim;
use pcs_domain::limits::JOB_OUTPUT_BYTES_MAX;
use serde_json::{Map, Value};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::working::Working;
use crate::{Attempt, Task};

/// When a ticket comes back that nothing could be done for because the relay did not answer.
const RELAY_RETRY: Duration = Duration::from_secs(1);

/// Does jobs on request of one kind.
pub struct OnRequest {
    bus: Bus,
    task: Arc<dyn Task>,
    worker: String,
    working: Working,
}

impl OnRequest {
    /// A handler that reports as `worker`.
    #[must_use]
    pub fn new(bus: Bus, task: Arc<dyn Task>, worker: String) -> Self {
        Self { bus, task, worker, working: Working::default() }
    }

    async fn work(&self, ticket: JobTicket, redelivered: bool) -> Disposition {
        // Somebody may have done it already.
        if redelivered {
            match self.is_wanted(&ticket).await {
                Some(true) => (),
                Some(false) => return Disposition::Done,
                None => return Disposition::Later(RELAY_RETRY),
            }
        }
        let exported = exported_span(self.task.kind(), &ticket);
        let outcome = self.attempt(&ticket).instrument(exported.clone()).await;
        if let JobOutcome::Failed(failure) = &outcome {
            exported.record("otel.status_code", "ERROR");
            exported.record("error.type", failure.class.name());
        }
        drop(exported);
        self.report(&ticket, outcome).await;
        Disposition::Done
    }

    async fn attempt(&self, ticket: &JobTicket) -> JobOutcome {
        let JobTicket { tenant, job_id, attempt, input, .. } = ticket.clone();
        let limit = self.task.time_max();
        let attempted = self.task.attempt(Attempt { tenant, job_id, attempt, input });
        match tokio::time::timeout(limit, attempted).await {
            Ok(Ok(output)) => fitting(output),
            Ok(Err(failure)) => JobOutcome::Failed(failure),
            Err(_) => {
                let error = format!("the attempt took more than {} s and was stopped", limit.as_secs());
                JobOutcome::Failed(JobFailure::new(FailureClass::Timeout, error))
            }
        }
    }

    fn claim(&self, ticket: &JobTicket) -> Claim {
        Claim { dispatch_id: ticket.dispatch_id, worker: self.worker.clone() }
    }

    /// Whether there is still something to do; none where the relay does not say.
    async fn is_wanted(&self, ticket: &JobTicket) -> Option<bool> {
        let (tenant, job_id, attempt) = (ticket.tenant, ticket.job_id, ticket.attempt);
        match self.ask(JobQuestion::Wanted { tenant, job_id, attempt, claim: self.claim(ticket) }).await? {
            JobReply::Wanted { wanted } => Some(wanted),
            _ => None,
        }
    }

    async fn ask(&self, question: JobQuestion) -> Option<JobReply> {
        match self.bus.ask_job(self.task.kind(), &question).await {
            Ok(JobReply::Unavailable { message }) => {
                tracing::warn!(message, "the relay can't answer now");
                None
            }
            Ok(reply) => Some(reply),
            Err(error) => {
                tracing::warn!(%error, "the relay does not answer");
                None
            }
        }
    }

    /// Sends the report until it has an answer: the lease is kept alive meanwhile.
    async fn report(&self, ticket: &JobTicket, outcome: JobOutcome) {
        let report = JobReport {
            tenant: ticket.tenant,
            dispatch_id: ticket.dispatch_id,
            job_id: ticket.job_id,
            attempt: ticket.attempt,
            worker: self.worker.clone(),
            outcome,
        };
        until_taken(|| self.bus.report_job(self.task.kind(), &report)).await;
    }
}

/// An output that may be recorded, or the failure that says how large it was.
fn fitting(output: Map<String, Value>) -> JobOutcome {
    let bytes = serde_json::to_string(&output).map_or(0, |text| text.len());
    if bytes <= JOB_OUTPUT_BYTES_MAX {
        return JobOutcome::Finished { output };
    }
    let error = format!("the output has {bytes} bytes; at most {JOB_OUTPUT_BYTES_MAX} are recorded");
    JobOutcome::Failed(JobFailure::new(FailureClass::OutputTooLarge, error))
}

/// What every line that is logged for a job says: the request that caused it, and which attempt at what it is.
fn span(kind: JobKind, ticket: &JobTicket) -> Span {
    // version-trace-parent-flags: the trace is the second part.
    let trace = ticket.traceparent.as_deref().and_then(|parent| parent.split('-').nth(1)).unwrap_or_default();
    tracing::info_span!("job", trace.id = trace, kind = kind.name, job.id = %ticket.job_id, attempt = ticket.attempt)
}

/// The job in the trace of the request that caused it.
fn exported_span(kind: JobKind, ticket: &JobTicket) -> Span {
    let span = tracing::info_span!(
        target: pcs_traces::TARGET,
        "process",
        otel.name = %format_args!("process {}", kind.name),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        job.id = %ticket.job_id,
        attempt = i64::from(ticket.attempt),
        "error.type" = Empty,
    );
    pcs_traces::continue_from(&span, ticket.traceparent.as_deref());
    span
}

impl JobHandler for OnRequest {
    fn kind(&self) -> JobKind {
        self.task.kind()
    }

    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let ticket: JobTicket = match serde_json::from_slice(&job.ticket) {
                Ok(ticket) => ticket,
                Err(error) => return Disposition::Unreadable(error.to_string()),
            };
            let _working = self.working.begin(ticket.tenant, ticket.job_id);
            let span = span(self.task.kind(), &ticket);
            self.work(ticket, job.redelivered).instrument(span).await
        })
    }

    fn hand_back(&self, ticket: bytes::Bytes) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let Ok(ticket) = serde_json::from_slice::<JobTicket>(&ticket) else { return Disposition::Redeliver };
            let (tenant, job_id, claim) = (ticket.tenant, ticket.job_id, self.claim(&ticket));
            match self.ask(JobQuestion::HandBack { tenant, job_id, claim }).await {
                Some(JobReply::Noted) => Disposition::Done,
                Some(_) | None => Disposition::Redeliver,
            }
        })
    }

    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let jobs = self.working.jobs();
            if jobs.is_empty() {
                return Vec::new();
            }
            match self.ask(JobQuestion::Ended { jobs }).await {
                Some(JobReply::Ended { jobs }) => jobs.into_iter().map(|job| job.0.simple().to_string()).collect(),
                Some(_) | None => Vec::new(),
            }
        })
    }

    fn panicked(&self, ticket: bytes::Bytes, message: String) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let ticket: JobTicket = match serde_json::from_slice(&ticket) {
                Ok(ticket) => ticket,
                Err(error) => return Disposition::Unreadable(error.to_string()),
            };
            let failure = JobFailure::new(FailureClass::Worker, format!("the worker panicked: {message}"));
            self.report(&ticket, JobOutcome::Failed(failure)).await;
            Disposition::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_too_large_to_be_recorded_is_a_failure_with_its_size() {
        let output = |len: usize| json!({ "text": "x".repeat(len) }).as_object().cloned().unwrap();
        assert!(matches!(fitting(output(10)), JobOutcome::Finished { .. }));
        let JobOutcome::Failed(failure) = fitting(output(JOB_OUTPUT_BYTES_MAX)) else { panic!() };
        assert_eq!(failure.class, FailureClass::OutputTooLarge);
        assert!(failure.error.contains(&(JOB_OUTPUT_BYTES_MAX + 11).to_string()), "{}", failure.error);
    }
}
