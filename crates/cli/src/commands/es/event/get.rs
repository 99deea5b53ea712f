//! `pcs es event get`: one event.

use uuid::Uuid;

use crate::commands::es::console::Console;
use crate::commands::es::event_view::{self, EventView};
use crate::commands::exit::{CliError, ExitStatus};

/// `event get`.
#[derive(Clone, Debug, clap::Args)]
pub struct Get {
    /// Its position, or its id; an id is looked for in the whole log
    #[arg(value_parser = wanted)]
    event: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Position(i64),
    Id(Uuid),
}

fn wanted(text: &str) -> Result<Wanted, String> {
    if let Ok(position) = text.parse() {
        return Ok(Wanted::Position(position));
    }
    text.parse().map(Wanted::Id).map_err(|_| "an event is named by its position or by its id".to_owned())
}

impl Get {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let (found, name) = match self.event {
            Wanted::Position(position) => (store.event_at(position).await?, format!("at position {position}")),
            Wanted::Id(id) => (store.event_with_id(id).await?, format!("with id {id}")),
        };
        let found = found.filter(|event| console.only_tenant().is_none_or(|tenant| tenant == event.tenant));
        let Some(event) = found else {
            let head = store.head().await?;
            return Err(CliError::usage(
                format!("there is no event {name}"),
                format!("the positions go from 1 to {head}; `pcs es event grep` finds events by their text"),
            ));
        };
        console.thing(&EventView::from(&event), event_view::fields(&event))?;
        Ok(ExitStatus::Success)
    }
}
