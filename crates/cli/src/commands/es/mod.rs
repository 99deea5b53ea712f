//! `pcs es …`: looking into the event store, repairing what is folded from it, and carrying it elsewhere.
//!
//! One file per subject, with its arguments and its `execute(self, &mut Console)`. To add one: the file, its `mod`, a
//! variant of [`EsCommand`] and its arm in [`EsArgs::execute`].

pub mod address;
pub mod console;
pub mod event_view;
pub mod progress;
pub mod stream;

use self::console::{Console, ConsoleArgs};
use super::exit::{CliError, ExitStatus};
use super::output::Output;

/// `pcs es`.
#[derive(Clone, Debug, clap::Args)]
pub struct EsArgs {
    #[command(flatten)]
    console: ConsoleArgs,
    #[command(subcommand)]
    command: EsCommand,
}

/// What can be done with the event store.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum EsCommand {
    /// Look at streams: their heads, events and states
    #[command(subcommand)]
    Stream(stream::StreamCommand),
}

impl EsArgs {
    /// Does it against the database that is given or found.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        self.with(Output::of_process()).await
    }

    /// Does it, and writes to these streams.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn with(self, output: Output) -> Result<ExitStatus, CliError> {
        let mut console = Console::new(self.console, output);
        match self.command {
            EsCommand::Stream(command) => command.execute(&mut console).await,
        }
    }
}
