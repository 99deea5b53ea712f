//! Runs that other commands ask for to find something out: requested, waited for, read.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::exit::CliError;
use super::page::PAGE_LEN_MAX;
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;
use crate::client::runs::ResultFilter;
use crate::suite::Suite;

/// How often it is looked whether a run is over.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// What a run is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trials<'a> {
    pub(super) card_id: &'a str,
    pub(super) name: &'a str,
    pub(super) versions: &'a [u32],
    pub(super) models: &'a [Value],
    pub(super) case_ids: &'a [String],
    pub(super) repeats: u64,
    /// Whether answers that the same question got before are used again.
    pub(super) reuse: bool,
    /// Whose demands on every output, threshold and judge it has.
    pub(super) suite: Option<&'a Suite>,
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) run_id: String,
    pub(super) results: Vec<ExecutionResult>,
}

impl Trials<'_> {
    /// Has the run made, and reads its results.
    ///
    /// # Errors
    /// Where it is refused, or cancelled, or an execution ended in an error.
    pub(super) async fn made(&self, api: &Api) -> Result<Ended, CliError> {
        let mut body = json!({
            "card_id": self.card_id, "name": self.name, "versions": self.versions, "models": self.models,
            "case_ids": self.case_ids, "repeats": self.repeats, "cache": self.reuse, "lane": "hi",
        });
        if let Some(suite) = self.suite {
            body["assertions"] = serde_json::to_value(&suite.assertions).unwrap_or_default();
            body["threshold"] = json!(suite.threshold);
            body["grader"] = json!(suite.grader);
        }
        let run = api.act(Method::POST, &["runs"], &body).await?;
        let run_id = run["id"].as_str().unwrap_or_default().to_owned();
        loop {
            let run = api.show(&["runs", &run_id], &[]).await?;
            match run["status"].as_str() {
                Some("completed") => break,
                Some("cancelled") => return Err(CliError::System(format!("the run {run_id} was cancelled"))),
                _ => tokio::time::sleep(WATCH_INTERVAL).await,
            }
        }
        let results = results(api, &run_id, &ResultFilter::default()).await?;
        let failed = results.iter().find_map(|result| result.error.as_ref());
        match failed {
            None => Ok(Ended { run_id, results }),
            Some(error) => {
                let why =
                    format!("an execution of the run {run_id} ended in an error ({}: {})", error.class, error.message);
                Err(CliError::System(why))
            }
        }
    }
}

/// All results of a run that a filter lets through.
pub(super) async fn results(api: &Api, run: &str, filter: &ResultFilter) -> Result<Vec<ExecutionResult>, CliError> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = api.results(run, filter, PAGE_LEN_MAX, cursor.as_deref()).await?;
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}
