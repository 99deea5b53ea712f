//! The requests about the job system and schedules; answers are shown as they come.

use reqwest::Method;
use serde_json::Value;

use super::Api;
use super::error::ApiError;

impl Api {
    /// Reads what a path shows.
    pub async fn show(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ApiError> {
        self.get(path, query).await
    }

    /// Sends a command to a path.
    pub async fn act(&self, method: Method, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        self.command(method, path, body, None).await
    }
}
