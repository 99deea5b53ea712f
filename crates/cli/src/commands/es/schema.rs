//! `pcs es schema …`: whether this program can read what was stored, and what its events look like.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pcs_schemas::{Build, Change, Checked, Field, Finding, Released, ReleasedError, Rule, Written};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Longest wait for a database: it is looked at beside the files, and a check before a deployment may have none.
const DATABASE_WAIT: Duration = Duration::from_secs(5);

/// Check, compare and write the schemas of events.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SchemaCommand {
    /// Compare this program with the released schemas and with the types that a database knows; exit 1 where an event
    /// could not be read
    Check(Check),
    /// Show what differs between two versions of an event, field by field
    Diff(Diff),
    /// Hold the events of this program against the conventions; exit 1 where one is broken
    Lint,
    /// Write the schemas, pins and catalogue of what is new; what was released is never rewritten
    Gen(Gen),
}

/// Which released files are meant.
#[derive(clap::Args, Clone, Debug)]
pub struct Files {
    /// The folder event-schemas of a checkout, instead of the files that this program was built with
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
}

/// `pcs es schema check`.
#[derive(clap::Args, Clone, Debug)]
pub struct Check {
    #[command(flatten)]
    files: Files,
}

/// `pcs es schema diff`.
#[derive(clap::Args, Clone, Debug)]
pub struct Diff {
    /// The event, such as test_run.cancelled
    event: String,
    /// The version to compare with
    from: i16,
    /// The version that is compared
    to: i16,
    #[command(flatten)]
    files: Files,
}

/// `pcs es schema gen`.
#[derive(clap::Args, Clone, Debug)]
pub struct Gen {
    /// The folder of the released files
    #[arg(long, value_name = "PATH", default_value = "event-schemas")]
    folder: PathBuf,
    /// The page of all events
    #[arg(long, value_name = "PATH", default_value = "docs/events.md")]
    page: PathBuf,
}

/// What a check says, for programs.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    checked: &'a Checked,
    /// The types that the database knows; absent where no database was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_types: Option<usize>,
}

impl SchemaCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Check(check) => check.execute(console).await,
            Self::Diff(diff) => diff.execute(console),
            Self::Lint => lint(console),
            Self::Gen(generation) => generation.execute(console),
        }
    }
}

fn unusable(error: ReleasedError) -> CliError {
    CliError::usage(error.to_string(), "name the folder event-schemas of a checkout with --folder")
}

impl Files {
    fn read(&self) -> Result<Released, CliError> {
        self.folder.as_deref().map_or_else(Released::compiled_in, Released::of_folder).map_err(unusable)
    }
}

fn status(findings: &[Finding]) -> ExitStatus {
    if findings.is_empty() { ExitStatus::Success } else { ExitStatus::GateFailed }
}

impl Check {
    async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let build = Build::current();
        let mut checked = pcs_schemas::check(&build, &self.files.read()?);
        let database_types = match registered(console).await {
            Ok(registered) => {
                checked.findings.extend(of_database(&build, &registered));
                Some(registered.len())
            }
            Err(reason) => {
                console.output.note(&format!("no database was looked at: {reason}"));
                None
            }
        };
        if console.json() {
            console.output.json(&Report { checked: &checked, database_types })?;
            return Ok(status(&checked.findings));
        }
        for finding in &checked.findings {
            console.output.line(&finding.to_string())?;
        }
        let Checked { schemas, samples, former_versions, instances, findings } = &checked;
        let database = database_types.map_or_else(String::new, |types| format!(", {types} types of the database"));
        console.output.line(&format!(
            "{} wrong in {schemas} schemas, {samples} samples, {former_versions} former versions ({instances} payloads \
             raised){database}",
            findings.len()
        ))?;
        Ok(status(findings))
    }
}

