//! The only place where PostgreSQL and NATS meet: committed events become tickets, and results become events.
//!
//! One relay of all is the leader ([`leader`]): its scheduler follows the log and keeps a short window of tickets with
//! the broker ([`scheduler`]), its reconciler finds what the broker lost ([`reconciler`]), and what has a time is done
//! at its time ([`deadlines`], [`schedules`]). Every relay answers workers ([`recorder`], [`capacity`]). The desk of the scheduler (schema `jobs`) follows from the log and can be made again.

mod scheduler;
mod expand;
mod desk;
mod dispatch;
mod deadlines;
mod schedules;
mod recorder;
mod job_recorder;
mod capacity;
mod reconciler;
mod runs;
mod sessions;
mod presence;
mod leader;
mod sweeper;
mod upkeep;
mod retention;
pub mod inspect;

use std::sync::Arc;

pub use self::desk::cursor;
pub use self::retention::{Forgotten, forget};
pub use self::upkeep::ask_for_maintenance;
use pcs_bus::{Bus, BusError};
use pcs_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

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
    /// Another relay has begun a term: this one is no longer the leader.
    #[error("another relay leads: term {term} is over")]
    TakenOver {
        /// The term of this one.
        term: i64,
    },
    /// A part of the relay ended that should not.
    #[error("the relay's part {part} ended by itself")]
    Ended {
        /// Which part.
        part: &'static str,
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
    let recorder = Arc::new(recorder::Recorder::new(store.clone(), runs.clone(), presence.clone()));
    let heartbeats = presence.clone().follow(bus.open_presence().await?, stop.clone());
    let leader = leader::Leader { store, bus, runs, presence };
    // All of them end with `stop` only; where one ends before, the whole relay ends, and its supervisor hears of it.
    let (answered, heard, led) = (
        until_stopped(&stop, "answering", answering.run(recorder, stop.clone())),
        until_stopped(&stop, "presence", heartbeats),
        until_stopped(&stop, "leading", leader.run(stop.clone())),
    );
    tokio::try_join!(answered, heard, led).map(drop)
}

async fn until_stopped(
    stop: &CancellationToken,
    part: &'static str,
    work: impl Future<Output = ()>,
) -> Result<(), RelayError> {
    work.await;
    if stop.is_cancelled() { Ok(()) } else { Err(RelayError::Ended { part }) }
}
