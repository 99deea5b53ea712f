//! Jobs on request: asked for, listed, shown, cancelled, tried again.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::queues::rows;
use super::{cell, items};
use crate::client::Api;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::{Align, Output};

/// How often it is looked whether a job is over.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// `jobs request`.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// The kind of job, such as swarm_agent
    kind: String,
    /// What is to be done, as a JSON object; @FILE reads it from a file
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// hi, std or bulk
    #[arg(long, default_value = "std", value_parser = ["hi", "std", "bulk"])]
    lane: String,
    /// Not to be begun before, such as 2026-12-01T03:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Wait for its result, and print it; exits with 1 where it has none
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `jobs list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Only of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only those that are waiting, finished, dead or cancelled
    #[arg(long, value_parser = ["waiting", "finished", "dead", "cancelled"])]
    status: Option<String>,
    /// Most jobs to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `jobs show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The job's id
    job: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `jobs cancel`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cancel {
    /// The job's id
    job: String,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// `jobs again`.
#[derive(Clone, Debug, clap::Args)]
pub struct Again {
    /// The job's id
    job: String,
}

/// Asks for a job; waited for, one without a result is as a run that misses its gate.
pub(super) async fn request(api: &Api, args: &Request, output: &mut Output) -> Result<ExitStatus, CliError> {
    let mut body = json!({ "kind": args.kind, "input": input(&args.input)?, "lane": args.lane });
    if let Some(not_before) = &args.not_before {
        body["not_before"] = not_before.as_str().into();
    }
    let job = api.act(Method::POST, &["jobs"], &body).await?;
    if !args.wait {
        let asked = format!("job {} is asked for", cell(&job, "id"));
        if args.json {
            output.json(&job)?
        } else {
            output.line(&asked)?
        }
        return Ok(ExitStatus::Success);
    }
    let id = cell(&job, "id");
    output.note(&format!("job {id} is asked for; waiting for its result"));
    loop {
        let job = match api.show(&["jobs", &id], &[]).await {
            // The read model may not have it yet.
            Err(error) if error.status() == 404 => Value::Null,
            shown => shown?,
        };
        if !job["status"].is_null() && job["status"] != "waiting" {
            show_job(&job, args.json, output)?;
            let finished = job["status"] == "finished";
            return Ok(if finished { ExitStatus::Success } else { ExitStatus::GateFailed });
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// The JSON object that is said, or that a file has.
fn input(said: &str) -> Result<Map<String, Value>, CliError> {
    let mend = "write a JSON object, such as '{\"task\": \"retention\"}', or @FILE";
    let text = match said.strip_prefix('@') {
        None => said.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| CliError::usage(format!("the file {path} can't be read: {error}"), mend))?,
    };
    serde_json::from_str(&text).map_err(|error| CliError::usage(format!("--input is no JSON object: {error}"), mend))
}

pub(super) async fn list(api: &Api, args: &List, output: &mut Output) -> Result<(), CliError> {
    let limit = args.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    for (field, value) in [("kind", &args.kind), ("status", &args.status)] {
        query.extend(value.as_deref().map(|value| (field, value)));
    }
    let page = api.show(&["jobs"], &query).await?;
    if args.json {
        return output.json(&page);
    }
    let columns = [
        ("job", Align::Left),
        ("kind", Align::Left),
        ("lane", Align::Left),
        ("status", Align::Left),
        ("attempts", Align::Right),
        ("class", Align::Left),
        ("asked for", Align::Left),
    ];
    let fields = ["id", "kind", "lane", "status", "attempts", "error_class", "requested_at"];
    match items(&page, "items") {
        [] => output.note("no jobs"),
        jobs => output.table(&columns, rows(jobs, &fields))?,
    }
    if page["next_cursor"].is_string() {
        output.note("there are more; name a kind or a status, or raise --limit");
    }
    Ok(())
}

pub(super) async fn show(api: &Api, args: &Show, output: &mut Output) -> Result<(), CliError> {
    show_job(&api.show(&["jobs", &args.job], &[]).await?, args.json, output)
}

fn show_job(job: &Value, as_json: bool, output: &mut Output) -> Result<(), CliError> {
    if as_json {
        return output.json(job);
    }
    output.line(&format!("{} {} {}", cell(job, "kind"), cell(job, "id"), cell(job, "status")))?;
    for (name, field) in [("input", "input"), ("output", "output"), ("error", "error"), ("worker", "worker")] {
        if !job[field].is_null() {
            output.line(&format!("{name}: {}", cell(job, field)))?;
        }
    }
    let columns = [
        ("attempt", Align::Right),
        ("worker", Align::Left),
        ("class", Align::Left),
        ("error", Align::Left),
        ("at", Align::Left),
    ];
    match items(job, "failed_attempts") {
        [] => Ok(()),
        failed => output.table(&columns, rows(failed, &["attempt", "worker", "class", "error", "at"])),
    }
}

pub(super) async fn cancel(api: &Api, args: &Cancel, output: &mut Output) -> Result<(), CliError> {
    let body = json!({ "reason": args.reason });
    let job = api.act(Method::POST, &["jobs", &args.job, "cancel"], &body).await?;
    output.line(&format!("job {} is {}", cell(&job, "id"), cell(&job, "status")))
}

pub(super) async fn again(api: &Api, args: &Again, output: &mut Output) -> Result<(), CliError> {
    let job = api.act(Method::POST, &["jobs", &args.job, "redrive"], &json!({})).await?;
    output.line(&format!("job {} is {}", cell(&job, "id"), cell(&job, "status")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_an_object_or_a_file_with_one() {
        assert_eq!(input("{\"a\": 1}").unwrap()["a"], 1);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"b\": 2}").unwrap();
        assert_eq!(input(&format!("@{}", file.path().display())).unwrap()["b"], 2);
        for wrong in ["[]", "{", "@/nowhere/at/all"] {
            assert!(input(wrong).is_err(), "{wrong}");
        }
    }
}
