//! Follows the log: requested runs go on the desk, results take executions off it, and full runs are completed.

use std::time::Duration;

use pcs_domain::execution::ExecutionEvent;
use pcs_domain::ids::{CommandId, ExecutionId, JobId, TenantId, TestRunId};
use pcs_domain::job::{Job, JobEvent};
use pcs_domain::job_policy::JobPolicyEvent;
use pcs_domain::schedule::ScheduleEvent;
use pcs_domain::test_run::{CancelCause, TestRun, TestRunCommand, TestRunEvent};
use pcs_domain::{Category, DomainEvent};
use pcs_store::{CommandContext, ExecuteError, Expected, Filter, Follower, Recorded, Store, StoreError, execute};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::RelayError;
use crate::desk::{self, Again, DeadLetter, NewJob, Tally};
use crate::expand::RequestedRun;
use crate::runs::Runs;
use crate::schedules;

/// Events that are read at once.
const PAGE_LEN: usize = 2_000;
/// How far back a new leader looks for runs that were cancelled, in events.
const LOOK_BACK: i64 = 2_000;
/// The categories that make work or end it, or say how it is done.
const SUBSCRIBED: [Category; 5] =
    [Category::TestRun, Category::Execution, Category::JobPolicy, Category::Schedule, Category::Job];

/// The reader of the log.
pub(crate) struct Scheduler {
    store: Store,
    follower: Follower,
    runs: Runs,
    term: i64,
    position: i64,
}

/// A run that was cancelled, and where in the log.
struct CancelledRun {
    tenant: TenantId,
    run_id: TestRunId,
    at: OffsetDateTime,
    position: i64,
}

/// What a page of the log means for the desk.
#[derive(Default)]
struct Page<'a> {
    requested: Vec<RequestedRun>,
    again: Vec<Again>,
    recorded: Vec<Uuid>,
    tally: Tally,
    dead: Vec<DeadLetter>,
    dismissed: Vec<Uuid>,
    cancelled: Vec<CancelledRun>,
    completed: Vec<Uuid>,
    jobs: Vec<(&'a Recorded, &'a JobEvent)>,
    policies: Vec<(&'a Recorded, &'a JobPolicyEvent)>,
    schedules: Vec<(&'a Recorded, &'a ScheduleEvent)>,
}

/// What following the log brought.
pub(crate) struct Followed {
    /// Events that were read.
    pub(crate) events: usize,
    /// Runs and jobs that were cancelled: their tickets shall be purged.
    pub(crate) cancelled: Vec<TestRunId>,
    /// Whether something was paused.
    pub(crate) held: bool,
}

impl Scheduler {
    /// Starts where the last leader stopped.
    pub(crate) async fn open(store: Store, runs: Runs, term: i64) -> Result<Self, RelayError> {
        let position = desk::cursor(store.pool()).await?;
        let follower = store.follow(Filter::all().needing(&SUBSCRIBED));
        let scheduler = Self { store, follower, runs, term, position };
        scheduler.complete_full_runs().await?;
        Ok(scheduler)
    }

    /// Runs that were cancelled shortly before where this scheduler starts.
    pub(crate) async fn lately_cancelled(&self) -> Result<Vec<TestRunId>, RelayError> {
        let events = self.store.read_subscribed((self.position - LOOK_BACK).max(0), LOOK_BACK, &SUBSCRIBED).await?;
        Ok(Page::of(&events).purged())
    }

    /// Waits until the log goes on, for at most this long.
    pub(crate) async fn wait(&self, at_most: Duration) {
        self.follower.wait(self.position, at_most).await;
    }

    /// Reads one page of the log and brings the desk up to it, in one transaction with the cursor.
    pub(crate) async fn follow(&mut self) -> Result<Followed, RelayError> {
        let events = self.follower.read(self.position, PAGE_LEN).await?.events;
        let events = until_retry(&events);
        let Some(last) = events.last().map(|event| event.position) else {
            return Ok(Followed { events: 0, cancelled: Vec::new(), held: false });
        };
        let page = Page::of(events);
        let mut transaction = desk::begin_as_leader(self.store.pool(), self.term).await?;
        desk::lock_cursor(&mut transaction, (self.term, self.position)).await?;
        self.apply(&mut transaction, &page).await?;
        desk::move_cursor(&mut transaction, last).await?;
        desk::commit_as_leader(transaction, self.term).await?;
        self.position = last;
        if !page.recorded.is_empty() || !page.requested.is_empty() {
            self.complete_full_runs().await?;
            self.stop_spent_runs().await?;
        }
        let held = page.policies.iter().any(|(_, event)| matches!(event, JobPolicyEvent::Paused(_)));
        Ok(Followed { events: events.len(), cancelled: page.purged(), held })
    }

