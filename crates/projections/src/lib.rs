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
pub mod job_list;
pub mod agreement;
pub mod run_metrics;
pub mod regrades;
pub mod reviews;
pub mod comparison;
pub mod repeats;
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
mod projection;
mod runner;
mod status;
mod step;
mod storable;
mod subject;

use std::sync::Arc;

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
pub use self::projection::{BoxFuture, Projection};
pub use self::runner::{RunnerConfig, run};
pub use self::status::{Failure, ProjectionState, Status, states, states_of};
pub use self::step::{Outcome, Stepped, step, step_as};

/// Every projection there is.
#[must_use]
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(card_list::CardList),
        Arc::new(card_detail::CardDetail),
        Arc::new(run_summary::RunSummary),
        Arc::new(execution_results::ExecutionResults),
        Arc::new(job_list::JobList),
        Arc::new(regrades::Regrades),
        Arc::new(reviews::Reviews),
    ]
}

#[cfg(test)]
mod tests;
