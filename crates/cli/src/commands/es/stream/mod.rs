//! `pcs es stream …`: streams, their events and the states that these fold to, and closing a stream.

mod close;
mod ls;
mod show;
mod state;
mod tail;

use pcs_store::StreamState;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Look at streams, and close and open them.
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
    /// Hide a stream from reads by its id and refuse new events; the log and the read models keep what they have
    Delete(close::Which),
    /// Refuse new events of a stream, which is read as before
    Archive(close::Which),
    /// Open a stream again that was deleted or archived; its versions go on from where they were
    Open(close::Which),
    /// Delete a stream for ever
    Tombstone(close::Tombstone),
}

impl StreamCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Ls(ls) => ls.execute(console).await?,
            Self::Show(show) => show.execute(console).await?,
            Self::Tail(tail) => tail.execute(console).await?,
            Self::State(state) => state.execute(console).await?,
            Self::Diff(diff) => diff.execute(console).await?,
            Self::Delete(which) => which.set(StreamState::Deleted, console).await?,
            Self::Archive(which) => which.set(StreamState::Archived, console).await?,
            Self::Open(which) => which.set(StreamState::Open, console).await?,
            Self::Tombstone(tombstone) => tombstone.execute(console).await?,
        }
        Ok(ExitStatus::Success)
    }
}
