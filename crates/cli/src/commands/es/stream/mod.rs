//! `pcs es stream …`: streams, their events and the states that these fold to.

mod ls;
mod show;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Look at streams.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum StreamCommand {
    /// List streams with their heads, in the order of their ids
    Ls(ls::Ls),
    /// Show the events of a stream
    Show(show::Show),
}

impl StreamCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Ls(ls) => ls.execute(console).await?,
            Self::Show(show) => show.execute(console).await?,
        }
        Ok(ExitStatus::Success)
    }
}