/// The types that the database knows, or why nobody could look.
async fn registered(console: &Console) -> Result<Vec<(String, i16)>, String> {
    let url = console.database_url().map_err(|_| "none is known".to_owned())?;
    let look = async {
        let mut connection = PgConnection::connect(&url).await.map_err(|error| error.to_string())?;
        let types = pcs_store::registered_types(&mut connection).await.map_err(|error| error.to_string())?;
        connection.close().await.map_err(|error| error.to_string())?;
        Ok(types)
    };
    tokio::time::timeout(DATABASE_WAIT, look)
        .await
        .unwrap_or_else(|_| Err(format!("it did not answer within {} s", DATABASE_WAIT.as_secs())))
}

fn of_database(build: &Build, registered: &[(String, i16)]) -> Vec<Finding> {
    let unread = registered.iter().filter(|(name, version)| build.reader_of(name, *version).is_none());
    unread
        .map(|(name, version)| Finding {
            rule: Rule::Database,
            place: format!("{name}.v{version}"),
            message: "the database knows it, from a newer build as it seems, and this build can't read it".to_owned(),
        })
        .collect()
}

impl Diff {
    fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let released = self.files.read()?;
        let schema = |version: i16| {
            released.schema(&self.event, version).ok_or_else(|| {
                let known: Vec<String> = released
                    .schemas()
                    .filter(|(name, _)| name.name == self.event)
                    .map(|(name, _)| name.to_string())
                    .collect();
                let mend = if known.is_empty() { "docs/events.md has all names".to_owned() } else { known.join(", ") };
                CliError::usage(format!("{} has no version {version}", self.event), mend)
            })
        };
        let difference = pcs_schemas::diff(&schema(self.from)?, &schema(self.to)?);
        if console.json() {
            console.output.json(&difference)?;
            return Ok(ExitStatus::Success);
        }
        if difference.changes.is_empty() {
            console.output.line("no field differs")?;
        }
        for change in &difference.changes {
            console.output.line(&told(change))?;
        }
        let directions = [
            ("backward", self.to, self.from, difference.backward),
            ("forward", self.from, self.to, difference.forward),
        ];
        for (direction, reader, writer, reasons) in directions {
            let verdict = if reasons.is_empty() { "reads" } else { "can't read" };
            console.output.line(&format!("{direction}: version {reader} {verdict} version {writer}"))?;
            for reason in reasons {
                console.output.line(&format!("    {reason}"))?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

fn told(change: &Change) -> String {
    let about = |field: &Field| {
        let presence = if field.required { "always" } else { "optional" };
        format!("{}, {presence}", field.kind)
    };
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("~ {}: {} -> {}", after.path, about(before), about(after)),
        (None, Some(new)) => format!("+ {}: {}. {}", new.path, about(new), new.description),
        (Some(gone), None) => format!("- {}: {}. {}", gone.path, about(gone), gone.description),
        (None, None) => String::new(),
    }
}

fn lint(console: &mut Console) -> Result<ExitStatus, CliError> {
    let findings = pcs_schemas::lint(&Build::current());
    if console.json() {
        console.output.json(&findings)?;
    } else {
        for finding in &findings {
            console.output.line(&finding.to_string())?;
        }
        console.output.line(&format!("{} broken in {} events", findings.len(), Build::current().events.len()))?;
    }
    Ok(status(&findings))
}

impl Gen {
    fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let build = Build::current();
        // Samples are realistic and written by hand: `make gen` takes them from the tests.
        let written = pcs_schemas::generate(&build, &[], &self.folder).map_err(unusable)?;
        let released = Released::of_folder(&self.folder).map_err(unusable)?;
        write_page(&self.page, &pcs_schemas::catalogue(&build, &released))?;
        if console.json() {
            console.output.json(&written)?;
            return Ok(ExitStatus::Success);
        }
        let Written { files, pinned } = written;
        for file in &files {
            console.output.line(&format!("written {file}"))?;
        }
        console.output.line(&format!(
            "{} written, {} pinned, and {}",
            files.len(),
            pinned.len(),
            self.page.display()
        ))?;
        Ok(ExitStatus::Success)
    }
}

fn write_page(path: &Path, page: &str) -> Result<(), CliError> {
    std::fs::write(path, page).map_err(|error| {
        CliError::usage(format!("{} can't be written: {error}", path.display()), "name the page's place with --page")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::commands::es::EsArgs;
    use crate::commands::output::tests::captured;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        es: EsArgs,
    }

    /// Nobody listens there: the files alone are looked at, whatever the machine has.
    const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/nothing";

    async fn run(arguments: &[&str]) -> (Result<ExitStatus, CliError>, String) {
        let all = ["pcs", "schema"].iter().chain(arguments).chain(&["--database-url", NO_DATABASE]);
        let (output, out, _) = captured();
        let status = Cli::parse_from(all).es.with(output).await;
        (status, out.text())
    }

    #[tokio::test]
    async fn this_program_fits_the_files_that_it_was_built_with() {
        let (status, text) = run(&["check"]).await;
        assert_eq!(status.unwrap(), ExitStatus::Success, "{text}");
        assert!(text.starts_with("0 wrong in "), "{text}");
        let (status, text) = run(&["lint"]).await;
        assert_eq!(status.unwrap(), ExitStatus::Success, "{text}");
    }

    #[tokio::test]
    async fn what_is_wrong_is_exit_code_1_and_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        pcs_schemas::generate(&Build::current(), &[], folder.path()).unwrap();
        let file = folder.path().join("test_run/completed.v1.json");
        let changed = std::fs::read_to_string(&file).unwrap().replace("RunTotals", "Totals");
        std::fs::write(&file, changed).unwrap();
        let (status, text) = run(&["check", "--folder", &path]).await;
        assert_eq!(status.unwrap().code(), 1);
        assert!(text.contains("test_run/completed.v1.json: it was released and has changed"), "{text}");
        assert!(text.contains("test_run/completed.v1.json#/properties/totals/$ref: "), "{text}");
        let (status, text) = run(&["check", "--json", "--folder", &path]).await;
        assert_eq!(status.unwrap().code(), 1);
        let report: Value = serde_json::from_str(&text).unwrap();
        let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "immutable");
        assert_eq!(finding.unwrap()["place"], "test_run/completed.v1.json");
    }

