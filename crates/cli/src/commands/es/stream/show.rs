//! `pcs es stream show`: the events of one stream.

use pcs_store::{Direction, Store, StoredEvent};

use crate::commands::es::address::{self, StreamAddress};
use crate::commands::es::console::Console;
use crate::commands::es::event_view::{self, EventView};
use crate::commands::exit::CliError;

/// `stream show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The stream: its id, or its category and id as in prompt_card-<uuid>
    #[arg(value_parser = address::stream)]
    stream: StreamAddress,
    /// From this version on; with --backward from it down
    #[arg(long, value_name = "VERSION")]
    from: Option<i64>,
    /// From new to old
    #[arg(long)]
    backward: bool,
    /// Most events to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Show {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        let store = console.store().await?;
        known(&store, console, self.stream).await?;
        let (direction, first) = match self.backward {
            false => (Direction::Forward, 1),
            true => (Direction::Backward, i64::MAX),
        };
        let from = self.from.unwrap_or(first);
        let limit = i64::from(self.limit);
        let page = store.stream_page(console.tenant(), self.stream.stream_id, from, direction, limit).await?;
        let page = page.ok_or_else(|| unknown(self.stream))?;
        if console.json() {
            let views: Vec<EventView<'_>> = page.events.iter().map(EventView::from).collect();
            console.output.json(&views)?;
        } else if page.events.is_empty() {
            console.output.note("no events there");
        } else {
            console.output.table(&event_view::COLUMNS, page.events.iter().map(event_view::row).collect())?;
        }
        if let (false, Some(last)) = (page.is_end, page.events.last()) {
            console.output.note(&format!("there are more: --from {}", next(last, direction)));
        }
        Ok(())
    }
}

fn next(last: &StoredEvent, direction: Direction) -> i64 {
    match direction {
        Direction::Forward => last.version + 1,
        Direction::Backward => last.version - 1,
    }
}

/// The category of a stream that must exist, and be of the category that was written.
pub(super) async fn known(store: &Store, console: &Console, stream: StreamAddress) -> Result<i16, CliError> {
    let head = store.stream_head(console.tenant(), stream.stream_id).await?.ok_or_else(|| unknown(stream))?;
    if stream.category.is_some_and(|category| category.number() != head.category) {
        return Err(unknown(stream));
    }
    Ok(head.category)
}

pub(super) fn unknown(stream: StreamAddress) -> CliError {
    let name = match stream.category {
        Some(category) => format!("{}-{}", category.name(), stream.stream_id),
        None => stream.stream_id.to_string(),
    };
    CliError::usage(format!("there is no stream {name}"), "`pcs es stream ls` lists them; --tenant says whose")
}
