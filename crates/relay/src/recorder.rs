//! Records what workers report, and answers what they ask. Reports of many workers are committed together.

use futures_util::future::BoxFuture;
use pcs_bus::Responder;
use pcs_domain::data_subject::{Guarded, Subject};
use pcs_domain::execution::{Execution, ExecutionCommand, ExecutionRef, FailedAttempt, Failure, FailureClass};
use pcs_domain::ids::{CommandId, SubjectId, TenantId};
use pcs_domain::jobs::on_request::{JobQuestion, JobReply, JobReport};
use pcs_domain::jobs::test_execution::{Claim, Outcome, Question, Receipt, Reply, Report};
use pcs_domain::{Aggregate, RejectionCode};
use pcs_store::{
    CommandContext, ExecuteError, Executed, Expected, PrivacyError, Store, StoreError, execute, execute_new,
};
use serde_json::{Map, Value};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::job_recorder::JobRecorder;
use crate::presence::Presence;
use crate::runs::Runs;
use crate::{RelayError, capacity, desk, sessions};

/// Who records the result of an execution that no worker can work on.
pub(crate) const RELAY: &str = "relay";
/// A job over which so many workers were lost is given up.
pub(crate) const WORKERS_LOST_MAX: i16 = 3;
/// Most runs or jobs that one question may be about.
pub(crate) const ENDED_LEN_MAX: usize = 1_024;

/// Answers workers.
pub(crate) struct Recorder {
    store: Store,
    runs: Runs,
    presence: Presence,
    jobs: JobRecorder,
}

impl Recorder {
    pub(crate) fn new(store: Store, runs: Runs, presence: Presence) -> Self {
        Self { jobs: JobRecorder::new(store.clone(), presence.clone()), store, runs, presence }
    }

    /// What a worker hears: a failure of ours makes it keep its result and try again.
    async fn received(&self, committed: Result<Receipt, RelayError>) -> Receipt {
        let receipt = committed.unwrap_or_else(|error| {
            tracing::warn!(%error, "a result could not be recorded; the worker keeps it and tries again");
            Receipt::Unavailable { message: error.to_string() }
        });
        if let Receipt::Refused { .. } = &receipt {
            // Only a number for people: the refusal stands whether it is counted or not.
            drop(desk::count(self.store.pool(), "results_refused", 1).await);
        }
        receipt
    }

    /// Commits what a worker reports; the event carries `traceparent`.
    async fn commit(&self, report: Report, traceparent: Option<String>) -> Result<Receipt, RelayError> {
        let refused = |code: &str| Ok(Receipt::Refused { code: code.to_owned() });
        let (tenant, run_id) = (report.tenant, report.cell.run_id);
        let Some(run) = self.runs.context(tenant, run_id).await? else { return refused("run_not_found") };
        if !run.has_cell(&report.cell) {
            return refused("not_of_this_run");
        }
        let subject = run.case(report.cell.case_id).and_then(|case| case.subject.as_ref()).map(|subject| subject.id);
        let Some(report) = sessions::opened(&self.store, report)? else { return refused("report_unreadable") };
        // Before anything is refused: the call was made, whatever becomes of what it brought.
        if report.reserved || matches!(&report.outcome, Outcome::Failed { .. }) {
            capacity::settle(&self.store, &run, &report).await?;
        }
        if !self.runs.is_running(tenant, run_id).await? {
            return refused("run_not_running");
        }
        let execution_id = report.execution_id();
        let kind = match &report.outcome {
            Outcome::Finished { .. } => "finished",
            Outcome::Failed { .. } | Outcome::Sealed { .. } => "failed",
        };
        let (attempt, snoozes, cell) = (report.attempt, report.snoozes, report.cell.clone());
        let purpose = if snoozes == 0 { format!("{kind}/{attempt}") } else { format!("{kind}/{attempt}/{snoozes}") };
        let context = CommandContext { traceparent, ..context(tenant, &cell, &purpose) };
        let Some(command) = report.into_command(subject.map(Subject::open)) else {
            return refused("report_unreadable");
        };
        let executed = if attempt == 1 && snoozes == 0 {
            execute_new::<Execution>(&self.store, &context, execution_id.0, command).await
        } else {
            execute::<Execution>(&self.store, &context, execution_id.0, Expected::Any, command).await
        };
        match executed {
            // While the worker was at it. What it says is not kept; that there is nothing to be said, is.
            Err(ExecuteError::Store(StoreError::Privacy(PrivacyError::Shredded { subject }))) => {
                record_shredded(&self.store, (tenant, cell), subject).await
            }
            executed => receipt(executed),
        }
    }

