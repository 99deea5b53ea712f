//! `pcs review …`: people score the answers of a run, agree or not, and override recorded verdicts.

mod open;
mod score;
mod show;

use reqwest::Method;
use serde_json::{Value, json};

use self::open::Open;
use self::score::{Override, Score};
use self::show::{Agreement, List, Next, Show};
use super::exit::{CliError, ExitStatus};
use super::output::Output;
use super::target;
use crate::client::Api;
use crate::client::connection::Connection;

/// Have people review the answers of a run.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ReviewCommand {
    /// Open the review of a run: which answers, and what they are scored by
    Open(Open),
    /// List reviews, the newest first
    List(List),
    /// Show how far the review of a run is
    Show(Show),
    /// Take the next answer to score, and show it
    Next(Next),
    /// Score an answer
    Score(Score),
    /// Have somebody score answers, or release them from it
    Assign(Assign),
    /// Say whether reviewers agree with each other, and with the recorded verdicts
    Agreement(Agreement),
    /// Put your verdict in the place of the recorded one, or withdraw it
    Override(Override),
    /// Close a review: nothing is scored any more
    Close(OfRun),
    /// Open a closed review again
    Reopen(OfRun),
}

/// A review, by its run.
#[derive(Clone, Debug, clap::Args)]
pub struct OfRun {
    /// The run's id; `last` is the newest completed one
    pub run: String,
}

/// `review assign`.
#[derive(Clone, Debug, clap::Args)]
pub struct Assign {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// The account of the reviewer, by its id
    #[arg(long, value_name = "ID")]
    pub reviewer: String,
    /// The executions
    #[arg(required = true, value_name = "EXECUTION")]
    pub executions: Vec<String>,
    /// Release them from it instead
    #[arg(long)]
    pub release: bool,
}

impl ReviewCommand {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await?;
        Ok(ExitStatus::Success)
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Open(args) => args.against(api, output).await,
            Self::List(args) => args.against(api, output).await,
            Self::Show(args) => args.against(api, output).await,
            Self::Next(args) => args.against(api, output).await,
            Self::Score(args) => args.against(api, output).await,
            Self::Assign(args) => args.against(api, output).await,
            Self::Agreement(args) => args.against(api, output).await,
            Self::Override(args) => args.against(api, output).await,
            Self::Close(args) => args.act(api, "close", output).await,
            Self::Reopen(args) => args.act(api, "reopen", output).await,
        }
    }
}

impl OfRun {
    async fn act(&self, api: &Api, verb: &str, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let answer = api.act(Method::POST, &["runs", run, "review", verb], &json!({})).await?;
        said(run, &answer, output)
    }
}

impl Assign {
    async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let body = json!({ "execution_ids": self.executions, "reviewer": self.reviewer, "release": self.release });
        let answer = api.act(Method::POST, &["runs", run, "review", "assignments"], &body).await?;
        said(run, &answer, output)
    }
}

/// What a review is after a command.
fn said(run: &str, answer: &Value, output: &mut Output) -> Result<(), CliError> {
    let state = if answer["closed"] == true { "closed" } else { "open" };
    output.line(&format!("the review of run {run} is {state}, with {} answers", answer["items"]))
}
