//! Records what workers report, and answers what they ask. Reports of many workers are committed together.

use futures_util::future::BoxFuture;
use pcs_bus::Responder;
use pcs_domain::RejectionCode;
use pcs_domain::execution::{Execution, ExecutionRef};
use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::jobs::test_execution::{Outcome, Question, Receipt, Reply, Report};
use pcs_store::{CommandContext, ExecuteError, Expected, Store, execute, execute_new};

use crate::RelayError;
use crate::runs::Runs;

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
        match self.runs.context(tenant, run_id).await? {
            None => return refused("run_not_found"),
            Some(run) if !run.has_cell(&report.cell) => return refused("not_of_this_run"),
            Some(_) => (),
        }
        if !self.runs.is_running(tenant, run_id).await? {
            return refused("run_not_running");
        }
        let execution_id = report.execution_id();
        let kind = match &report.outcome {
            Outcome::Finished { .. } => "finished",
            Outcome::Failed { .. } => "failed",
        };
        let attempt = report.attempt;
        let command_id = CommandId::derived(execution_id.0, &format!("{kind}/{attempt}"));
        // No fingerprint: the stream's expected version refuses a second result, so no row is needed to remember it.
        let mut context = CommandContext::derived(tenant, command_id);
        context.correlation_id = Some(run_id.0);
        let command = report.into_command();
        let executed = if attempt == 1 {
            execute_new::<Execution>(&self.store, &context, execution_id.0, command).await
        } else {
            execute::<Execution>(&self.store, &context, execution_id.0, Expected::Any, command).await
        };
        match executed {
            Ok(_) => Ok(Receipt::Recorded),
            Err(ExecuteError::Rejected(rejection)) => refused(rejection.code()),
            Err(ExecuteError::StreamClosed { .. }) => refused("stream_closed"),
            Err(ExecuteError::Store(error)) => Err(error.into()),
            Err(
                error @ (ExecuteError::Conflict { .. } | ExecuteError::KeyReused | ExecuteError::Overloaded { .. }),
            ) => Ok(Receipt::Unavailable { message: error.to_string() }),
        }
    }

    async fn answer(&self, question: Question) -> Result<Reply, RelayError> {
        let unknown = |message: &str| Ok(Reply::Unknown { message: message.to_owned() });
        match question {
            Question::Plan { tenant, run_id } => match self.runs.context(tenant, run_id).await? {
                Some(run) => Ok(Reply::Plan(Box::new(run.plan.clone()))),
                None => unknown("there is no such run"),
            },
            Question::Case { tenant, cell } => match self.runs.context(tenant, cell.run_id).await? {
                Some(run) => match run.case(cell.case_id) {
                    Some(case) => Ok(Reply::Case(Box::new(case.clone()))),
                    None => unknown("the run has no such case"),
                },
                None => unknown("there is no such run"),
            },
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