    #[tokio::test]
    async fn two_versions_are_told_apart_field_by_field() {
        let (status, text) = run(&["diff", "test_run.cancelled", "1", "2"]).await;
        assert_eq!(status.unwrap(), ExitStatus::Success);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "~ cancelled_by: uuid, always -> uuid or null, optional");
        assert_eq!(lines[1], "backward: version 2 reads version 1");
        assert_eq!(lines[2], "forward: version 1 can't read version 2");
        assert!(lines[3].contains("/properties/cancelled_by"), "{text}");
        let (error, _) = run(&["diff", "test_run.cancelled", "1", "7"]).await;
        assert!(error.unwrap_err().to_string().contains("test_run.cancelled.v2"));
    }

    #[tokio::test]
    async fn what_is_new_is_written_and_the_page_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (files, page) = (folder.path().join("event-schemas"), folder.path().join("events.md"));
        std::fs::create_dir(&files).unwrap();
        let (files_text, page_text) = (files.display().to_string(), page.display().to_string());
        let arguments = ["gen", "--folder", &files_text, "--page", &page_text];
        let (status, text) = run(&arguments).await;
        assert_eq!(status.unwrap(), ExitStatus::Success, "{text}");
        assert!(files.join("lock.json").exists() && std::fs::read_to_string(&page).unwrap().starts_with("# Events"));
        let (_, text) = run(&arguments).await;
        assert!(text.starts_with("0 written, 0 pinned"), "{text}");
    }

    #[test]
    fn a_type_of_a_newer_build_is_found_in_the_database() {
        let registered = [("test_run.cancelled".to_owned(), 1), ("prompt_card.pinned".to_owned(), 1)];
        let found = of_database(&Build::current(), &registered);
        assert_eq!(found.iter().map(|finding| finding.place.as_str()).collect::<Vec<_>>(), ["prompt_card.pinned.v1"]);
    }
}
