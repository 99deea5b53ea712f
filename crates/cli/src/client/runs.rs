//! The requests about runs and their results.

use reqwest::Method;
use serde_json::{Map, Value};

use super::Api;
use super::error::ApiError;
use super::run_wire::{ExecutionResult, NewRun, Run};
use super::wire::Page;

/// Which results a list shall hold; an empty field asks for all.
#[derive(Clone, Debug, Default)]
pub struct ResultFilter {
    /// The model's name.
    pub model: Option<String>,
    /// Only those that passed, or only those that did not.
    pub success: Option<bool>,
    /// The prompt's version.
    pub version: Option<u32>,
    /// The case.
    pub case_id: Option<String>,
}

impl Api {
    /// Asks for a run.
    pub async fn request_run(&self, run: &NewRun) -> Result<Run, ApiError> {
        self.command(Method::POST, &["runs"], run, None).await
    }

    /// A run.
    pub async fn run(&self, id: &str) -> Result<Run, ApiError> {
        self.get(&["runs", id], &[]).await
    }

    /// A run as it was: at a position of the log, or at a time.
    pub async fn run_as_of(&self, id: &str, as_of: &str) -> Result<Run, ApiError> {
        self.get(&["runs", id], &[("as_of", as_of)]).await
    }

    /// A page of runs.
    pub async fn runs(
        &self,
        card_id: Option<&str>,
        status: Option<&str>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Run>, ApiError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(card_id.map(|value| ("card_id", value)));
        query.extend(status.map(|value| ("status", value)));
        query.extend(cursor.map(|value| ("cursor", value)));
        self.get(&["runs"], &query).await
    }

    /// Stops a run.
    pub async fn cancel_run(&self, id: &str, reason: &str) -> Result<Run, ApiError> {
        let mut body = Map::new();
        if !reason.is_empty() {
            body.insert("reason".to_owned(), Value::from(reason));
        }
        self.command(Method::POST, &["runs", id, "cancel"], &body, None).await
    }

    /// A page of a run's results.
    pub async fn results(
        &self,
        run_id: &str,
        filter: &ResultFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<ExecutionResult>, ApiError> {
        let limit = limit.to_string();
        let success = filter.success.map(|value| value.to_string());
        let version = filter.version.map(|value| value.to_string());
        let mut query = vec![("limit", limit.as_str())];
        query.extend(filter.model.as_deref().map(|value| ("model", value)));
        query.extend(success.as_deref().map(|value| ("success", value)));
        query.extend(version.as_deref().map(|value| ("version", value)));
        query.extend(filter.case_id.as_deref().map(|value| ("case_id", value)));
        query.extend(cursor.map(|value| ("cursor", value)));
        self.get(&["runs", run_id, "results"], &query).await
    }
}