    /// In the order of what depends on what: a result may be of a run that the page requests.
    async fn apply(&self, connection: &mut sqlx::PgConnection, page: &Page<'_>) -> Result<(), RelayError> {
        for (recorded, event) in &page.policies {
            desk::apply_policy(connection, recorded, event).await?;
        }
        for (recorded, event) in &page.schedules {
            schedules::apply(connection, recorded, event).await?;
        }
        if !page.dead.is_empty() {
            desk::keep_dead(connection, &page.dead).await?;
        }
        for (recorded, event) in &page.jobs {
            self.apply_job(connection, recorded, event).await?;
        }
        for requested in &page.requested {
            match requested.expand(connection, &self.runs).await {
                // One run that can't be expanded must not hold up all others.
                Err(error @ RelayError::Inconsistent { .. }) => self.give_up(requested, &error).await?,
                expanded => expanded?,
            }
        }
        if !page.again.is_empty() {
            desk::put_back(connection, &page.again).await?;
        }
        if !page.recorded.is_empty() {
            desk::settle(connection, &page.recorded, &page.tally).await?;
        }
        for cancelled in &page.cancelled {
            self.keep_unfinished(connection, cancelled).await?;
        }
        if !page.dismissed.is_empty() {
            desk::dismiss_dead(connection, &page.dismissed).await?;
        }
        let closed: Vec<Uuid> =
            page.completed.iter().copied().chain(page.cancelled.iter().map(|cancelled| cancelled.run_id.0)).collect();
        if closed.is_empty() { Ok(()) } else { desk::close_runs(connection, &closed).await }
    }

    /// A job is put on the desk where somebody wants it, and taken off it where it is over.
    async fn apply_job(
        &self,
        connection: &mut sqlx::PgConnection,
        recorded: &Recorded,
        event: &JobEvent,
    ) -> Result<(), RelayError> {
        let (tenant, job_id) = (recorded.tenant, JobId(recorded.stream_id));
        let trace = recorded.traceparent.as_deref();
        match event {
            JobEvent::Requested(e) => {
                let (kind, lane, not_before) = (&*e.kind, e.lane, e.not_before);
                let new = NewJob { tenant, job_id, kind, lane, not_before, trace, attempt: 1 };
                desk::add_job(connection, &new).await
            }
            JobEvent::Requeued(e) => {
                let job = self.store.load::<Job>(tenant, job_id.0).await?.state;
                let Some(request) = job.request() else { return Ok(()) };
                let (kind, lane) = (&*request.kind, request.lane);
                let new = NewJob { tenant, job_id, kind, lane, not_before: None, trace, attempt: e.attempt };
                desk::add_job(connection, &new).await
            }
            JobEvent::AttemptFailed(e) => {
                let (execution_id, attempt) = (ExecutionId(job_id.0), e.attempt.saturating_add(1));
                desk::put_back(connection, &[Again { execution_id, attempt, snoozes: 0, at: e.retry_at.get() }]).await
            }
            JobEvent::Finished(_) | JobEvent::DeadLettered(_) | JobEvent::Cancelled(_) => {
                desk::close_runs(connection, &[job_id.0]).await
            }
        }
    }

    async fn keep_unfinished(
        &self,
        connection: &mut sqlx::PgConnection,
        cancelled: &CancelledRun,
    ) -> Result<(), RelayError> {
        let Some(run) = self.runs.context(cancelled.tenant, cancelled.run_id).await? else { return Ok(()) };
        let moment = (cancelled.at, cancelled.position);
        desk::keep_unfinished(connection, cancelled.run_id, run.request.card_id, moment).await
    }

    /// Cancels a run whose history does not fit together, and says why in the event.
    async fn give_up(&self, run: &RequestedRun, why: &RelayError) -> Result<(), RelayError> {
        tracing::error!(%why, run.id = %run.run_id, "a run is given up");
        stop_run(&self.store, (run.tenant, run.run_id), CancelCause::Inconsistent, why.to_string()).await
    }

