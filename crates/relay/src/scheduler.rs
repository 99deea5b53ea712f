//! Follows the log: requested runs go on the desk, results take executions off it, and full runs are completed.

use std::time::Duration;

use pcs_domain::execution::{ExecutionEvent, ExecutionRef};
use pcs_domain::ids::{CommandId, ExecutionId, TenantId, TestRunId};
use pcs_domain::test_run::{TestRun, TestRunCommand, TestRunEvent};
use pcs_domain::{Category, DomainEvent};
use pcs_store::{CommandContext, ExecuteError, Expected, Filter, Follower, Recorded, Store, StoreError, execute};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::RelayError;
use crate::desk::{self, NewExecutions, Tally};
use crate::runs::Runs;

/// Events that are read at once.
const PAGE_LEN: usize = 2_000;
/// How far back a new leader looks for runs that were cancelled, in events.
const LOOK_BACK: i64 = 2_000;
/// The categories that make work or end it.
const SUBSCRIBED: [Category; 2] = [Category::TestRun, Category::Execution];

/// The reader of the log.
pub(crate) struct Scheduler {
    store: Store,
    follower: Follower,
    runs: Runs,
    position: i64,
}

/// What a page of the log means for the desk.
#[derive(Default)]
struct Page {
    requested: Vec<(TenantId, TestRunId, Option<String>)>,
    failed: Vec<(ExecutionId, u16, OffsetDateTime)>,
    recorded: Vec<Uuid>,
    tally: Tally,
    cancelled: Vec<TestRunId>,
    closed: Vec<Uuid>,
}

/// What following the log brought.
pub(crate) struct Followed {
    /// Events that were read.
    pub(crate) events: usize,
    /// Runs that were cancelled: their tickets shall be purged.
    pub(crate) cancelled: Vec<TestRunId>,
}

impl Scheduler {
    /// Starts where the last leader stopped.
    pub(crate) async fn open(store: Store, runs: Runs) -> Result<Self, RelayError> {
        let position = desk::cursor(store.pool()).await?;
        let follower = store.follow(Filter::all().needing(&SUBSCRIBED));
        let scheduler = Self { store, follower, runs, position };
        scheduler.complete_full_runs().await?;
        Ok(scheduler)
    }

    /// Runs that were cancelled shortly before where this scheduler starts.
    pub(crate) async fn lately_cancelled(&self) -> Result<Vec<TestRunId>, RelayError> {
        let events = self.store.read_subscribed((self.position - LOOK_BACK).max(0), LOOK_BACK, &SUBSCRIBED).await?;
        Ok(read(&events).cancelled)
    }

    /// Waits until the log goes on, for at most this long.
    pub(crate) async fn wait(&self, at_most: Duration) {
        self.follower.wait(self.position, at_most).await;
    }

