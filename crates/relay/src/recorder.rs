//! Records what workers report, and answers what they ask. Reports of many workers are committed together.

use futures_util::future::BoxFuture;
use pcs_bus::Responder;
use pcs_domain::RejectionCode;
use pcs_domain::data_subject::{Guarded, Subject};
use pcs_domain::execution::{Execution, ExecutionCommand, ExecutionRef, Failure, FailureClass};
use pcs_domain::ids::{CommandId, SubjectId, TenantId};
use pcs_domain::jobs::test_execution::{Outcome, Question, Receipt, Reply, Report};
use pcs_store::{CommandContext, ExecuteError, Expected, PrivacyError, Store, StoreError, execute, execute_new};
use serde_json::Map;

use crate::runs::Runs;
use crate::{RelayError, sessions};

/// Who records the result of an execution that no worker can work on.
const RELAY: &str = "relay";

/// Answers workers.
pub(crate) struct Recorder {
    store: Store,
    runs: Runs,
}

impl Recorder {
    pub(crate) fn new(store: Store, runs: Runs) -> Self {
        Self { store, runs }
    }

    async fn commit(&self, report: Report) -> Result<Receipt, RelayError> {
        let refused = |code: &str| Ok(Receipt::Refused { code: code.to_owned() });
        let (tenant, run_id) = (report.tenant, report.cell.run_id);
        let subject = match self.runs.context(tenant, run_id).await? {
            None => return refused("run_not_found"),
            Some(run) if !run.has_cell(&report.cell) => return refused("not_of_this_run"),
            Some(run) => run.case(report.cell.case_id).and_then(|case| case.subject.as_ref()).map(|subject| subject.id),
        };
        let Some(report) = sessions::opened(&self.store, report)? else { return refused("report_unreadable") };
        if !self.runs.is_running(tenant, run_id).await? {
            return refused("run_not_running");
        }
        let execution_id = report.execution_id();
        let kind = match &report.outcome {
            Outcome::Finished { .. } => "finished",
            Outcome::Failed { .. } | Outcome::Sealed { .. } => "failed",
        };
        let (attempt, cell) = (report.attempt, report.cell.clone());
        let context = context(tenant, &cell, &format!("{kind}/{attempt}"));
        let Some(command) = report.into_command(subject.map(Subject::open)) else {
            return refused("report_unreadable");
        };
        let executed = if attempt == 1 {
            execute_new::<Execution>(&self.store, &context, execution_id.0, command).await
        } else {
            execute::<Execution>(&self.store, &context, execution_id.0, Expected::Any, command).await
        };
        match executed {
            Ok(_) => Ok(Receipt::Recorded),
            // While the worker was at it. What it says is not kept; that there is nothing to be said, is.
            Err(ExecuteError::Store(StoreError::Privacy(PrivacyError::Shredded { subject }))) => {
                self.record_shredded(tenant, cell, subject).await
            }
            Err(ExecuteError::Rejected(rejection)) => refused(rejection.code()),
            Err(ExecuteError::StreamClosed { .. }) => refused("stream_closed"),
            Err(ExecuteError::Store(error)) => Err(error.into()),
            Err(
                error @ (ExecuteError::Conflict { .. } | ExecuteError::KeyReused | ExecuteError::Overloaded { .. }),
            ) => Ok(Receipt::Unavailable { message: error.to_string() }),
        }
    }

    /// Records the result of an execution whose case is gone: an error that says so, with nothing of the subject.
    async fn record_shredded(
        &self,
        tenant: TenantId,
        cell: ExecutionRef,
        subject: SubjectId,
    ) -> Result<Receipt, RelayError> {
        let execution_id = cell.id();
        let attempt = match self.store.load::<Execution>(tenant, execution_id.0).await?.state {
            Execution::Recorded => return Ok(Receipt::Recorded),
            Execution::Waiting { failed_attempts } => failed_attempts.saturating_add(1),
        };
        let context = context(tenant, &cell, "shredded");
        let failure = Failure { class: FailureClass::SubjectShredded, error: String::new() };
        let (subject, input, worker) = (Some(Subject::shredded(subject)), Map::new(), RELAY.to_owned());
        let command =
            ExecutionCommand::RecordFailure { cell, subject, input, failure, retry_after: None, attempt, worker };
        match execute::<Execution>(&self.store, &context, execution_id.0, Expected::Any, command).await {
            Ok(_) => Ok(Receipt::Recorded),
            Err(ExecuteError::Rejected(rejection)) => Ok(Receipt::Refused { code: rejection.code().to_owned() }),
            Err(ExecuteError::Store(error)) => Err(error.into()),
            Err(ExecuteError::StreamClosed { .. }) => Ok(Receipt::Refused { code: "stream_closed".to_owned() }),
            Err(
                error @ (ExecuteError::Conflict { .. } | ExecuteError::KeyReused | ExecuteError::Overloaded { .. }),
            ) => Ok(Receipt::Unavailable { message: error.to_string() }),
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
            return match self.record_shredded(tenant, cell, subject).await? {
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
            Question::Wanted { tenant, cell, attempt } => {
                Ok(Reply::Wanted { wanted: self.is_wanted(tenant, &cell, attempt).await? })
            }
        }
    }

    async fn is_wanted(&self, tenant: TenantId, cell: &ExecutionRef, attempt: u16) -> Result<bool, RelayError> {
        if !self.runs.is_running(tenant, cell.run_id).await? {
            return Ok(false);
        }
        let execution = self.store.load::<Execution>(tenant, cell.id().0).await?.state;
        Ok(match execution {
            Execution::Recorded => false,
            Execution::Waiting { failed_attempts } => failed_attempts < attempt,
        })
    }
}

/// No fingerprint: the stream's expected version refuses a second result, so no row is needed to remember it.
fn context(tenant: TenantId, cell: &ExecutionRef, purpose: &str) -> CommandContext {
    let mut context = CommandContext::derived(tenant, CommandId::derived(cell.id().0, purpose));
    context.correlation_id = Some(cell.run_id.0);
    context
}

impl Responder for Recorder {
    fn record(&self, report: Report) -> BoxFuture<'_, Receipt> {
        Box::pin(async move {
            self.commit(report).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a result could not be recorded; the worker keeps it and tries again");
                Receipt::Unavailable { message: error.to_string() }
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