    /// Stops runs that have used up what they may.
    async fn stop_spent_runs(&self) -> Result<(), RelayError> {
        for run in desk::spent_runs(self.store.pool()).await? {
            let (tenant, run_id, cause) = (TenantId(run.tenant_id), TestRunId(run.run_id), run.cause());
            stop_run(&self.store, (tenant, run_id), cause, "the run's budget is used up".to_owned()).await?;
        }
        Ok(())
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

/// Ends a run before its time, in the system's name. The command is derived from the run: twice is once.
pub(crate) async fn stop_run(
    store: &Store,
    (tenant, run_id): (TenantId, TestRunId),
    cause: CancelCause,
    reason: String,
) -> Result<(), RelayError> {
    let mut context = CommandContext::derived(tenant, CommandId::derived(run_id.0, "give up"));
    context.correlation_id = Some(run_id.0);
    let command = TestRunCommand::Cancel { reason, cancelled_by: None, cause };
    match execute::<TestRun>(store, &context, run_id.0, Expected::Exists, command).await {
        Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(()),
        Err(error) => Err(RelayError::Store(StoreError::Unknowable(error.to_string()))),
    }
}

/// The part of a page before the next retry. A retry takes what another run left undone, so all that was before it has to
/// be on the desk; it is the first of its page.
fn until_retry(events: &[Recorded]) -> &[Recorded] {
    let is_retry = |recorded: &Recorded| match &recorded.event {
        DomainEvent::TestRun(TestRunEvent::Requested(request)) => request.retry.is_some(),
        _ => false,
    };
    let next = events.iter().skip(1).position(is_retry).map_or(events.len(), |place| place + 1);
    &events[..next]
}

impl<'a> Page<'a> {
    /// What was cancelled: its tickets shall be purged. A job's are found by its id, as a run's.
    fn purged(&self) -> Vec<TestRunId> {
        let job = |(recorded, event): &(&Recorded, &JobEvent)| {
            matches!(event, JobEvent::Cancelled(_)).then_some(TestRunId(recorded.stream_id))
        };
        self.cancelled.iter().map(|run| run.run_id).chain(self.jobs.iter().filter_map(job)).collect()
    }

    fn of(events: &'a [Recorded]) -> Self {
        let mut page = Self::default();
        for recorded in events {
            match &recorded.event {
                // Cards and reviews make no work by themselves, a regrade's work is a job, and what can't be read is of
                // cards, by the subscription.
                DomainEvent::PromptCard(_)
                | DomainEvent::DataSubject(_)
                | DomainEvent::Regrade(_)
                | DomainEvent::Review(_)
                | DomainEvent::Unread(_) => (),
                DomainEvent::TestRun(event) => page.read_run(recorded, event),
                DomainEvent::Execution(event) => page.read_execution(recorded, event),
                DomainEvent::JobPolicy(event) => page.policies.push((recorded, event)),
                DomainEvent::Schedule(event) => page.schedules.push((recorded, event)),
                DomainEvent::Job(event) => page.jobs.push((recorded, event)),
            }
        }
        page
    }

    fn read_run(&mut self, recorded: &Recorded, event: &TestRunEvent) {
        match event {
            TestRunEvent::Requested(_) => self.requested.push(RequestedRun::new(recorded)),
            TestRunEvent::Cancelled(_) => self.cancelled.push(CancelledRun {
                tenant: recorded.tenant,
                run_id: TestRunId(recorded.stream_id),
                at: recorded.recorded_at.get(),
                position: recorded.position,
            }),
            TestRunEvent::Completed(_) => self.completed.push(recorded.stream_id),
        }
    }

    fn read_execution(&mut self, recorded: &Recorded, event: &ExecutionEvent) {
        match event {
            ExecutionEvent::Finished(e) => {
                let sum = self.tally.entry(e.cell.run_id).or_default();
                sum.passed += u64::from(e.grade.passed);
                sum.failed += u64::from(!e.grade.passed);
                sum.use_up(e);
                self.recorded.push(e.cell.id().0);
            }
            ExecutionEvent::DeadLettered(e) => {
                self.tally.entry(e.cell.run_id).or_default().errors += 1;
                self.recorded.push(e.cell.id().0);
                self.dead.push(DeadLetter::new(recorded, e));
            }
            ExecutionEvent::AttemptFailed(e) => self.put_back(Again {
                execution_id: e.cell.id(),
                attempt: e.attempt.saturating_add(1),
                snoozes: 0,
                at: e.retry_at.get(),
            }),
            ExecutionEvent::Snoozed(e) => self.put_back(Again {
                execution_id: e.cell.id(),
                attempt: e.attempt,
                snoozes: e.snoozes,
                at: e.until.get(),
            }),
            ExecutionEvent::Dismissed(_) => self.dismissed.push(recorded.stream_id),
        }
    }

    /// The latest word counts.
    fn put_back(&mut self, again: Again) {
        self.again.retain(|one| one.execution_id != again.execution_id);
        self.again.push(again);
    }
}