    /// Reads one page of the log and brings the desk up to it, in one transaction with the cursor.
    pub(crate) async fn follow(&mut self) -> Result<Followed, RelayError> {
        let events = self.follower.read(self.position, PAGE_LEN).await?.events;
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(Followed { events: 0, cancelled: Vec::new() });
        };
        let page = read(&events);
        let mut transaction = desk::begin(self.store.pool()).await?;
        desk::lock_cursor(&mut transaction, self.position).await?;
        for (tenant, run_id, trace) in &page.requested {
            match self.expand(&mut transaction, *tenant, *run_id, trace.as_deref()).await {
                // One run that can't be expanded must not hold up all others.
                Err(error @ RelayError::Inconsistent { .. }) => self.give_up(*tenant, *run_id, &error).await?,
                expanded => expanded?,
            }
        }
        if !page.failed.is_empty() {
            desk::put_back(&mut transaction, &page.failed).await?;
        }
        if !page.recorded.is_empty() {
            desk::settle(&mut transaction, &page.recorded, &page.tally).await?;
        }
        if !page.closed.is_empty() {
            desk::close_runs(&mut transaction, &page.closed).await?;
        }
        desk::move_cursor(&mut transaction, last).await?;
        transaction.commit().await?;
        self.position = last;
        if !page.recorded.is_empty() {
            self.complete_full_runs().await?;
        }
        Ok(Followed { events: events.len(), cancelled: page.cancelled })
    }

    async fn expand(
        &self,
        connection: &mut sqlx::PgConnection,
        tenant: TenantId,
        run_id: TestRunId,
        trace: Option<&str>,
    ) -> Result<(), RelayError> {
        let missing = || RelayError::Inconsistent { run_id, message: "it is not in its stream".to_owned() };
        let run = self.runs.context(tenant, run_id).await?.ok_or_else(missing)?;
        let mut rows = NewExecutions::default();
        for case in run.cases() {
            for repeat in 0..run.request.repeats {
                for version in &run.request.versions {
                    for model in &run.request.models {
                        let cell = ExecutionRef {
                            run_id,
                            card_id: run.request.card_id,
                            version: *version,
                            case_id: case.id,
                            model: model.name().to_owned(),
                            repeat,
                        };
                        rows.id.push(cell.id().0);
                        rows.version.push(i32::try_from(*version).unwrap_or(i32::MAX));
                        rows.case_id.push(case.id.0);
                        rows.model.push(cell.model);
                        rows.repeat.push(i16::try_from(repeat).unwrap_or(i16::MAX));
                    }
                }
            }
        }
        if rows.id.len() as u64 != run.request.executions {
            let message = format!("it has {} cells and promises {}", rows.id.len(), run.request.executions);
            return Err(RelayError::Inconsistent { run_id, message });
        }
        desk::add_run(connection, tenant, run_id, (run.request.executions, run.request.lane), trace).await?;
        desk::add_executions(connection, tenant, run_id, run.request.lane, &rows).await
    }

    /// Cancels a run whose history does not fit together, and says why in the event.
    async fn give_up(&self, tenant: TenantId, run_id: TestRunId, why: &RelayError) -> Result<(), RelayError> {
        tracing::error!(%why, run.id = %run_id, "a run is given up");
        let context = CommandContext::derived(tenant, CommandId::derived(run_id.0, "give up"));
        let command = TestRunCommand::Cancel { reason: why.to_string(), cancelled_by: None };
        match execute::<TestRun>(&self.store, &context, run_id.0, Expected::Exists, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(()),
            Err(error) => Err(RelayError::Store(StoreError::Unknowable(error.to_string()))),
        }
    }

    /// Completes runs whose results are all there. The command is derived from the run: twice is once.
    pub(crate) async fn complete_full_runs(&self) -> Result<(), RelayError> {
        for run in desk::full_runs(self.store.pool()).await? {
            let command_id = CommandId::derived(run.run_id, "complete");
            let mut context = CommandContext::derived(TenantId(run.tenant_id), command_id);
            context.correlation_id = Some(run.run_id);
            let command = TestRunCommand::Complete { totals: run.totals() };
            match execute::<TestRun>(&self.store, &context, run.run_id, Expected::Exists, command).await {
                Ok(_) => (),
                Err(ExecuteError::Store(error)) => return Err(error.into()),
                // The leader starts anew on an error, and begins with the full runs.
                Err(error @ (ExecuteError::Overloaded { .. } | ExecuteError::Conflict { .. })) => {
                    return Err(RelayError::Store(StoreError::Unknowable(error.to_string())));
                }
                // A rejection here is a bug in counting; the run stays open and can be looked at.
                Err(error) => tracing::error!(%error, run.id = %run.run_id, "a full run could not be completed"),
            }
        }
        Ok(())
    }
}

fn read(events: &[Recorded]) -> Page {
    let mut page = Page::default();
    for recorded in events {
        match &recorded.event {
            // Cards make no work by themselves, and what can't be read is of cards, by the subscription.
            DomainEvent::PromptCard(_) | DomainEvent::DataSubject(_) | DomainEvent::Unread(_) => (),
            DomainEvent::TestRun(event) => page.read_run(recorded, event),
            DomainEvent::Execution(event) => page.read_execution(event),
        }
    }
    page
}

impl Page {
    fn read_run(&mut self, recorded: &Recorded, event: &TestRunEvent) {
        let run_id = TestRunId(recorded.stream_id);
        match event {
            TestRunEvent::Requested(_) => {
                self.requested.push((recorded.tenant, run_id, recorded.traceparent.clone()));
            }
            TestRunEvent::Cancelled(_) => {
                self.cancelled.push(run_id);
                self.closed.push(run_id.0);
            }
            TestRunEvent::Completed(_) => self.closed.push(run_id.0),
        }
    }

    fn read_execution(&mut self, event: &ExecutionEvent) {
        match event {
            ExecutionEvent::Finished(e) => {
                let totals = self.tally.entry(e.cell.run_id).or_default();
                totals.passed += u64::from(e.grade.passed);
                totals.failed += u64::from(!e.grade.passed);
                self.recorded.push(e.cell.id().0);
            }
            ExecutionEvent::DeadLettered(e) => {
                self.tally.entry(e.cell.run_id).or_default().errors += 1;
                self.recorded.push(e.cell.id().0);
            }
            ExecutionEvent::AttemptFailed(e) => {
                let execution_id = e.cell.id();
                self.failed.retain(|(id, _, _)| *id != execution_id);
                self.failed.push((execution_id, e.attempt, e.retry_at.get()));
            }
        }
    }
}
