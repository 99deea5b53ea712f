//! `pcs es event …`: single events, found by their place, their id or their text.

mod get;
mod grep;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Look at single events.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum EventCommand {
    /// Show one event with all of its fields
    Get(get::Get),
    /// Find events by their payload; exits with 1 where there are none
    Grep(grep::Grep),
}

impl EventCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Get(get) => get.execute(console).await,
            Self::Grep(grep) => grep.execute(console).await,
        }
    }
}
