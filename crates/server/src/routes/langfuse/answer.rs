//! Prompts as Langfuse's clients read them.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::Timestamp;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::LATEST;
use pcs_projections::card_list::PromptRow;
use serde::Serialize;
use serde_json::{Map, Value};

use super::content::Content;
use crate::routes::prompts::Found;

/// A version of a prompt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prompt {
    pub(crate) name: String,
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) content: Content,
    pub(crate) config: Map<String, Value>,
    pub(crate) labels: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) commit_message: Option<String>,
    /// Prompts do not refer to each other here.
    pub(crate) resolution_graph: Option<Value>,
}

impl Prompt {
    pub(super) fn of(found: Found) -> Self {
        let Found { card, version } = found;
        Self {
            labels: labels_of(&card.labels, version.version, card.version),
            name: card.title,
            version: version.version,
            content: Content::of(version.prompt),
            config: config(card.metadata, version.model),
            tags: card.tags,
            commit_message: Some(version.message).filter(|message| !message.is_empty()),
            resolution_graph: None,
        }
    }
}

/// The team's own fields, and the model of the version with its parameters, as Langfuse's users write them.
fn config(metadata: Map<String, Value>, model: Option<ModelSpec>) -> Map<String, Value> {
    let mut config = metadata;
    let Some(model) = model else { return config };
    let params = serde_json::to_value(&model.params).ok();
    config.extend(params.and_then(|params| params.as_object().cloned()).unwrap_or_default());
    config.insert("model".to_owned(), Value::String(model.id));
    config
}

/// A prompt in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PromptMeta {
    pub(crate) name: String,
    pub(crate) r#type: &'static str,
    pub(crate) versions: Vec<u32>,
    pub(crate) labels: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) last_updated_at: Timestamp,
    pub(crate) last_config: Map<String, Value>,
}

impl PromptMeta {
    /// All versions of the prompt, or the one that the label means which was asked for.
    pub(super) fn of(prompt: PromptRow, is_of_label: bool) -> Self {
        let (versions, labels) = if is_of_label {
            (vec![prompt.chosen], labels_of(&prompt.labels, prompt.chosen, prompt.version))
        } else {
            // Versions have no gaps.
            let labels: BTreeSet<String> = prompt.labels.into_keys().chain([LATEST.to_owned()]).collect();
            ((1..=prompt.version).collect(), labels.into_iter().collect())
        };
        Self {
            name: prompt.title,
            r#type: Content::of(prompt.prompt).kind(),
            versions,
            labels,
            tags: prompt.tags,
            last_updated_at: prompt.updated_at,
            last_config: prompt.metadata,
        }
    }
}

/// The labels of a version, sorted; the newest has [`LATEST`] without being given it.
fn labels_of(labels: &BTreeMap<String, u32>, version: u32, newest: u32) -> Vec<String> {
    let given = labels.iter().filter(|(_, of)| **of == version).map(|(label, _)| label.clone());
    let latest = (version == newest).then(|| LATEST.to_owned());
    let all: BTreeSet<String> = given.chain(latest).collect();
    all.into_iter().collect()
}

/// A page of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) data: Vec<PromptMeta>,
    pub(crate) meta: Meta,
}

/// Which page it is, and how many there are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) page: i64,
    pub(crate) limit: i64,
    pub(crate) total_items: i64,
    pub(crate) total_pages: i64,
}

impl Meta {
    pub(super) fn of(page: i64, limit: i64, total_items: i64) -> Self {
        let limit = limit.max(1);
        let total_pages = total_items / limit + i64::from(total_items % limit > 0);
        Self { page, limit, total_items, total_pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_full_is_a_page() {
        let pages = |total| Meta::of(1, 50, total).total_pages;
        assert_eq!([pages(0), pages(1), pages(50), pages(51), pages(100)], [0, 1, 1, 2, 2]);
    }

    #[test]
    fn the_newest_version_is_the_latest_one_beside_its_own_labels() {
        let labels = BTreeMap::from([("alpha".to_owned(), 2), ("production".to_owned(), 2), ("old".to_owned(), 1)]);
        assert_eq!(labels_of(&labels, 2, 2), ["alpha", "latest", "production"]);
        assert_eq!(labels_of(&labels, 1, 2), ["old"]);
    }
}
