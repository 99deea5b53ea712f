//! A run before it is asked for: versions may be labels, cases may be all, and the card decides what that is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lane, Requested, Terms};
use crate::assertion::Assertion;
use crate::ids::{ActorId, PromptCardId, TestCaseId};
use crate::model::ModelSpec;
use crate::prompt_card::{Card, LATEST, PromptCardRejection};

/// A run that may be asked for again and again, as the card is at the time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RunTemplate {
    /// The card.
    pub card_id: PromptCardId,
    /// How people call the runs.
    #[serde(default)]
    pub name: String,
    /// The prompt versions; the newest where neither these nor labels are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<u32>,
    /// Labels of further versions; `latest` is the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    // Where there are none, it is the one that the versions are written for; the words are a released schema.
    /// The models.
    pub models: Vec<ModelSpec>,
    /// The cases; all of the card's where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_ids: Option<Vec<TestCaseId>>,
    /// How often each cell runs.
    #[serde(default = "once")]
    pub repeats: u16,
    /// Demands on every output, beside the case's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The model that judges where an assertion names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<ModelSpec>,
    /// How important the runs are beside others.
    #[serde(default)]
    pub lane: Lane,
    /// When and how long they may work, and what each may cost.
    #[serde(default)]
    pub terms: Terms,
}

fn once() -> u16 {
    1
}

impl RunTemplate {
    /// The run that is asked for now, of the card as it is.
    ///
    /// # Errors
    /// Where the card lacks a version, a label or a case.
    pub fn resolve(
        &self,
        card: &Card,
        card_revision: i64,
        requested_by: ActorId,
    ) -> Result<Requested, PromptCardRejection> {
        let cases = match &self.case_ids {
            None => card.cases.len(),
            Some(ids) => {
                if let Some(case_id) = ids.iter().find(|id| !card.cases.contains_key(id)) {
                    return Err(PromptCardRejection::NoSuchCase { case_id: *case_id });
                }
                ids.len()
            }
        };
        let versions = versions(card, self.versions.clone(), &self.labels)?;
        Ok(Requested {
            name: self.name.clone(),
            card_id: self.card_id,
            card_revision,
            models: if self.models.is_empty() { own_model(card, &versions)? } else { self.models.clone() },
            versions,
            case_ids: self.case_ids.clone(),
            cases: u32::try_from(cases).unwrap_or(u32::MAX),
            repeats: self.repeats,
            assertions: self.assertions.clone(),
            threshold: self.threshold,
            grader: self.grader.clone(),
            // Whoever knows other cards looks for them.
            partials: Vec::new(),
            skips: Vec::new(),
            // The decision counts them.
            executions: 0,
            lane: self.lane,
            requested_by,
            terms: self.terms,
            retry: None,
            schedule_id: None,
            source: None,
        })
    }
}

/// The one model that the versions are written for.
fn own_model(card: &Card, versions: &[u32]) -> Result<Vec<ModelSpec>, PromptCardRejection> {
    let mut own: Option<&ModelSpec> = None;
    for version in versions {
        let model = card.models.get(version).ok_or(PromptCardRejection::NoModel { version: *version })?;
        if own.is_some_and(|own| own != model) {
            return Err(PromptCardRejection::OtherModel { version: *version });
        }
        own = Some(model);
    }
    Ok(own.cloned().into_iter().collect())
}

/// Named versions, then those of labels that are not named yet; the newest where none is named.
fn versions(card: &Card, named: Vec<u32>, labels: &[String]) -> Result<Vec<u32>, PromptCardRejection> {
    let latest = card.latest_version();
    if let Some(version) = named.iter().find(|version| !card.prompts.contains_key(version)) {
        return Err(PromptCardRejection::NoSuchVersion { version: *version, latest });
    }
    let mut versions = named;
    for label in labels {
        let version = if label == LATEST { Some(latest) } else { card.labels.get(label).copied() };
        let version = version.ok_or_else(|| PromptCardRejection::NoSuchLabel { label: label.clone() })?;
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    if versions.is_empty() {
        versions.push(latest);
    }
    Ok(versions)
}
