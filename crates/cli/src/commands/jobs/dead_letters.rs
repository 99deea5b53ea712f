//! Dead letters: listed, looked at, run again, dismissed.

use clap::ArgGroup;
use reqwest::Method;
use serde_json::{Value, json};

use super::queues::rows;
use super::{cell, items};
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output, excerpt};

/// Longest error in a table, in characters.
const ERROR_CHARS_MAX: usize = 60;
/// Most rounds of one command, each of up to 1,000 dead letters.
const ROUNDS_MAX: usize = 1_000;

/// `jobs dead`.
#[derive(Clone, Debug, clap::Args)]
pub struct Dead {
    /// Only of this run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Only of this card
    #[arg(long, value_name = "ID")]
    card: Option<String>,
    /// Only of this kind of error, such as timeout
    #[arg(long)]
    class: Option<String>,
    /// Most dead letters to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `jobs attempts`.
#[derive(Clone, Debug, clap::Args)]
pub struct Attempts {
    /// The execution's id
    execution: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which dead letters.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true))]
struct Choice {
    /// These executions
    #[arg(value_name = "EXECUTION", group = "which")]
    executions: Vec<String>,
    /// Of this run
    #[arg(long, value_name = "ID", group = "which")]
    run: Option<String>,
    /// Of this card
    #[arg(long, value_name = "ID", group = "which")]
    card: Option<String>,
    /// Of this kind of error, such as timeout
    #[arg(long, group = "which")]
    class: Option<String>,
    /// All of them
    #[arg(long, group = "which")]
    all: bool,
}

/// `jobs redrive`.
#[derive(Clone, Debug, clap::Args)]
pub struct Redrive {
    #[command(flatten)]
    choice: Choice,
}

/// `jobs dismiss`.
#[derive(Clone, Debug, clap::Args)]
pub struct Dismiss {
    #[command(flatten)]
    choice: Choice,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

impl Choice {
    fn body(&self) -> Value {
        let mut body = json!({ "all": self.all });
        if !self.executions.is_empty() {
            body["execution_ids"] = self.executions.clone().into();
        }
        for (field, value) in [("run_id", &self.run), ("card_id", &self.card), ("class", &self.class)] {
            if let Some(value) = value {
                body[field] = value.as_str().into();
            }
        }
        body
    }
}

pub(super) async fn list(api: &Api, args: &Dead, output: &mut Output) -> Result<(), CliError> {
    let limit = args.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    for (field, value) in [("run_id", &args.run), ("card_id", &args.card), ("class", &args.class)] {
        query.extend(value.as_deref().map(|value| (field, value)));
    }
    let page = api.show(&["dead-letters"], &query).await?;
    if args.json {
        return output.json(&page);
    }
    let columns = [
        ("execution", Align::Left),
        ("model", Align::Left),
        ("class", Align::Left),
        ("attempts", Align::Right),
        ("error", Align::Left),
        ("at", Align::Left),
    ];
    let row = |item: &Value| {
        let error = excerpt(&cell(item, "error"), ERROR_CHARS_MAX);
        let field = |name| cell(item, name);
        vec![field("execution_id"), field("model"), field("class"), field("attempts"), error, field("at")]
    };
    match items(&page, "items") {
        [] => output.note("no dead letters"),
        letters => output.table(&columns, letters.iter().map(row).collect())?,
    }
    if page["next_cursor"].is_string() {
        output.note("there are more; name a run or a class, or raise --limit");
    }
    Ok(())
}

pub(super) async fn attempts(api: &Api, args: &Attempts, output: &mut Output) -> Result<(), CliError> {
    let shown = api.show(&["executions", &args.execution], &[]).await?;
    if args.json {
        return output.json(&shown);
    }
    let columns = [
        ("attempt", Align::Right),
        ("worker", Align::Left),
        ("class", Align::Left),
        ("error", Align::Left),
        ("at", Align::Left),
    ];
    output.line(&format!("{} {} of run {}", cell(&shown, "status"), args.execution, cell(&shown, "run_id")))?;
    match items(&shown, "attempts") {
        [] => output.note("no attempt failed"),
        failed => output.table(&columns, rows(failed, &["attempt", "worker", "class", "error", "at"]))?,
    }
    Ok(())
}

pub(super) async fn redrive(api: &Api, args: &Redrive, output: &mut Output) -> Result<(), CliError> {
    let mut executions = 0;
    for _ in 0..ROUNDS_MAX {
        let handled = api.act(Method::POST, &["dead-letters", "redrive"], &args.choice.body()).await?;
        executions += handled["executions"].as_u64().unwrap_or_default();
        for (of, run) in handled["runs"].as_object().into_iter().flatten() {
            output.line(&format!("run {} repeats part of {of}", run.as_str().unwrap_or_default()))?;
        }
        if handled["more"] != true {
            break;
        }
    }
    output.line(&format!("{executions} executions are run again"))
}

pub(super) async fn dismiss(api: &Api, args: &Dismiss, output: &mut Output) -> Result<(), CliError> {
    let mut body = args.choice.body();
    body["reason"] = args.reason.as_str().into();
    let mut executions = 0;
    for _ in 0..ROUNDS_MAX {
        let handled = api.act(Method::POST, &["dead-letters", "dismiss"], &body).await?;
        executions += handled["executions"].as_u64().unwrap_or_default();
        if handled["more"] != true {
            break;
        }
    }
    output.line(&format!("{executions} dead letters are dismissed"))
}
