//! `pcs es stream …`: streams, their events and the states that these fold to.

mod ls;
mod show;
mod state;
mod tail;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Look at streams.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum StreamCommand {
    /// List streams with their heads, in the order of their ids
    Ls(ls::Ls),
    /// Show the events of a stream
    Show(show::Show),
    /// Show events as they are committed, until Ctrl-C
    Tail(tail::Tail),
    /// Show the state that a stream folds to, now or as it was
    State(state::State),
    /// Show what changed in a stream's state between two versions
    Diff(state::Diff),
}

impl StreamCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Ls(ls) => ls.execute(console).await?,
            Self::Show(show) => show.execute(console).await?,
            Self::Tail(tail) => tail.execute(console).await?,
            Self::State(state) => state.execute(console).await?,
            Self::Diff(diff) => diff.execute(console).await?,
        }
        Ok(ExitStatus::Success)
    }
}
