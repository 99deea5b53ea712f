//! `pcs es export`: the log as a file that another database can import.

use std::path::Path;

use pcs_store::{Export, Store};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::console::Console;
use super::progress::Progress;
use super::selection::Range;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Output;

/// The name of the file that is no file: stdin or stdout.
pub(super) const STANDARD: &str = "-";

/// `es export`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// The file to write, - for stdout
    file: String,
    #[command(flatten)]
    range: Range,
}

#[derive(Serialize)]
struct Exported<'a> {
    file: &'a str,
    events: u64,
}

/// Where the lines go. A file gets its name when it is whole.
enum Target {
    Stdout,
    File { draft: String, file: File },
}

impl ExportArgs {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let Range { from, to } = self.range;
        let mut export = Export::begin(&store, from, to, console.only_tenant()).await?;
        let mut target = Target::open(&self.file).await?;
        let written = write(&store, &mut export, &mut target, &mut console.output).await;
        target.close(&self.file, written).await?;
        let exported = Exported { file: &self.file, events: export.count() };
        if self.file == STANDARD {
            console.output.note(&format!("{} events", exported.events));
        } else if console.json() {
            console.output.json(&exported)?;
        } else {
            console.output.line(&format!("{} events in {}", exported.events, exported.file))?;
        }
        Ok(ExitStatus::Success)
    }
}

async fn write(store: &Store, export: &mut Export, target: &mut Target, output: &mut Output) -> Result<(), CliError> {
    let mut progress = Progress::new("exporting", export.total(), output);
    while let Some(text) = export.next(store).await? {
        match target {
            Target::Stdout => output.bytes(&text)?,
            Target::File { file, .. } => file.write_all(&text).await?,
        }
        progress.show(export.done(), output);
    }
    Ok(())
}

impl Target {
    async fn open(name: &str) -> Result<Self, CliError> {
        if name == STANDARD {
            return Ok(Self::Stdout);
        }
        let draft = format!("{name}.draft");
        let file = File::create(&draft).await?;
        Ok(Self::File { draft, file })
    }

    /// Gives the file its name, on the disk and not only on its way there, or takes the half of it away.
    async fn close(self, name: &str, written: Result<(), CliError>) -> Result<(), CliError> {
        let Self::File { draft, mut file } = self else { return written };
        let closed = match written {
            Ok(()) => match (file.flush().await, file.sync_all().await) {
                (Ok(()), Ok(())) => tokio::fs::rename(&draft, Path::new(name)).await.map_err(CliError::from),
                (Err(error), _) | (_, Err(error)) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        if closed.is_err() {
            // Why there is no file is the error to tell, not that its half could not be removed.
            drop(tokio::fs::remove_file(&draft).await);
        }
        closed
    }
}
