//! Limits: what model providers allow.

use clap::ArgGroup;
use reqwest::Method;
use serde_json::json;

use super::items;
use super::queues::rows;
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output};

/// `jobs limits`.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `jobs limit`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("limits").required(true).multiple(true))]
pub struct Limit {
    /// A provider, such as openai, or one of its models, such as openai:gpt-4o-mini
    key: String,
    /// Calls that may begin in a minute
    #[arg(long, value_name = "N", group = "limits")]
    requests_per_minute: Option<u32>,
    /// Tokens of prompts in a minute
    #[arg(long, value_name = "N", group = "limits")]
    input_tokens_per_minute: Option<u64>,
    /// Tokens of answers in a minute
    #[arg(long, value_name = "N", group = "limits")]
    output_tokens_per_minute: Option<u64>,
    /// Calls at the same time
    #[arg(long, value_name = "N", group = "limits")]
    concurrency: Option<u32>,
}

/// `jobs unlimit`.
#[derive(Clone, Debug, clap::Args)]
pub struct Unlimit {
    /// The provider or model
    key: String,
}

pub(super) async fn list(api: &Api, args: &Limits, output: &mut Output) -> Result<(), CliError> {
    let answer = api.show(&["limits"], &[]).await?;
    if args.json {
        return output.json(&answer);
    }
    let columns = [
        ("key", Align::Left),
        ("requests/min", Align::Right),
        ("input/min", Align::Right),
        ("output/min", Align::Right),
        ("at once", Align::Right),
        ("in flight", Align::Right),
        ("wait s", Align::Right),
    ];
    let fields = [
        "key",
        "requests_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "concurrency",
        "in_flight",
        "wait_seconds",
    ];
    match items(&answer, "items") {
        [] => output.note("nothing is limited"),
        limits => output.table(&columns, rows(limits, &fields))?,
    }
    Ok(())
}

pub(super) async fn set(api: &Api, args: &Limit, output: &mut Output) -> Result<(), CliError> {
    let body = json!({
        "requests_per_minute": args.requests_per_minute,
        "input_tokens_per_minute": args.input_tokens_per_minute,
        "output_tokens_per_minute": args.output_tokens_per_minute,
        "concurrency": args.concurrency,
    });
    api.act(Method::PUT, &["limits", &args.key], &body).await?;
    output.line(&format!("limited {}", args.key))
}

pub(super) async fn remove(api: &Api, args: &Unlimit, output: &mut Output) -> Result<(), CliError> {
    api.act(Method::DELETE, &["limits", &args.key], &json!({})).await?;
    output.line(&format!("not limited {}", args.key))
}
