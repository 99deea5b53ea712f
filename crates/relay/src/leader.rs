//! The part of the relay that only one process does at a time.
//!
//! The lock is a session lock of PostgreSQL: it ends with its connection. A leader that does not notice at once does no
//! harm: the cursor is compared before it moves, and handing out is one statement that skips locked rows.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::ids::TestRunId;
use pcs_store::Store;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::presence::Presence;
use crate::reconciler::Reconciler;
use crate::runs::Runs;
use crate::scheduler::Scheduler;
use crate::{RelayError, dispatch};

/// The number of the leader's lock: "pcs" and a one.
const LEADER_LOCK: i64 = 0x0070_6373_0001;
/// How often a relay tries to become the leader, and a leader makes sure that it is.
const LEADER_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for the answer of the session that holds the lock.
const LEADER_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader waits for the log to move before it looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the broker's tickets are compared with the desk.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(2);
/// How often the log's next partitions are made sure of.
const PARTITION_INTERVAL: Duration = Duration::from_secs(60);
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
        while !stop.is_cancelled() {
            if let Err(error) = self.lead_if_possible(&stop).await {
                tracing::warn!(%error, "the scheduler pauses");
            }
            tokio::select! { () = stop.cancelled() => (), () = tokio::time::sleep(RETRY_PAUSE) => () }
        }
    }

    async fn lead_if_possible(&self, stop: &CancellationToken) -> Result<(), RelayError> {
        let options = self.store.pool().connect_options();
        // A connection of its own: the pool would hand the lock's session to somebody else.
        let mut session = sqlx::PgConnection::connect_with(&options).await?;
        // A leader that is frozen, or whose machine is gone, must not keep the lock: PostgreSQL ends a session that is
        // silent for this long, and a leader that lives speaks every second.
        sqlx::query("set idle_session_timeout = '10s'").execute(&mut session).await?;
        loop {
            let leads: bool =
                sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LEADER_LOCK).fetch_one(&mut session).await?;
            if leads {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LEADER_INTERVAL) => (),
            }
        }
        tracing::info!("this relay leads");
        let result = tokio::select! {
            () = stop.cancelled() => Ok(()),
            result = keep(&mut session) => result,
            result = self.schedule() => result,
            result = self.reconcile() => result,
            result = self.make_partitions() => result,
        };
        drop(session.close().await);
        result
    }

    async fn schedule(&self) -> Result<(), RelayError> {
        let mut scheduler = Scheduler::open(self.store.clone(), self.runs.clone()).await?;
        // The leader before may have ended between the commit and the announcement.
        let mut cancelled = scheduler.lately_cancelled().await?;
        loop {
            let followed = scheduler.follow().await?;
            cancelled.extend(followed.cancelled);
            self.announce(&mut cancelled).await;
            let released = dispatch::fill_window(&self.store, &self.bus, &self.runs, &self.presence).await?;
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
            if let Err(error) = reconciler.look(&self.store, &self.bus).await {
                tracing::warn!(%error, "the broker's tickets could not be compared");
            }
            tokio::time::sleep(RECONCILE_INTERVAL).await;
        }
    }

    async fn make_partitions(&self) -> Result<(), RelayError> {
        loop {
            sqlx::query("select es.create_partitions()").execute(self.store.pool()).await?;
            tokio::time::sleep(PARTITION_INTERVAL).await;
        }
    }
}

/// Ends with an error when the session, and with it the lock, is lost.
async fn keep(session: &mut sqlx::PgConnection) -> Result<(), RelayError> {
    loop {
        tokio::time::sleep(LEADER_INTERVAL).await;
        let answered = tokio::time::timeout(LEADER_PING_TIMEOUT, session.ping()).await;
        answered.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
    }
}
