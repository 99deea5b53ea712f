//! Requests the runs of schedules at their times, once each, whoever leads.

use pcs_domain::ids::{CommandId, ScheduleId, TenantId, TestRunId};
use pcs_domain::prompt_card::PromptCard;
use pcs_domain::schedule::{Created, MissedPolicy, Schedule, ScheduleCommand, ScheduleEvent};
use pcs_domain::test_run::{TestRun, TestRunCommand};
use pcs_domain::{RejectionCode, Timestamp};
use pcs_store::{CommandContext, ExecuteError, Expected, Recorded, Store, StoreError, execute, execute_new};
use sqlx::PgConnection;

use crate::RelayError;
use crate::desk::{self, DueSchedule};

/// A time that is looked at so much later was missed: nobody was there.
const MISSED_AFTER: std::time::Duration = std::time::Duration::from_secs(60);
/// Times that are stepped over one by one, where nobody was there for long.
const STEPS_MAX: usize = 100_000;

/// Brings the desk up to an event of a schedule.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    recorded: &Recorded,
    event: &ScheduleEvent,
) -> Result<(), RelayError> {
    let id = ScheduleId(recorded.stream_id);
    match event {
        ScheduleEvent::Created(created) => match next_after(created, recorded.recorded_at) {
            Some(due_at) => desk::add_schedule(connection, recorded.tenant, id, (&created.name, due_at)).await,
            None => Ok(()),
        },
        ScheduleEvent::Paused(_) => desk::pause_schedule(connection, id).await,
        // When it is due is found at the next look: its calendar is in its first event.
        ScheduleEvent::Resumed(_) => desk::resume_schedule(connection, id, Some(recorded.recorded_at)).await,
        ScheduleEvent::Skipped(_) => Ok(()),
        ScheduleEvent::Deleted(_) => desk::drop_schedule(connection, id).await,
    }
}

/// What `decide` let in can be read; should a newer build have let in more, it is never due here.
fn next_after(created: &Created, after: Timestamp) -> Option<Timestamp> {
    created.calendar().ok().and_then(|calendar| calendar.next_after(after))
}

/// Looks for schedules whose time has come.
pub(crate) struct Schedules {
    store: Store,
}

impl Schedules {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Looks once.
    pub(crate) async fn look(&self) -> Result<(), RelayError> {
        let (due, now) = desk::due_schedules(self.store.pool()).await?;
        for schedule in due {
            self.request(&schedule, now).await?;
        }
        Ok(())
    }

    async fn request(&self, due: &DueSchedule, now: Timestamp) -> Result<(), RelayError> {
        let (tenant, id) = (TenantId(due.tenant_id), ScheduleId(due.schedule_id));
        let Schedule::Active(created) = self.store.load::<Schedule>(tenant, id.0).await?.state else {
            return desk::move_schedule(self.store.pool(), due, None, None).await;
        };
        let (latest, next) = times(&created, desk::moment(due.due_at), now);
        let missed = latest.plus(MISSED_AFTER) < now;
        let run = match latest {
            // Only the moment at which it was resumed.
            at if !is_time(&created, at) => None,
            _ if missed && created.missed == MissedPolicy::Skip => None,
            at => self.run(tenant, id, &created, at).await?,
        };
        desk::move_schedule(self.store.pool(), due, next, run).await
    }

    /// Requests the run of a time; where that can't be, says why.
    async fn run(
        &self,
        tenant: TenantId,
        id: ScheduleId,
        created: &Created,
        due_at: Timestamp,
    ) -> Result<Option<TestRunId>, RelayError> {
        let run_id = id.run_at(due_at);
        let loaded = self.store.load::<PromptCard>(tenant, created.run.card_id.0).await?;
        let PromptCard::Active(card) = &loaded.state else {
            return self.skip(tenant, id, due_at, "its card is archived, or does not exist").await;
        };
        let mut request = match created.run.resolve(card, loaded.revision, created.created_by) {
            Ok(request) => request,
            Err(rejection) => return self.skip(tenant, id, due_at, &rejection.to_string()).await,
        };
        request.schedule_id = Some(id);
        // Derived from the schedule and the time: a second leader asks for the same run, which exists.
        let mut context = CommandContext::derived(tenant, CommandId::derived(run_id.0, "request"));
        context.correlation_id = Some(run_id.0);
        let command = TestRunCommand::Request(Box::new(request));
        match execute_new::<TestRun>(&self.store, &context, run_id.0, command).await {
            Ok(_) => Ok(Some(run_id)),
            Err(ExecuteError::Rejected(rejection)) if rejection.code() == "run_already_exists" => Ok(Some(run_id)),
            Err(ExecuteError::Rejected(rejection)) => self.skip(tenant, id, due_at, &rejection.to_string()).await,
            Err(error) => Err(RelayError::Store(StoreError::Unknowable(error.to_string()))),
        }
    }

    async fn skip(
        &self,
        tenant: TenantId,
        id: ScheduleId,
        due_at: Timestamp,
        reason: &str,
    ) -> Result<Option<TestRunId>, RelayError> {
        tracing::warn!(schedule.id = %id, %due_at, reason, "a scheduled run could not be requested");
        let context = CommandContext::derived(tenant, CommandId::derived(id.run_at(due_at).0, "skip"));
        let command = ScheduleCommand::Skip { due_at, reason: reason.to_owned() };
        match execute::<Schedule>(&self.store, &context, id.0, Expected::Exists, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(None),
            Err(error) => Err(RelayError::Store(StoreError::Unknowable(error.to_string()))),
        }
    }
}

/// The latest time up to now, from the one that is due on, and the next one after now.
fn times(created: &Created, due_at: Timestamp, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
    let mut latest = due_at;
    for _ in 0..STEPS_MAX {
        match next_after(created, latest) {
            Some(next) if next <= now => latest = next,
            next => return (latest, next),
        }
    }
    (latest, next_after(created, now))
}

/// Whether a moment is one of the schedule's times.
fn is_time(created: &Created, at: Timestamp) -> bool {
    let before = at.get() - time::Duration::SECOND;
    next_after(created, Timestamp::new(before)) == Some(at)
}
