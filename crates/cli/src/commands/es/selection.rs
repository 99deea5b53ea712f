//! Which part of the log a command is about, and the walk over it in bounded steps.

use pcs_domain::{Category, Timestamp};
use pcs_store::{Selection, Store, StoredEvent};

use super::address::{self, StreamAddress};
use super::console::Console;
use crate::commands::exit::CliError;

/// Positions that one step looks at.
const WINDOW: i64 = 5_000;

/// A range of positions; both ends are in it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Range {
    /// From this position on
    #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    pub from: i64,
    /// Up to this position; the newest where it is not given
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    pub to: Option<i64>,
}

/// What the events have in common.
#[derive(Clone, Debug, clap::Args)]
pub struct Filter {
    /// Only of streams of this category; may be given several times
    #[arg(long = "category", value_name = "CATEGORY", value_parser = address::category)]
    pub categories: Vec<Category>,
    /// Only of this type, such as test_run.completed; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only of this stream
    #[arg(long, value_name = "STREAM", value_parser = address::stream)]
    pub stream: Option<StreamAddress>,
    /// Only what was recorded at this moment or later, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = address::moment)]
    pub since: Option<Timestamp>,
}

impl Filter {
    /// As the store takes it.
    ///
    /// # Errors
    /// Where a type has a name that no event has.
    pub async fn selection(&self, console: &Console, store: &Store) -> Result<Selection, CliError> {
        let known = store.type_names().await?;
        if let Some(unknown) = self.types.iter().find(|name| !known.contains(name)) {
            return Err(CliError::usage(
                format!("no event is of type {unknown}"),
                format!("the types are {}", known.join(", ")),
            ));
        }
        Ok(Selection {
            tenant: self.stream.map(|_| console.tenant()).or_else(|| console.only_tenant()),
            categories: self.categories.clone(),
            types: self.types.clone(),
            stream_id: self.stream.map(|stream| stream.stream_id),
            since: self.since,
        })
    }
}

/// A walk over the log: the same step again and again, until its end is reached.
pub struct Walk {
    selection: Selection,
    position: i64,
    first: i64,
    to: i64,
}

impl Walk {
    /// A walk over a range; its end is fixed now, so that it ends on a log that grows.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn over(store: &Store, selection: Selection, range: Range) -> Result<Self, CliError> {
        let head = store.head().await?;
        let to = range.to.unwrap_or(head).min(head);
        let first = (range.from - 1).min(to);
        Ok(Self { selection, position: first, first, to })
    }

    /// The matches of the next step; none when the walk is over.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<StoredEvent>>, CliError> {
        if self.position >= self.to {
            return Ok(None);
        }
        let scanned = store.scan(&self.selection, self.position, self.to, WINDOW).await?;
        self.position = scanned.position;
        Ok(Some(scanned.events))
    }

    /// How many positions the walk goes over.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::try_from(self.to - self.first).unwrap_or(0)
    }

    /// How many positions have gone by.
    #[must_use]
    pub fn done(&self) -> u64 {
        u64::try_from(self.position - self.first).unwrap_or(0)
    }

    /// The last position of the walk.
    #[must_use]
    pub fn to(&self) -> i64 {
        self.to
    }

    /// Everything up to this position has gone by.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }
}
