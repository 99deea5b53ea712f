//! The part of the relay that only one process does at a time.
//!
//! Who leads is a row with a term that the database issues and that lapses by its clock ([`desk::take_lead`]). Every
//! write of a leader names its term, so one that was frozen and wakes up is refused; it stops by its own clock before.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::ids::TestRunId;
use pcs_domain::ports::{IdSource, System};
use pcs_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deadlines::Deadlines;
use crate::desk::Fronts;
use crate::presence::Presence;
use crate::reconciler::Reconciler;
use crate::runs::Runs;
use crate::scheduler::Scheduler;
use crate::schedules::Schedules;
use crate::sweeper::Sweeper;
use crate::{RelayError, desk, dispatch, upkeep};

/// How often a relay tries to become the leader, and a leader says that it still is.
const LEAD_INTERVAL: Duration = Duration::from_millis(500);
/// When a leader that could not say so stops by itself: before the database lets another one begin.
const TRUST: Duration = Duration::from_millis(2_500);
/// How long the leader waits for the log to move before it looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the broker's tickets are compared with the desk.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(2);
/// How often it is looked whether a time has come.
const TIMES_INTERVAL: Duration = Duration::from_millis(500);
/// How often what was left lying is swept, and workers hear whether anything is held.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log's next partitions are made sure of.
const PARTITION_INTERVAL: Duration = Duration::from_secs(60);
/// How often it is looked whether the day's maintenance was asked for; not at once, when there is enough to catch up with.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What a leader works with.
pub(crate) struct Leader {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) runs: Runs,
    pub(crate) presence: Presence,
}

impl Leader {
    /// Leads whenever it can, until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        // Unique per start: a relay that comes back is another one.
        let holder = System.next().to_string();
        while !stop.is_cancelled() {
            if let Err(error) = self.lead_if_possible(&holder, &stop).await {
                tracing::warn!(%error, "the scheduler pauses");
            }
            tokio::select! { () = stop.cancelled() => (), () = tokio::time::sleep(RETRY_PAUSE) => () }
        }
    }

    async fn lead_if_possible(&self, holder: &str, stop: &CancellationToken) -> Result<(), RelayError> {
        let pool = self.store.pool();
        let begun = Instant::now();
        let Some(term) = desk::take_lead(pool, holder).await? else { return Ok(()) };
        tracing::info!(term, "this relay leads");
        let result = tokio::select! {
            () = stop.cancelled() => Ok(()),
            result = self.keep(term, begun) => result,
            result = self.schedule(term) => result,
            result = self.reconcile() => result,
            result = self.watch_times() => result,
            result = self.sweep() => result,
            result = self.make_partitions() => result,
            result = self.keep_up() => result,
        };
        desk::give_up_lead(pool, term).await?;
        result
    }

    /// Says again and again that this relay leads; ends with an error when it must not believe so any more.
    async fn keep(&self, term: i64, begun: Instant) -> Result<(), RelayError> {
        let mut trusted_until = begun + TRUST;
        loop {
            tokio::time::sleep(LEAD_INTERVAL).await;
            let asked = Instant::now();
            match tokio::time::timeout_at(
                trusted_until,
                desk::keep_lead(self.store.pool(), term, self.bus.is_connected()),
            )
            .await
            {
                Ok(Ok(true)) => trusted_until = asked + TRUST,
                Ok(Ok(false)) | Err(_) => return Err(RelayError::TakenOver { term }),
                Ok(Err(error)) => {
                    tracing::warn!(%error, term, "the lead could not be kept yet");
                    if Instant::now() >= trusted_until {
                        return Err(RelayError::TakenOver { term });
                    }
                }
            }
        }
    }

    async fn schedule(&self, term: i64) -> Result<(), RelayError> {
        let mut scheduler = Scheduler::open(self.store.clone(), self.runs.clone(), term).await?;
        // The leader before may have ended between the commit and the announcement.
        let mut cancelled = scheduler.lately_cancelled().await?;
        let mut fronts = Fronts::default();
        loop {
            let followed = scheduler.follow().await?;
            cancelled.extend(followed.cancelled);
            self.announce(&mut cancelled).await;
            if followed.held {
                self.bus.announce_holds(true).await;
            }
            let released =
                dispatch::fill_window(&self.store, &self.bus, &self.runs, &self.presence, (term, &mut fronts)).await?;
            if followed.events == 0 && released == 0 {
                scheduler.wait(POLL_INTERVAL).await;
            }
        }
    }

    /// Purges the tickets of cancelled runs; keeps those that could not be purged for the next time.
    async fn announce(&self, cancelled: &mut Vec<TestRunId>) {
        if !self.bus.is_connected() {
            return;
        }
        while let Some(run) = cancelled.pop() {
            if let Err(error) = self.bus.cancel_run(run).await {
                tracing::warn!(%error, run.id = %run, "a cancelled run's tickets could not be purged yet");
                cancelled.push(run);
                return;
            }
        }
    }

    async fn reconcile(&self) -> Result<(), RelayError> {
        let mut reconciler = Reconciler::default();
        loop {
            match reconciler.look(&self.store, &self.bus).await {
                Ok(lost) => desk::count(self.store.pool(), "redispatched", lost).await?,
                Err(error) => tracing::warn!(%error, "the broker's tickets could not be compared"),
            }
            tokio::time::sleep(RECONCILE_INTERVAL).await;
        }
    }

    async fn watch_times(&self) -> Result<(), RelayError> {
        let deadlines = Deadlines::new(self.store.clone(), self.runs.clone());
        let schedules = Schedules::new(self.store.clone());
        loop {
            deadlines.look().await?;
            schedules.look().await?;
            tokio::time::sleep(TIMES_INTERVAL).await;
        }
    }

    async fn sweep(&self) -> Result<(), RelayError> {
        let sweeper = Sweeper::new(self.store.clone(), self.bus.clone(), self.presence.clone());
        loop {
            sweeper.sweep().await?;
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn keep_up(&self) -> Result<(), RelayError> {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            // Asked for again in a minute; nobody shall lead less for it.
            if let Err(error) = upkeep::ask_for_maintenance(&self.store).await {
                tracing::warn!(%error, "the day's maintenance could not be asked for yet");
            }
        }
    }

    async fn make_partitions(&self) -> Result<(), RelayError> {
        loop {
            sqlx::query("select es.create_partitions()").execute(self.store.pool()).await?;
            tokio::time::sleep(PARTITION_INTERVAL).await;
        }
    }
}
