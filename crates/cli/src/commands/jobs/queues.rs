//! Queues: how much waits, and what is held back.

use clap::ArgGroup;
use reqwest::Method;
use serde_json::{Value, json};

use super::{cell, items};
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output};

/// `jobs queues`.
#[derive(Clone, Debug, clap::Args)]
pub struct Queues {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which jobs.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("scope").required(true))]
struct Scope {
    /// All of them
    #[arg(long, group = "scope")]
    everything: bool,
    /// Those of a lane
    #[arg(long, group = "scope", value_parser = ["hi", "std", "bulk"])]
    lane: Option<String>,
    /// Those of a kind, such as `test_execution`
    #[arg(long, group = "scope")]
    kind: Option<String>,
    /// Those that ask a provider, such as openai
    #[arg(long, group = "scope")]
    provider: Option<String>,
    /// Those that ask a model, such as openai:gpt-4o-mini
    #[arg(long, group = "scope")]
    model: Option<String>,
}

/// `jobs pause`.
#[derive(Clone, Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    scope: Scope,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// `jobs resume`.
#[derive(Clone, Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    scope: Scope,
}

/// `jobs weight`.
#[derive(Clone, Debug, clap::Args)]
pub struct Weight {
    /// How many shares, beside the one that each other tenant has
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    weight: u16,
}

impl Scope {
    fn body(&self) -> Value {
        let mut body = json!({});
        if self.everything {
            body["everything"] = true.into();
        }
        let named = [("lane", &self.lane), ("kind", &self.kind), ("provider", &self.provider), ("model", &self.model)];
        for (field, value) in named {
            if let Some(value) = value {
                body[field] = value.as_str().into();
            }
        }
        body
    }
}

pub(super) async fn list(api: &Api, args: &Queues, output: &mut Output) -> Result<(), CliError> {
    let answer = api.show(&["queues"], &[]).await?;
    if args.json {
        return output.json(&answer);
    }
    let columns = [
        ("lane", Align::Left),
        ("model", Align::Left),
        ("runs", Align::Right),
        ("waiting", Align::Right),
        ("pausing", Align::Right),
        ("handed out", Align::Right),
        ("oldest s", Align::Right),
        ("held", Align::Left),
    ];
    let fields = ["lane", "model", "runs", "waiting", "pausing", "handed_out", "oldest_waiting_seconds", "held"];
    match items(&answer, "queues") {
        [] => output.note("nothing waits"),
        queues => output.table(&columns, rows(queues, &fields))?,
    }
    if let holds @ [_, ..] = items(&answer, "holds") {
        let columns = [
            ("held by", Align::Left),
            ("scope", Align::Left),
            ("value", Align::Left),
            ("for s", Align::Right),
            ("reason", Align::Left),
        ];
        output.line("")?;
        output.table(&columns, rows(holds, &["source", "scope", "value", "for_seconds", "reason"]))?;
    }
    Ok(())
}

/// The fields of each item.
pub(super) fn rows(items: &[Value], fields: &[&str]) -> Vec<Vec<String>> {
    items.iter().map(|item| fields.iter().map(|field| cell(item, field)).collect()).collect()
}

pub(super) async fn pause(api: &Api, args: &Pause, output: &mut Output) -> Result<(), CliError> {
    let mut body = args.scope.body();
    body["reason"] = args.reason.as_str().into();
    say(&api.act(Method::POST, &["queues", "pause"], &body).await?, output)
}

pub(super) async fn resume(api: &Api, args: &Resume, output: &mut Output) -> Result<(), CliError> {
    say(&api.act(Method::POST, &["queues", "resume"], &args.scope.body()).await?, output)
}

pub(super) async fn weight(api: &Api, args: &Weight, output: &mut Output) -> Result<(), CliError> {
    let policy = api.act(Method::PUT, &["queues", "weight"], &json!({ "weight": args.weight })).await?;
    output.line(&format!("weight {}", cell(&policy, "weight")))
}

fn say(policy: &Value, output: &mut Output) -> Result<(), CliError> {
    let named = |scope: &Value| match scope {
        Value::Object(scope) => {
            scope.iter().map(|(kind, value)| format!("{kind} {}", value.as_str().unwrap_or_default())).collect()
        }
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let paused: Vec<String> = items(policy, "paused").iter().map(named).collect();
    match &paused[..] {
        [] => output.line("nothing is paused"),
        paused => output.line(&format!("paused: {}", paused.join(", "))),
    }
}
