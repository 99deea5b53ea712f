//! Read models: committed events folded into the tables of schema `read`, and the queries on them.
//!
//! A [`Projection`] takes a page of events, folds it in memory and writes it with few statements; [`step`] commits
//! those rows and the checkpoint together, and [`run`] does so for ever. Every table can be emptied ([`reset`]) and
//! comes back with the same content, so a projection reads no clock and keeps no state outside of its tables.
//!
//! To add one: a folder with `mod.rs` (the fold) and `queries.rs` (the reads), a line in [`all`], and a migration.

pub mod card_detail;
pub mod card_list;
pub mod execution_results;
pub mod run_summary;

mod checkpoint;
mod cursor;
mod error;
mod page;
mod row;
mod runner;
mod storable;

use std::pin::Pin;
use std::sync::Arc;

use pcs_domain::Category;
use pcs_store::Recorded;
use sqlx::PgConnection;

pub use self::checkpoint::{position, reset, step, wait_for_position};
pub use self::cursor::InvalidCursor;
pub use self::error::{ProjectionError, ReadError};
pub use self::page::{PAGE_LEN_MAX, Page};
pub use self::runner::{RunnerConfig, run};

/// A future behind a pointer, so that a projection can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A read model: how a page of events changes its tables.
pub trait Projection: Send + Sync {
    /// `<what the reader sees>.v<version>`, also the name of its checkpoint; a new version is built beside the old one.
    fn name(&self) -> &'static str;

    /// All tables that it writes, with their schema. No other projection writes them.
    fn tables(&self) -> &'static [&'static str];

    /// The categories whose events it uses. An event of another one that this build can't read, most likely of a newer
    /// build, is passed by; one of these stops the projection.
    fn categories(&self) -> &'static [Category];

    /// Writes what a page of consecutive events changes. The caller commits it together with the checkpoint, so each
    /// event is applied once.
    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>>;
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
