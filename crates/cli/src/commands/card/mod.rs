//! `pcs card …`: cards, their versions, labels and cases.

mod from_run;
mod lint;
mod read;
mod schema;
mod usage;
mod write;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use super::exit::{CliError, ExitStatus};
use super::output::Output;
use crate::client::Api;
use crate::client::connection::Connection;
use crate::suite::mapping::Mapping;

/// Make, change and look at cards.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CardCommand {
    /// Make a card
    Create(Create),
    /// List cards
    List(List),
    /// Show a card and its prompt
    Show(Show),
    /// Change a card: a new prompt is a new version
    Revise(Revise),
    /// Put a card out of use
    Archive(WithReason),
    /// Put an archived card to use again
    Restore(Named),
    /// Show a card to everybody
    Publish(Named),
    /// Show a card to the team only
    Unpublish(Named),
    /// List the versions of a card's prompt
    Versions(Named),
    /// Show what changed between two versions
    Diff(Diff),
    /// Show which versions of a card were run, and by which schedules
    Usage(Named),
    /// Check a prompt against the card's cases; errors end with 1
    Lint(Lint),
    /// Point a label, such as `production`, to a version
    Label(Label),
    /// Take a label away
    Unlabel(NamedLabel),
    /// Let only administrators move a label, or take it away
    Protect(NamedLabel),
    /// Let everybody who writes the card move a label again
    Unprotect(NamedLabel),
    /// List a card's cases, or add some from a file
    Cases(Cases),
    /// Show what a card's cases have to look like, or change it
    Schema(Schema),
}

/// A card, by its id or its exact title.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// The card: its id or its exact title
    pub card: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A card and why.
#[derive(Clone, Debug, clap::Args)]
pub struct WithReason {
    /// The card, and how to print it
    #[command(flatten)]
    pub named: Named,
    /// Why
    #[arg(long)]
    pub reason: Option<String>,
}

/// What `card create` and `card revise` say about a card.
#[derive(Clone, Debug, clap::Args)]
pub struct Words {
    /// The prompt: a file, or - for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_file: Option<PathBuf>,
    /// The prompt itself
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The model that the prompt is written for, which runs that name none take: openai:gpt-4o-mini, {"id": …, "params": {…}}
    /// or none
    #[arg(long, value_name = "MODEL", value_parser = model)]
    pub model: Option<serde_json::Value>,
    /// What the card is for
    #[arg(long)]
    pub description: Option<String>,
    /// Its category
    #[arg(long)]
    pub category: Option<String>,
    /// A tag; may be repeated, and replaces all tags that the card has
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The team's own fields, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// `card create`.
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// The title, by which suites find the card
    #[arg(long)]
    pub title: String,
    /// The rest of the card
    #[command(flatten)]
    pub words: Words,
    /// Show the card to everybody
    #[arg(long)]
    pub public: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `card revise`.
#[derive(Clone, Debug, clap::Args)]
pub struct Revise {
    /// The card, and how to print it
    #[command(flatten)]
    pub named: Named,
    /// A new title
    #[arg(long)]
    pub title: Option<String>,
    /// What changes
    #[command(flatten)]
    pub words: Words,
    /// Why the prompt changes
    #[arg(short, long)]
    pub message: Option<String>,
    /// Refuse when the card is no longer at this revision, as `card show` tells it
    #[arg(long, value_name = "N")]
    pub revision: Option<i64>,
}

/// `card list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Words in title, description or prompt
    #[arg(long, short, value_name = "WORDS")]
    pub query: Option<String>,
    /// Only this category
    #[arg(long)]
    pub category: Option<String>,
    /// Only cards with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only public or only private cards
    #[arg(long, value_parser = ["public", "private"])]
    pub visibility: Option<String>,
    /// Archived cards instead of those in use
    #[arg(long)]
    pub archived: bool,
    /// Most cards to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `card show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The card, and how to print it
    #[command(flatten)]
    pub named: Named,
    /// Another version than the newest
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// Show it as it was, at a position of the log or at a time such as 2026-01-31T23:59:59Z
    #[arg(long, value_name = "POSITION|TIME", conflicts_with = "version")]
    pub as_of: Option<String>,
    /// Print the prompt alone, as it is
    #[arg(long, conflicts_with = "json")]
    pub prompt: bool,
}

/// `card lint`.
#[derive(Clone, Debug, clap::Args)]
pub struct Lint {
    /// The card, and how to print what was found
    #[command(flatten)]
    pub named: Named,
    /// Another version than the newest
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// Let warnings end with 1 as well
    #[arg(long)]
    pub strict: bool,
}

