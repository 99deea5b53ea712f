//! `pcs schedules …`: runs at the times of a cron expression.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use super::exit::{CliError, ExitStatus};
use super::jobs::{cell, items};
use super::output::{Align, Output};
use crate::client::Api;
use crate::client::connection::Connection;

/// Look at schedules, make and end them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SchedulesCommand {
    /// List the schedules with their next and last times
    List(List),
    /// Make a schedule from a file: name, cron, `time_zone`, missed, and run as for POST /runs
    Create(Create),
    /// Hold a schedule back
    Pause(Named),
    /// Let a schedule go on
    Resume(Named),
    /// End a schedule
    Delete(Named),
}

/// `schedules list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `schedules create`.
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// The schedule as YAML or JSON
    file: PathBuf,
}

/// A schedule by its id.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// The schedule's id
    schedule: String,
}

impl SchedulesCommand {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::List(args) => list(api, &args, output).await,
            Self::Create(args) => create(api, &args, output).await,
            Self::Pause(args) => change(api, &args, Some("pause"), output).await,
            Self::Resume(args) => change(api, &args, Some("resume"), output).await,
            Self::Delete(args) => change(api, &args, None, output).await,
        }?;
        Ok(ExitStatus::Success)
    }
}

async fn list(api: &Api, args: &List, output: &mut Output) -> Result<(), CliError> {
    let answer = api.show(&["schedules"], &[]).await?;
    if args.json {
        return output.json(&answer);
    }
    let columns = [
        ("id", Align::Left),
        ("name", Align::Left),
        ("paused", Align::Left),
        ("next", Align::Left),
        ("last", Align::Left),
        ("last run", Align::Left),
    ];
    let fields = ["id", "name", "paused", "due_at", "last_due_at", "last_run_id"];
    let row = |item: &Value| fields.iter().map(|field| cell(item, field)).collect();
    match items(&answer, "items") {
        [] => output.note("no schedules"),
        schedules => output.table(&columns, schedules.iter().map(row).collect())?,
    }
    Ok(())
}

async fn create(api: &Api, args: &Create, output: &mut Output) -> Result<(), CliError> {
    let shown = args.file.display();
    let unreadable = |error: String| CliError::usage(format!("{shown} can't be read"), error);
    let text = std::fs::read_to_string(&args.file).map_err(|error| unreadable(error.to_string()))?;
    let body: Value = serde_saphyr::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let created = api.act(Method::POST, &["schedules"], &body).await?;
    output.line(&format!("created {} {}", cell(&created, "id"), cell(&created, "name")))
}

async fn change(api: &Api, args: &Named, what: Option<&str>, output: &mut Output) -> Result<(), CliError> {
    let id = args.schedule.as_str();
    let done = match what {
        Some(what) => {
            api.act(Method::POST, &["schedules", id, what], &json!({})).await?;
            format!("{what}d {id}")
        }
        None => {
            api.act(Method::DELETE, &["schedules", id], &json!({})).await?;
            format!("deleted {id}")
        }
    };
    output.line(&done)
}
