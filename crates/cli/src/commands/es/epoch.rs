//! `pcs es epoch …`: which log this is, and making a restored copy another one.

use pcs_store::Identity;
use serde::Serialize;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Tell a log from its copies.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum EpochCommand {
    /// Show which log this is
    Show,
    /// Refuse all cursors that were given out so far: for a copy that goes its own way, such as a restored backup
    New,
}

#[derive(Serialize)]
struct EpochView {
    store_id: String,
    epoch: i32,
}

impl EpochCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let Identity { store_id, epoch } = match self {
            Self::Show => store.identity().await?,
            Self::New => store.new_epoch().await?,
        };
        let view = EpochView { store_id: store_id.to_string(), epoch };
        console.thing(&view, vec![("store", view.store_id.clone()), ("epoch", epoch.to_string())])?;
        Ok(ExitStatus::Success)
    }
}
