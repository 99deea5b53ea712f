//! The requests about cards and their cases.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Api;
use super::error::ApiError;
use super::wire::{
    AddedCases, Card, CardChange, CardDiff, CardLint, CardUsage, CardVersion, Case, NewCard, NewCases, Page, Prompt,
};

/// Which cards a list shall hold; an empty field asks for all.
#[derive(Clone, Debug, Default)]
pub struct CardFilter {
    /// Words in title, description or prompt.
    pub q: Option<String>,
    /// The exact title.
    pub title: Option<String>,
    /// The category.
    pub category: Option<String>,
    /// A tag.
    pub tag: Option<String>,
    /// `public` or `private`.
    pub visibility: Option<&'static str>,
    /// Archived cards instead of those in use.
    pub archived: bool,
}

impl Api {
    /// A page of cards.
    pub async fn cards(&self, filter: &CardFilter, limit: usize, cursor: Option<&str>) -> Result<Page<Card>, ApiError> {
        let limit = limit.to_string();
        let archived = filter.archived.to_string();
        let mut query = vec![("limit", limit.as_str()), ("archived", archived.as_str())];
        query.extend(filter.q.as_deref().map(|value| ("q", value)));
        query.extend(filter.title.as_deref().map(|value| ("title", value)));
        query.extend(filter.category.as_deref().map(|value| ("category", value)));
        query.extend(filter.tag.as_deref().map(|value| ("tag", value)));
        query.extend(filter.visibility.map(|value| ("visibility", value)));
        query.extend(cursor.map(|value| ("cursor", value)));
        self.get(&["cards"], &query).await
    }

    /// A card.
    pub async fn card(&self, id: &str) -> Result<Card, ApiError> {
        self.get(&["cards", id], &[]).await
    }

    /// A card as it was: at a position of the log, or at a time.
    pub async fn card_as_of(&self, id: &str, as_of: &str) -> Result<Card, ApiError> {
        self.get(&["cards", id], &[("as_of", as_of)]).await
    }

    /// Makes a card.
    pub async fn create_card(&self, card: &NewCard) -> Result<Card, ApiError> {
        self.command(Method::POST, &["cards"], card, None).await
    }

    /// Changes a card that is still as the caller saw it.
    pub async fn change_card(&self, id: &str, revision: i64, change: &CardChange) -> Result<Card, ApiError> {
        self.command(Method::PATCH, &["cards", id], change, Some(revision)).await
    }

    /// Archives, restores, publishes or unpublishes a card.
    pub async fn card_action(&self, id: &str, action: &str, reason: Option<&str>) -> Result<Card, ApiError> {
        let body: Map<String, Value> = reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect();
        self.command(Method::POST, &["cards", id, action], &body, None).await
    }

    /// A page of a card's versions.
    pub async fn card_versions(
        &self,
        id: &str,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CardVersion>, ApiError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(cursor.map(|value| ("cursor", value)));
        self.get(&["cards", id, "versions"], &query).await
    }

    /// One version of a card.
    pub async fn card_version(&self, id: &str, version: u32) -> Result<CardVersion, ApiError> {
        self.get(&["cards", id, "versions", &version.to_string()], &[]).await
    }

    /// What a version and the card's cases say about each other.
    pub async fn card_lint(&self, id: &str, version: u32) -> Result<CardLint, ApiError> {
        self.get(&["cards", id, "versions", &version.to_string(), "lint"], &[]).await
    }

    /// What uses a card.
    pub async fn card_usage(&self, id: &str) -> Result<CardUsage, ApiError> {
        self.get(&["cards", id, "usage"], &[]).await
    }

    /// A version of the prompt whose card has this title: of a label, or of this number; else the one in production.
    pub async fn prompt(&self, name: &str, label: Option<&str>, version: Option<u32>) -> Result<Prompt, ApiError> {
        let version = version.map(|version| version.to_string());
        let mut query: Vec<(&str, &str)> = label.map(|label| ("label", label)).into_iter().collect();
        query.extend(version.as_deref().map(|version| ("version", version)));
        self.get(&["prompts", name], &query).await
    }

    /// What changed from one version to another.
    pub async fn card_diff(&self, id: &str, from: u32, to: u32) -> Result<CardDiff, ApiError> {
        let (from, to) = (from.to_string(), to.to_string());
        self.get(&["cards", id, "diff"], &[("from", from.as_str()), ("to", to.as_str())]).await
    }

    /// Points a label to a version.
    pub async fn label_card(&self, id: &str, label: &str, version: u32) -> Result<Card, ApiError> {
        self.command(Method::PUT, &["cards", id, "labels", label], &json!({ "version": version }), None).await
    }

    /// Takes a label away.
    pub async fn unlabel_card(&self, id: &str, label: &str) -> Result<Card, ApiError> {
        self.command(Method::DELETE, &["cards", id, "labels", label], &json!({}), None).await
    }

    /// Protects a label, or no longer.
    pub async fn protect_label(&self, id: &str, label: &str, is_protected: bool) -> Result<Card, ApiError> {
        let method = if is_protected { Method::PUT } else { Method::DELETE };
        self.command(method, &["cards", id, "labels", label, "protection"], &json!({}), None).await
    }

    /// A page of a card's cases.
    pub async fn card_cases(&self, id: &str, limit: usize, cursor: Option<&str>) -> Result<Page<Case>, ApiError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(cursor.map(|value| ("cursor", value)));
        self.get(&["cards", id, "cases"], &query).await
    }

    /// Adds cases to a card; those that it has are changed to these assertions.
    pub async fn add_cases(&self, id: &str, cases: &NewCases<'_>) -> Result<AddedCases, ApiError> {
        self.command(Method::POST, &["cards", id, "cases"], cases, None).await
    }
}