    /// The case of a cell: in clear where it is nobody's, sealed for the worker where it is a data subject's.
    async fn case(&self, tenant: TenantId, cell: ExecutionRef, worker_key: Option<&str>) -> Result<Reply, RelayError> {
        let unknown = |message: &str| Ok(Reply::Unknown { message: message.to_owned() });
        let Some(run) = self.runs.context(tenant, cell.run_id).await? else { return unknown("there is no such run") };
        let Some(case) = run.case(cell.case_id) else { return unknown("the run has no such case") };
        let Some(subject) = case.subject.as_ref().map(|subject| subject.id) else {
            return Ok(Reply::Case(Box::new(case.clone())));
        };
        let mut case = case.clone();
        self.store.reveal(tenant, [&mut case as &mut dyn Guarded]).await?;
        if case.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded()) {
            // Nobody can work on it any more: the execution gets its result here, or it would wait for ever.
            return match record_shredded(&self.store, (tenant, cell), subject).await? {
                Receipt::Unavailable { message } => Ok(Reply::Unavailable { message }),
                Receipt::Recorded | Receipt::Refused { .. } => unknown("the case's data subject was shredded"),
            };
        }
        match worker_key {
            Some(worker_key) => Ok(sessions::sealed_case(&self.store, (tenant, &cell), &case, worker_key)?),
            None => {
                Ok(Reply::Unavailable { message: "the case is a data subject's; a newer worker is needed".to_owned() })
            }
        }
    }

    async fn answer(&self, question: Question) -> Result<Reply, RelayError> {
        let unknown = |message: &str| Ok(Reply::Unknown { message: message.to_owned() });
        match question {
            Question::Plan { tenant, run_id } => match self.runs.context(tenant, run_id).await? {
                Some(run) => Ok(Reply::Plan(Box::new(run.plan.clone()))),
                None => unknown("there is no such run"),
            },
            Question::Case { tenant, cell, worker_key } => self.case(tenant, cell, worker_key.as_deref()).await,
            Question::Wanted { tenant, cell, attempt, snoozes, claim } => {
                let wanted = self.is_wanted((tenant, &cell), attempt, snoozes).await?;
                match claim {
                    Some(claim) if wanted => self.claimed(tenant, cell, &claim).await,
                    _ => Ok(Reply::Wanted { wanted }),
                }
            }
            Question::Reserve(wanted) => match self.runs.context(wanted.tenant, wanted.cell.run_id).await? {
                Some(run) => capacity::reserve(&self.store, &run, &wanted).await,
                None => unknown("there is no such run"),
            },
            Question::HandBack { tenant, cell, claim } => {
                // It may have been recorded just before the worker had to stop.
                let execution = self.store.load::<Execution>(tenant, cell.id().0).await?.state;
                if matches!(execution, Execution::Waiting { .. }) {
                    desk::hand_back(self.store.pool(), cell.id(), &claim).await?;
                }
                Ok(Reply::Noted)
            }
            Question::Ended { runs } => {
                let mut ended = Vec::new();
                for (tenant, run_id) in runs.into_iter().take(ENDED_LEN_MAX) {
                    if !self.runs.is_running(tenant, run_id).await? {
                        ended.push(run_id);
                    }
                }
                Ok(Reply::Ended { runs: ended })
            }
        }
    }

    async fn is_wanted(
        &self,
        (tenant, cell): (TenantId, &ExecutionRef),
        attempt: u16,
        snoozes: u16,
    ) -> Result<bool, RelayError> {
        if !self.runs.is_running(tenant, cell.run_id).await? {
            return Ok(false);
        }
        let execution = self.store.load::<Execution>(tenant, cell.id().0).await?.state;
        Ok(match execution {
            Execution::Recorded | Execution::DeadLetter(_) => false,
            Execution::Waiting { failed_attempts, snoozes: known } => {
                failed_attempts < attempt && (attempt > failed_attempts.saturating_add(1) || snoozes >= known)
            }
        })
    }

    /// Notes that a worker has what another one had before. A job that loses one worker after the other may be what ends
    /// them: it is given up.
    async fn claimed(&self, tenant: TenantId, cell: ExecutionRef, claim: &Claim) -> Result<Reply, RelayError> {
        let alive = self.presence.alive();
        let lost = desk::claim(self.store.pool(), cell.id(), claim, &alive).await?;
        if lost < WORKERS_LOST_MAX {
            return Ok(Reply::Wanted { wanted: true });
        }
        tracing::error!(execution.id = %cell.id(), lost, "a job is given up: workers that had it were lost");
        let error = format!("{lost} workers were lost while they had it");
        match record_error(&self.store, &self.runs, (tenant, cell), FailureClass::WorkerLost, error).await? {
            Receipt::Unavailable { message } => Ok(Reply::Unavailable { message }),
            Receipt::Recorded | Receipt::Refused { .. } => Ok(Reply::Wanted { wanted: false }),
        }
    }
}

/// What a worker is told about the outcome of its command.
pub(crate) fn receipt<A: Aggregate>(
    executed: Result<Executed<A>, ExecuteError<A::Rejection>>,
) -> Result<Receipt, RelayError> {
    let refused = |code: &str| Ok(Receipt::Refused { code: code.to_owned() });
    match executed {
        Ok(_) => Ok(Receipt::Recorded),
        Err(ExecuteError::Rejected(rejection)) => refused(rejection.code()),
        Err(ExecuteError::StreamClosed { .. }) => refused("stream_closed"),
        Err(ExecuteError::Store(error)) => Err(error.into()),
        Err(error @ (ExecuteError::Conflict { .. } | ExecuteError::KeyReused | ExecuteError::Overloaded { .. })) => {
            Ok(Receipt::Unavailable { message: error.to_string() })
        }
    }
}

