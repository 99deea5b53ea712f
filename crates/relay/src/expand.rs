//! A requested run becomes executions on the desk: its matrix, or what another run left undone of it.

use pcs_domain::execution::ExecutionRef;
use pcs_domain::ids::{TenantId, TestCaseId, TestRunId};
use pcs_store::Recorded;
use sqlx::PgConnection;

use crate::RelayError;
use crate::desk::{self, NewExecutions, NewRun};
use crate::runs::{RunContext, Runs};

/// A run that was requested, as the log has it.
pub(crate) struct RequestedRun {
    pub(crate) tenant: TenantId,
    pub(crate) run_id: TestRunId,
    at: pcs_domain::Timestamp,
    trace: Option<String>,
}

impl RequestedRun {
    pub(crate) fn new(recorded: &Recorded) -> Self {
        Self {
            tenant: recorded.tenant,
            run_id: TestRunId(recorded.stream_id),
            at: recorded.recorded_at,
            trace: recorded.traceparent.clone(),
        }
    }

    /// Puts the run and its executions on the desk.
    pub(crate) async fn expand(&self, connection: &mut PgConnection, runs: &Runs) -> Result<(), RelayError> {
        let run_id = self.run_id;
        let missing = || RelayError::Inconsistent { run_id, message: "it is not in its stream".to_owned() };
        let run = runs.context(self.tenant, run_id).await?.ok_or_else(missing)?;
        let rows = match &run.request.retry {
            None => self.matrix(&run)?,
            Some(retry) => {
                self.undone(desk::take_undone(connection, self.tenant, retry, run.request.executions).await?, &run)
            }
        };
        let new = NewRun {
            tenant: self.tenant,
            run_id,
            request: &run.request,
            at: self.at,
            trace: self.trace.as_deref(),
            executions: rows.id.len() as u64,
        };
        let queues = desk::add_run(connection, &new).await?;
        desk::add_executions(connection, &new, &queues, &rows).await
    }

    fn matrix(&self, run: &RunContext) -> Result<NewExecutions, RelayError> {
        let mut rows = NewExecutions::default();
        for case in run.cases() {
            for repeat in 0..run.request.repeats {
                for version in &run.request.versions {
                    for model in &run.request.models {
                        if run.leaves_out(case.id, (*version, model.name()), repeat) {
                            continue;
                        }
                        self.add(&mut rows, run, (*version, case.id, model.name(), repeat));
                    }
                }
            }
        }
        if rows.id.len() as u64 == run.request.executions {
            return Ok(rows);
        }
        let message = format!("it has {} cells and promises {}", rows.id.len(), run.request.executions);
        Err(RelayError::Inconsistent { run_id: self.run_id, message })
    }

    fn undone(&self, cells: Vec<desk::UndoneCell>, run: &RunContext) -> NewExecutions {
        let mut rows = NewExecutions::default();
        for cell in cells {
            let version = u32::try_from(cell.version).unwrap_or_default();
            let repeat = u16::try_from(cell.repeat).unwrap_or_default();
            self.add(&mut rows, run, (version, TestCaseId(cell.case_id), &cell.model, repeat));
        }
        rows
    }

    fn add(
        &self,
        rows: &mut NewExecutions,
        run: &RunContext,
        (version, case_id, model, repeat): (u32, TestCaseId, &str, u16),
    ) {
        let (run_id, card_id) = (self.run_id, run.request.card_id);
        let cell = ExecutionRef { run_id, card_id, version, case_id, model: model.to_owned(), repeat };
        rows.id.push(cell.id().0);
        rows.version.push(i32::try_from(version).unwrap_or(i32::MAX));
        rows.case_id.push(case_id.0);
        rows.model.push(cell.model);
        rows.repeat.push(i16::try_from(repeat).unwrap_or(i16::MAX));
    }
}
