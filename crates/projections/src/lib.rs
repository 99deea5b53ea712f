//! Read models: committed events folded into the tables of schema `read`, and the queries on them.
//!
//! A [`Projection`] takes a page of events, folds it in memory and writes it with few statements; [`step`] commits
//! those rows and the checkpoint together, and [`run`] does so for ever, in one process at a time ([`Lease`]). Every
//! table can be built anew beside the living one ([`rebuild`]) and comes out with the same content, so a projection
//! reads no clock and keeps no state outside of its tables.
//!
//! To add one: a folder with `mod.rs` (the fold) and `queries.rs` (the reads), a line in [`all`], and a migration.

pub mod card_detail;
pub mod card_list;
pub mod execution_results;
pub mod run_summary;
pub mod past;

mod build;
mod cautious;
mod checkpoint;
mod checkpoints;
mod control;
mod copy;
mod cursor;
mod error;
mod generation;
mod isolate;
mod lease;
mod page;
mod parked;
mod policy;
mod reader;
mod row;
mod runner;
mod status;
mod step;
mod storable;
mod subject;

use std::pin::Pin;
use std::sync::Arc;

use pcs_domain::{Category, EventType};
use pcs_store::{Recorded, Subscribed};
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::build::{
    BuildEnd, BuildPhase, BuildProgress, Compared, RebuildConfig, TableCompared, drop_generation, promote, rebuild,
    rollback, shadow,
};
pub use self::checkpoint::{position, reset, wait_for_position};
pub use self::checkpoints::checkpoints;
pub use self::control::{pause, resume, set_policy};
pub use self::cursor::InvalidCursor;
pub use self::error::{ControlError, ProjectionError, ReadError};
pub use self::generation::Generation;
pub use self::lease::Lease;
pub use self::page::{PAGE_LEN_MAX, Page};
pub use self::parked::{BadEvent, Drained, bad_events, retry_lane, skip_lane};
pub use self::policy::Policy;
pub use self::runner::{RunnerConfig, run};
pub use self::status::{Failure, ProjectionState, Status, states, states_of};
pub use self::step::{Outcome, Stepped, step, step_as};

/// A future behind a pointer, so that a projection can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A read model: how a page of events changes its tables.
pub trait Projection: Send + Sync {
    /// `<what the reader sees>.v<version>`, also the name of its checkpoint.
    fn name(&self) -> &'static str;

    /// All tables that it writes, without their schema. No other projection writes them.
    fn tables(&self) -> &'static [&'static str];

    /// The categories whose events it uses. An event of another one that this build can't read, most likely of a newer
    /// build, is passed by; one of these stops the projection.
    fn categories(&self) -> &'static [Category];

    /// Types of these categories that it passes over all the same: they never leave the database.
    fn ignored(&self) -> &'static [EventType] {
        &[]
    }

    /// What it asks the log for. Its checkpoint passes the rest as well.
    fn subscribed(&self) -> Subscribed {
        Subscribed { categories: self.categories(), ignored: self.ignored() }
    }

    /// Writes what a page of consecutive events changes. The caller commits it together with the checkpoint, so each
    /// event is applied once. Tables are named without a schema: the search path says which generation is written.
    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>>;

    /// Tables that only grow, and that [`Projection::load`] fills without their keys; these are made after it.
    fn late_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// As [`Projection::apply`], into tables that are read by nobody yet, and without the keys of `late_keys`.
    fn load<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        self.apply(connection, batch)
    }

    /// What an event is about, within its tenant: when it can't be applied and is parked, later ones of the same lane
    /// wait for it. Its stream, unless rows are made from several streams.
    fn lane(&self, recorded: &Recorded) -> Uuid {
        recorded.stream_id
    }

    /// What is done with an event that can't be applied, until somebody sets another policy.
    fn policy(&self) -> Policy {
        Policy::Stop
    }
}

/// Every projection there is.
#[must_use]
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(card_list::CardList),
        Arc::new(card_detail::CardDetail),
        Arc::new(run_summary::RunSummary),
        Arc::new(execution_results::ExecutionResults),
    ]
}

#[cfg(test)]
mod tests;