/// `card diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Diff {
    /// The card: its id or its exact title
    pub card: String,
    /// The older version
    pub from: u32,
    /// The newer version
    pub to: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `card label`.
#[derive(Clone, Debug, clap::Args)]
pub struct Label {
    /// The card: its id or its exact title
    pub card: String,
    /// The label
    pub label: String,
    /// The version
    pub version: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `card unlabel`, `card protect` and `card unprotect`.
#[derive(Clone, Debug, clap::Args)]
pub struct NamedLabel {
    /// The card: its id or its exact title
    pub card: String,
    /// The label
    pub label: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `card cases`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cases {
    /// The card, and how to print it
    #[command(flatten)]
    pub named: Named,
    /// Add the cases of a .jsonl, .json, .yaml or .csv file; those that the card has are changed to it
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// What a column or a key of the file is: answer=expected_output, question=q (a variable), name=input.name, id=- (left
    /// out); then keys that are no field of a case are variables. May be repeated
    #[arg(long, value_name = "COLUMN=WHAT", requires = "import")]
    pub map: Vec<String>,
    #[command(flatten)]
    pub from_run: from_run::FromRun,
    /// Show the first cases as they would be added, and send nothing
    #[arg(long)]
    pub preview: bool,
    /// Most cases to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// `card schema`.
#[derive(Clone, Debug, clap::Args)]
pub struct Schema {
    /// The card: its id or its exact title
    pub card: String,
    /// Demand what a file says: JSON Schemas as {"input": …, "expected_output": …}
    #[arg(long, value_name = "FILE")]
    pub set: Option<PathBuf>,
    /// Demand nothing any more
    #[arg(long, conflicts_with = "set")]
    pub clear: bool,
}

fn mapping(texts: &[String]) -> Result<Mapping, CliError> {
    Mapping::parse(texts).map_err(|why| CliError::usage(why, "write answer=expected_output, question=q or id=-"))
}

/// A model by its id, or whole as JSON.
fn model(text: &str) -> Result<serde_json::Value, String> {
    match text {
        "none" => Ok(serde_json::Value::Null),
        text if text.starts_with('{') => json_object(text).map(serde_json::Value::Object),
        id => Ok(serde_json::json!({ "id": id })),
    }
}

fn json_object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))
}

impl CardCommand {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::Create(create) => write::create(api, create, output).await,
            Self::Revise(revise) => write::revise(api, revise, output).await,
            Self::Archive(archive) => {
                write::action(api, &archive.named, "archive", archive.reason.as_deref(), output).await
            }
            Self::Restore(named) => write::action(api, &named, "restore", None, output).await,
            Self::Publish(named) => write::action(api, &named, "publish", None, output).await,
            Self::Unpublish(named) => write::action(api, &named, "unpublish", None, output).await,
            Self::Label(label) => write::label(api, &label, output).await,
            Self::Unlabel(label) => write::unlabel(api, &label, output).await,
            Self::Protect(label) => write::protect(api, &label, true, output).await,
            Self::Unprotect(label) => write::protect(api, &label, false, output).await,
            Self::List(list) => read::list(api, list, output).await,
            Self::Show(show) => read::show(api, &show, output).await,
            Self::Versions(named) => read::versions(api, &named, output).await,
            Self::Lint(lint) => return lint::lint(api, &lint, output).await,
            Self::Usage(named) => usage::usage(api, &named, output).await,
            Self::Diff(diff) => read::diff(api, &diff, output).await,
            Self::Schema(schema) => schema::schema(api, &schema, output).await,
            Self::Cases(Cases { named, import: Some(file), map, preview: true, .. }) => {
                write::preview(&file, &mapping(&map)?, named.json, output)
            }
            Self::Cases(Cases { named, import: Some(file), map, .. }) => {
                write::import(api, &named, (&file, &mapping(&map)?), output).await
            }
            Self::Cases(cases) if cases.from_run.from_run.is_some() => {
                let run = cases.from_run.from_run.clone().unwrap_or_default();
                from_run::keep(api, &cases, &run, output).await
            }
            Self::Cases(Cases { preview: true, .. }) => Err(CliError::usage(
                "there is nothing to show before it is added",
                "say what would be: --import FILE, or --from-run RUN",
            )),
            Self::Cases(cases) => read::cases(api, &cases, output).await,
        }?;
        Ok(ExitStatus::Success)
    }
}
