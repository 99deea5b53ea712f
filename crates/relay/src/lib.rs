//! The only place where PostgreSQL and NATS meet: committed events become tickets, and results become events.
//!
//! One relay of all is the leader: its scheduler follows the log and keeps a short window of tickets with the broker
//! ([`scheduler`]), and its reconciler finds what the broker lost ([`reconciler`]). Every relay answers workers
//! ([`recorder`]). The desk of the scheduler (schema `jobs`) follows from the log and can be made again.

mod scheduler;
mod desk;
mod dispatch;
mod recorder;
mod reconciler;
mod runs;
mod presence;
mod leader;

use std::sync::Arc;

use pcs_bus::{Bus, BusError};
use pcs_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The relay could not do its work; it tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The scheduler's desk could not be read or written.
    #[error("the scheduler's tables did not answer: {0}")]
    Desk(#[from] sqlx::Error),
    /// The broker failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Another scheduler has moved the cursor: this one is no longer the leader.
    #[error("another relay has taken over at position {position}")]
    TakenOver {
        /// Where this one was.
        position: i64,
    },
    /// A run's history does not fit together.
    #[error("run {run_id} can't be expanded: {message}")]
    Inconsistent {
        /// The run.
        run_id: pcs_domain::ids::TestRunId,
        /// Why.
        message: String,
    },
}

/// Runs a relay until told to stop.
///
/// # Errors
/// Where the broker refuses the declarations or the subscriptions at the start.
pub async fn run(store: Store, bus: Bus, stop: CancellationToken) -> Result<(), RelayError> {
    bus.ensure_topology().await?;
    let answering = bus.open_answering().await?;
    let presence = presence::Presence::default();
    let runs = runs::Runs::new(store.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(presence.clone().follow(bus.open_presence().await?, stop.clone()));
    let recorder = recorder::Recorder::new(store.clone(), runs.clone());
    tasks.spawn(answering.run(Arc::new(recorder), stop.clone()));
    let leader = leader::Leader { store, bus, runs, presence };
    leader.run(stop).await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}
