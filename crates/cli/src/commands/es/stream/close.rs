//! `pcs es stream delete`, `archive`, `open` and `tombstone`: whether a stream takes events and is read by its id.

use pcs_store::{StreamState, stream_name};
use serde::Serialize;

use super::show::{known, unknown};
use crate::commands::es::address::{self, StreamAddress};
use crate::commands::es::console::Console;
use crate::commands::exit::CliError;

/// `stream delete`, `stream archive` and `stream open`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Which {
    /// The stream: its id, or its category and id as in prompt_card-<uuid>
    #[arg(value_parser = address::stream)]
    stream: StreamAddress,
}

/// `stream tombstone`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Tombstone {
    #[command(flatten)]
    which: Which,
    /// Does not ask: this can't be undone
    #[arg(long)]
    yes: bool,
}

/// A stream's state before and after.
#[derive(Serialize)]
struct Changed {
    stream: String,
    before: String,
    after: String,
}

impl Which {
    pub(super) async fn set(self, wanted: StreamState, console: &mut Console) -> Result<(), CliError> {
        let store = console.store().await?;
        let category = known(&store, console, self.stream).await?;
        let stream = stream_name(category, self.stream.stream_id);
        let before = store.set_stream_state(console.tenant(), self.stream.stream_id, wanted).await?;
        let before = before.ok_or_else(|| unknown(self.stream))?;
        if before == StreamState::Tombstoned && wanted != before {
            let message = format!("{stream} is tombstoned, and stays so for ever");
            return Err(CliError::usage(
                message,
                "begin a stream with another id; `pcs es event grep` finds its events",
            ));
        }
        let changed = Changed { stream, before: before.to_string(), after: wanted.to_string() };
        let fields = vec![
            ("stream", changed.stream.clone()),
            ("before", changed.before.clone()),
            ("after", changed.after.clone()),
        ];
        console.thing(&changed, fields)
    }
}

impl Tombstone {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        if !self.yes {
            let message = "the stream would be hidden and take no events for ever";
            return Err(CliError::usage(message, "add --yes to do it; `pcs es stream delete` can be undone"));
        }
        self.which.set(StreamState::Tombstoned, console).await
    }
}
