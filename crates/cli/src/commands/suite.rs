//! `pcs suite check`: what a suite file means, before anything is sent.

use std::path::PathBuf;

use serde_json::json;

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output};
use super::run::{imported, promptfoo_options};
use crate::promptfoo::report::{Item, Report, Standing};
use crate::promptfoo::{self, SEMANTICS};
use crate::suite::Suite;

/// Look at suite files.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SuiteCommand {
    /// Check a suite, of ours or of promptfoo, and say what of it means something else here
    Check(Check),
    /// Write a suite as another tool's file
    Export(Export),
}

/// `suite check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The file, or a folder with a promptfooconfig.yaml
    pub suite: PathBuf,
    /// Which of promptfoo's providers is which model; may be repeated
    #[arg(long = "provider-map", value_name = "FROM=TO")]
    pub provider_map: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `suite export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// The file, of ours or of promptfoo
    pub suite: PathBuf,
    /// Whose form
    #[arg(long, value_name = "TOOL", value_parser = ["promptfoo"])]
    pub to: String,
    /// Write to this file, a promptfooconfig.json, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl Export {
    fn against(&self, output: &mut Output) -> Result<ExitStatus, CliError> {
        let suite = match imported(&self.suite, &promptfoo_options(&[], false)?)? {
            Some(imported) => imported.suite,
            None => Suite::load(&self.suite)?,
        };
        let exported = promptfoo::export(&suite);
        for note in &exported.notes {
            output.note(note);
        }
        let Some(path) = &self.output else {
            output.json(&exported.document)?;
            return Ok(ExitStatus::Success);
        };
        let text = serde_json::to_string_pretty(&exported.document).map_err(std::io::Error::other)?;
        std::fs::write(path, text + "\n").map_err(|error| {
            let message = format!("{} can't be written: {error}", path.display());
            CliError::usage(message, "name a file in a folder that is there")
        })?;
        Ok(ExitStatus::Success)
    }
}

impl SuiteCommand {
    /// Does it; no server is needed.
    pub fn execute(&self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Check(check) => check.against(&mut Output::of_process()),
            Self::Export(export) => export.against(&mut Output::of_process()),
        }
    }
}

impl Check {
    fn against(&self, output: &mut Output) -> Result<ExitStatus, CliError> {
        // Everything is to be told, and not only the first obstacle.
        let options = promptfoo_options(&self.provider_map, true)?;
        let (suite, report) = match imported(&self.suite, &options)? {
            Some(imported) => (imported.suite, Some(imported.report)),
            None => (Suite::load(&self.suite)?, None),
        };
        let items = report.as_ref().map(|report: &Report| report.items.as_slice()).unwrap_or_default();
        let obstacles = items.iter().filter(|item| item.standing != Standing::Approximate).count();
        let counts = json!({
            "prompts": suite.prompts.len(),
            "models": suite.models.len(),
            "cases": suite.cases.len(),
            "repeats": suite.repeats,
            "executions": suite.executions(),
        });
        if self.json {
            let semantics = report.is_some().then_some(SEMANTICS);
            output.json(&json!({ "name": suite.name, "promptfoo": semantics, "counts": counts, "items": items }))?;
        } else {
            if !items.is_empty() {
                let columns =
                    [("where", Align::Left), ("item", Align::Left), ("standing", Align::Left), ("note", Align::Left)];
                output.table(&columns, items.iter().map(row).collect())?;
                output.line("")?;
            }
            output.line(&format!(
                "{}: {} prompts x {} models x {} cases x {} repeats = {} executions; {obstacles} items can't be done here",
                suite.name,
                suite.prompts.len(),
                suite.models.len(),
                suite.cases.len(),
                suite.repeats,
                suite.executions()
            ))?;
        }
        Ok(if obstacles == 0 { ExitStatus::Success } else { ExitStatus::GateFailed })
    }
}

fn row(item: &Item) -> Vec<String> {
    let standing = match item.standing {
        Standing::Approximate => "approximate",
        Standing::Unsupported => "unsupported",
        Standing::Refused => "refused",
    };
    vec![format!("{}:{}", item.file, item.line), item.item.clone(), standing.to_owned(), item.note.clone()]
}