/// Records the result of an execution whose case is gone: an error that says so, with nothing of the subject.
async fn record_shredded(
    store: &Store,
    (tenant, cell): (TenantId, ExecutionRef),
    subject: SubjectId,
) -> Result<Receipt, RelayError> {
    let failure = Failure { class: FailureClass::SubjectShredded, error: String::new() };
    let of = (Some(Subject::shredded(subject)), Map::new());
    record(store, (tenant, cell), of, failure).await
}

/// Records, in the relay's name, that an execution ends without an answer.
pub(crate) async fn record_error(
    store: &Store,
    runs: &Runs,
    (tenant, cell): (TenantId, ExecutionRef),
    class: FailureClass,
    error: String,
) -> Result<Receipt, RelayError> {
    let run = runs.context(tenant, cell.run_id).await?;
    let case = run.as_ref().and_then(|run| run.case(cell.case_id));
    let subject = case.and_then(|case| case.subject.as_ref()).map(|subject| subject.id);
    let of = match (subject, case) {
        // The relay does not open what is a data subject's for this.
        (Some(subject), _) => (Some(Subject::open(subject)), Map::new()),
        (None, case) => (None, case.map(|case| case.input.clone()).unwrap_or_default()),
    };
    match record(store, (tenant, cell.clone()), of, Failure { class, error }).await {
        Err(RelayError::Store(StoreError::Privacy(PrivacyError::Shredded { subject }))) => {
            record_shredded(store, (tenant, cell), subject).await
        }
        recorded => recorded,
    }
}

async fn record(
    store: &Store,
    (tenant, cell): (TenantId, ExecutionRef),
    (subject, input): (Option<Subject>, Map<String, Value>),
    failure: Failure,
) -> Result<Receipt, RelayError> {
    let execution_id = cell.id();
    let (attempt, snoozes) = match store.load::<Execution>(tenant, execution_id.0).await?.state {
        Execution::Recorded | Execution::DeadLetter(_) => return Ok(Receipt::Recorded),
        Execution::Waiting { failed_attempts, snoozes } => (failed_attempts.saturating_add(1), snoozes),
    };
    let context = context(tenant, &cell, "given up");
    let worker = RELAY.to_owned();
    let failed = FailedAttempt { cell, subject, input, failure, retry_after: None, attempt, snoozes, worker };
    let command = ExecutionCommand::RecordFailure(failed);
    receipt(execute::<Execution>(store, &context, execution_id.0, Expected::Any, command).await)
}

/// No fingerprint: the stream's expected version refuses a second result, so no row is needed to remember it.
fn context(tenant: TenantId, cell: &ExecutionRef, purpose: &str) -> CommandContext {
    let mut context = CommandContext::derived(tenant, CommandId::derived(cell.id().0, purpose));
    context.correlation_id = Some(cell.run_id.0);
    context
}

/// The recording in the trace of the job that reports.
fn exported_span(report: &Report) -> Span {
    let span = tracing::info_span!(
        target: pcs_traces::TARGET,
        "record result",
        otel.kind = "server",
        otel.status_code = Empty,
        run.id = %report.cell.run_id,
        execution.id = %report.execution_id(),
        attempt = i64::from(report.attempt),
        receipt = Empty,
    );
    pcs_traces::continue_from(&span, report.traceparent.as_deref());
    span
}

fn end(exported: Span, receipt: &Receipt) {
    let word = match receipt {
        Receipt::Recorded => "recorded",
        Receipt::Refused { code } => code,
        Receipt::Unavailable { .. } => {
            exported.record("otel.status_code", "ERROR");
            "unavailable"
        }
    };
    exported.record("receipt", word);
}

impl Responder for Recorder {
    fn record(&self, report: Report) -> BoxFuture<'_, Receipt> {
        Box::pin(async move {
            let span = exported_span(&report);
            let committed = self.commit(report, pcs_traces::traceparent(&span)).instrument(span.clone()).await;
            let receipt = self.received(committed).await;
            end(span, &receipt);
            receipt
        })
    }

    fn record_job(&self, report: JobReport) -> BoxFuture<'_, Receipt> {
        Box::pin(async move { self.received(self.jobs.commit(report).await).await })
    }

    fn reply_job(&self, question: JobQuestion) -> BoxFuture<'_, JobReply> {
        Box::pin(async move {
            self.jobs.answer(question).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a worker's question could not be answered; it will ask again");
                JobReply::Unavailable { message: error.to_string() }
            })
        })
    }

    fn reply(&self, question: Question) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            self.answer(question).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a worker's question could not be answered; it will ask again");
                Reply::Unavailable { message: error.to_string() }
            })
        })
    }
}
