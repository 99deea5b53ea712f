//! `pcs es import`: an exported log into an empty database, or behind the log that it goes on.

use std::os::fd::AsFd;

use pcs_store::ImportError;
use serde::Serialize;
use tokio::fs::File;
use tokio::io::BufReader;

use super::console::Console;
use super::export::STANDARD;
use super::progress::Progress;
use crate::commands::exit::{CliError, ExitStatus};

/// How much of the file is read at once, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// `es import`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// The file that `pcs es export` wrote, - for stdin
    file: String,
}

#[derive(Serialize)]
struct Imported {
    events: u64,
    from: i64,
    to: i64,
}

impl ImportArgs {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let file = open(&self.file).await.map_err(|error| {
            CliError::usage(format!("{} can't be read: {error}", self.file), "name a file of `pcs es export`")
        })?;
        let store = console.store().await?;
        let source = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut progress = None;
        let output = &mut console.output;
        let mut show = |done, total| {
            progress.get_or_insert_with(|| Progress::new("importing", total, output)).show(done, output);
        };
        let imported = store.import(source, &mut show).await.map_err(refused)?;
        drop(progress);
        let imported = Imported { events: imported.events, from: imported.from, to: imported.to };
        if console.json() {
            console.output.json(&imported)?;
        } else {
            let Imported { events, from, to } = imported;
            console.output.line(&format!("{events} events, positions {from} to {to}"))?;
        }
        Ok(ExitStatus::Success)
    }
}

async fn open(name: &str) -> std::io::Result<File> {
    if name == STANDARD {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
        return Ok(File::from_std(std::fs::File::from(stdin)));
    }
    File::open(name).await
}

fn refused(error: ImportError) -> CliError {
    let mend = match &error {
        ImportError::Line { .. } => "export it again: a file is imported as it was written, or not at all",
        ImportError::Position { .. } => "make a new database and `pcs migrate` it, or export from where this one ends",
        ImportError::OtherLog => "import it where the log came from that it goes on",
        ImportError::Read(_) | ImportError::Store(_) => return CliError::System(error.to_string()),
    };
    CliError::usage(error.to_string(), mend)
}
