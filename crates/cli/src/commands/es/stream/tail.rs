//! `pcs es stream tail`: events as they are committed.

use std::time::Duration;

use pcs_domain::Category;
use pcs_store::{Selection, Store, StoredEvent};

use super::show::known;
use crate::commands::es::address::{self, StreamAddress};
use crate::commands::es::console::Console;
use crate::commands::es::event_view::{self, EventView};
use crate::commands::es::selection::{Filter, Range, Walk};
use crate::commands::exit::CliError;
use crate::commands::run::interrupt::Interrupts;

/// How often the log is looked at: a person does not notice less.
const POLL: Duration = Duration::from_millis(250);

/// `stream tail`.
#[derive(Clone, Debug, clap::Args)]
pub struct Tail {
    /// The stream; the whole log where it is not given
    #[arg(value_parser = address::stream)]
    stream: Option<StreamAddress>,
    /// Only of streams of this category; may be given several times
    #[arg(long = "category", value_name = "CATEGORY", value_parser = address::category)]
    categories: Vec<Category>,
    /// Only of this type, such as test_run.completed; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// From this position on; where it is not given, only what comes from now on
    #[arg(long, value_name = "POSITION")]
    from: Option<i64>,
    /// End after so many events; without it the tail is followed until Ctrl-C
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Tail {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        let mut interrupts = Interrupts::listen()?;
        let store = console.store().await?;
        if let Some(stream) = self.stream {
            known(&store, console, stream).await?;
        }
        let filter = Filter { categories: self.categories, types: self.types, stream: self.stream, since: None };
        let selection = filter.selection(console, &store).await?;
        let from = match self.from {
            Some(from) => from.max(1),
            None => store.head().await? + 1,
        };
        tokio::select! {
            // What is being printed is printed to its end before the signal counts.
            biased;
            ended = follow(&store, selection, from, self.limit.unwrap_or(u64::MAX), console) => ended,
            () = interrupts.next() => Ok(()),
        }
    }
}

async fn follow(
    store: &Store,
    selection: Selection,
    mut from: i64,
    mut left: u64,
    console: &mut Console,
) -> Result<(), CliError> {
    loop {
        let mut walk = Walk::over(store, selection.clone(), Range { from, to: None }).await?;
        while let Some(events) = walk.next(store).await? {
            for event in &events {
                if left == 0 {
                    return Ok(());
                }
                print(event, console)?;
                left -= 1;
            }
        }
        if left == 0 {
            return Ok(());
        }
        from = walk.position().max(from - 1) + 1;
        tokio::time::sleep(POLL).await;
    }
}

/// One line per event, for people and for programs alike.
fn print(event: &StoredEvent, console: &mut Console) -> Result<(), CliError> {
    if console.json() {
        return console.output.json_line(&EventView::from(event));
    }
    console.output.line(&event_view::line(event))
}
