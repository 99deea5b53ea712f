//! Prompt cards: a prompt template with its versions, labels and test cases.

mod case_schema;
mod decide;
mod details;
mod test_case;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::case_schema::CaseSchema;
pub use self::decide::{Create, OnDuplicate, PromptCardCommand, PromptCardRejection, Revise};
pub use self::test_case::{CaseDraft, DraftSubject, TestCase};
use crate::aggregate::Aggregate;
use crate::data_subject::Guarded;
use crate::event::events;
use crate::ids::{ActorId, TestCaseId};
use crate::model::ModelSpec;
use crate::snapshot::SnapshotFormat;
use crate::timestamp::Timestamp;
use crate::upcast::unchanged;

/// The label that every card has without being given it: its newest version.
pub const LATEST: &str = "latest";

events! {
    /// What happened to a card.
    pub enum PromptCardEvent in PromptCard {
        /// The card exists, with version 1 of its prompt.
        Created(Created) = "prompt_card.created" version 2
            formerly "prompt_card.created" version 1 with unchanged,
        /// A new version of the prompt; versions never change.
        Revised(Revised) = "prompt_card.revised" version 2
            formerly "prompt_card.revised" version 1 with unchanged,
        /// Title, description, category or metadata changed; the prompt did not.
        Described(Described) = "prompt_card.described" version 1,
        /// The card has exactly these tags.
        Tagged(Tagged) = "prompt_card.tagged" version 1,
        /// A label points to a version.
        Labelled(Labelled) = "prompt_card.labelled" version 1,
        /// A label is gone.
        Unlabelled(Unlabelled) = "prompt_card.unlabelled" version 1,
        /// Only those may move the label, or take it away, who may protect labels; a version need not have it yet.
        LabelProtected(LabelProtected) = "prompt_card.label_protected" version 1,
        /// Everybody who writes the card may move the label again.
        LabelUnprotected(LabelUnprotected) = "prompt_card.label_unprotected" version 1,
        /// Cases have to fit other schemas; those that the card has stay.
        SchemaChanged(SchemaChanged) = "prompt_card.schema_changed" version 1,
        /// Everybody may see the card.
        Published(Published) = "prompt_card.published" version 1,
        /// Only the team may see the card.
        Unpublished(Unpublished) = "prompt_card.unpublished" version 1,
        /// The card is out of use; it stays readable.
        Archived(Archived) = "prompt_card.archived" version 1,
        /// The card is in use again.
        Restored(Restored) = "prompt_card.restored" version 1,
        /// Test cases were added, in this order.
        CasesAdded(CasesAdded) = "prompt_card.cases_added" version 3
            formerly "prompt_card.cases_added" version 1 with unchanged
            formerly "prompt_card.cases_added" version 2 with unchanged,
        /// A test case has a new name, assertions, threshold, tags or metadata; its input and expectation are its identity.
        CaseChanged(CaseChanged) = "prompt_card.case_changed" version 3
            formerly "prompt_card.case_changed" version 1 with unchanged
            formerly "prompt_card.case_changed" version 2 with unchanged,
        /// Test cases were removed; their past results stay.
        CasesRemoved(CasesRemoved) = "prompt_card.cases_removed" version 1,
    }
}

/// Payload of `prompt_card.created` version 2.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Created {
    /// 1 to 255 characters.
    pub title: String,
    /// Free text.
    pub description: String,
    /// The template of version 1.
    pub prompt: String,
    /// The model that version 1 is written for, with its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// At most 100 characters; empty for none.
    pub category: String,
    /// Sorted, without duplicates.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Whether everybody may see the card.
    pub is_public: bool,
    /// Who made it.
    pub created_by: ActorId,
}

/// Payload of `prompt_card.revised` version 2.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Revised {
    /// The number of the new version: one more than the last.
    pub version: u32,
    /// The template.
    pub prompt: String,
    /// The model that it is written for, with its parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// Why it changed, in the author's words.
    pub message: String,
    /// Who changed it.
    pub author: ActorId,
}

/// Payload of `prompt_card.described` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Described {
    /// 1 to 255 characters.
    pub title: String,
    /// Free text.
    pub description: String,
    /// At most 100 characters; empty for none.
    pub category: String,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
}

/// Payload of `prompt_card.tagged` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Tagged {
    /// All tags of the card, sorted, without duplicates.
    pub tags: Vec<String>,
}

/// Payload of `prompt_card.labelled` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Labelled {
    /// The label, such as `production`.
    pub label: String,
    /// The version it points to.
    pub version: u32,
}

/// Payload of `prompt_card.unlabelled` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Unlabelled {
    /// The label that is gone.
    pub label: String,
}

/// Payload of `prompt_card.schema_changed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct SchemaChanged {
    /// What cases have to look like from now on.
    pub schema: CaseSchema,
}

/// Payload of `prompt_card.label_protected` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LabelProtected {
    /// The label, such as `production`.
    pub label: String,
}

/// Payload of `prompt_card.label_unprotected` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LabelUnprotected {
    /// The label that is no longer protected.
    pub label: String,
}

/// Payload of `prompt_card.published` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Published {}

/// Payload of `prompt_card.unpublished` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Unpublished {}

/// Payload of `prompt_card.archived` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Archived {
    /// Why, in the archiver's words; empty for none.
    pub reason: String,
}

/// Payload of `prompt_card.restored` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Restored {}

/// Payload of `prompt_card.cases_added` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CasesAdded {
    /// The new cases, in the order they run.
    pub cases: Vec<TestCase>,
}

/// Payload of `prompt_card.case_changed` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CaseChanged {
    /// The whole case as it is now.
    pub case: TestCase,
}

/// Payload of `prompt_card.cases_removed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CasesRemoved {
    /// The cases that are gone.
    pub case_ids: Vec<TestCaseId>,
}

/// Raised with each change of `evolve`, or of what old events are raised to, that gives a history another state; a test
/// notices.
const SNAPSHOT_FOLD: u32 = 2;

/// A card as its history left it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub enum PromptCard {
    /// There is none.
    #[default]
    Absent,
    /// In use.
    Active(Card),
    /// Out of use, and refusing changes until it is restored.
    Archived(Card),
}

/// What a card is made of.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Card {
    /// 1 to 255 characters.
    pub title: String,
    /// Free text.
    pub description: String,
    /// At most 100 characters; empty for none.
    pub category: String,
    /// Sorted, without duplicates.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Whether everybody may see the card.
    pub is_public: bool,
    /// The templates by version, from 1 without gaps.
    pub prompts: BTreeMap<u32, String>,
    /// The models that versions are written for, by version; some have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<u32, ModelSpec>,
    /// The labels and the versions they point to.
    pub labels: BTreeMap<String, u32>,
    /// The labels that not everybody may move; a version need not have them.
    pub protected_labels: BTreeSet<String>,
    /// What cases have to look like.
    #[serde(default, skip_serializing_if = "CaseSchema::is_empty")]
    pub schema: CaseSchema,
    /// The cases by id.
    pub cases: BTreeMap<TestCaseId, TestCase>,
    /// The ids of the cases in the order they were added.
    pub case_order: Vec<TestCaseId>,
}

impl Card {
    /// The newest version; 0 can't be, for a card is created with version 1.
    #[must_use]
    pub fn latest_version(&self) -> u32 {
        self.prompts.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// The cases in the order they were added.
    pub fn cases_in_order(&self) -> impl Iterator<Item = &TestCase> {
        self.case_order.iter().filter_map(|id| self.cases.get(id))
    }

    fn created(event: Created) -> Self {
        Self {
            title: event.title,
            description: event.description,
            category: event.category,
            tags: event.tags,
            metadata: event.metadata,
            is_public: event.is_public,
            prompts: BTreeMap::from([(1, event.prompt)]),
            models: event.model.into_iter().map(|model| (1, model)).collect(),
            labels: BTreeMap::new(),
            protected_labels: BTreeSet::new(),
            schema: CaseSchema::default(),
            cases: BTreeMap::new(),
            case_order: Vec::new(),
        }
    }

    fn add_case(&mut self, case: TestCase) {
        if !self.cases.contains_key(&case.id) {
            self.case_order.push(case.id);
        }
        self.cases.insert(case.id, case);
    }

    fn remove_cases(&mut self, case_ids: &[TestCaseId]) {
        for id in case_ids {
            self.cases.remove(id);
        }
        let cases = &self.cases;
        self.case_order.retain(|id| cases.contains_key(id));
    }

    fn evolve(&mut self, event: PromptCardEvent) {
        match event {
            PromptCardEvent::Revised(e) => {
                self.prompts.insert(e.version, e.prompt);
                self.models.extend(e.model.map(|model| (e.version, model)));
            }
            PromptCardEvent::Described(e) => {
                self.title = e.title;
                self.description = e.description;
                self.category = e.category;
                self.metadata = e.metadata;
            }
            PromptCardEvent::Tagged(e) => self.tags = e.tags,
            PromptCardEvent::Labelled(e) => {
                self.labels.insert(e.label, e.version);
            }
            PromptCardEvent::Unlabelled(e) => {
                self.labels.remove(&e.label);
            }
            PromptCardEvent::LabelProtected(e) => {
                self.protected_labels.insert(e.label);
            }
            PromptCardEvent::LabelUnprotected(e) => {
                self.protected_labels.remove(&e.label);
            }
            PromptCardEvent::SchemaChanged(e) => self.schema = e.schema,
            PromptCardEvent::Published(_) => self.is_public = true,
            PromptCardEvent::Unpublished(_) => self.is_public = false,
            PromptCardEvent::CasesAdded(e) => e.cases.into_iter().for_each(|case| self.add_case(case)),
            PromptCardEvent::CaseChanged(e) => self.add_case(e.case),
            PromptCardEvent::CasesRemoved(e) => self.remove_cases(&e.case_ids),
            // These move the card between phases, which `PromptCard::evolve` does.
            PromptCardEvent::Created(_) | PromptCardEvent::Archived(_) | PromptCardEvent::Restored(_) => (),
        }
    }
}

impl PromptCard {
    /// The card's content, in use or archived.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        match self {
            Self::Absent => None,
            Self::Active(card) | Self::Archived(card) => Some(card),
        }
    }
}

impl Aggregate for PromptCard {
    type Command = PromptCardCommand;
    type Event = PromptCardEvent;
    type Rejection = PromptCardRejection;

    /// A card with many cases is the one long stream there is.
    const SNAPSHOT: Option<SnapshotFormat<Self>> = Some(SnapshotFormat::json("prompt_card", SNAPSHOT_FOLD));

    fn decide(&self, command: PromptCardCommand, _: Timestamp) -> Result<Vec<PromptCardEvent>, PromptCardRejection> {
        decide::decide(self, command)
    }

    fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        match self {
            Self::Absent => Vec::new(),
            Self::Active(card) | Self::Archived(card) => {
                card.cases.values_mut().map(|case| case as &mut dyn Guarded).collect()
            }
        }
    }

    fn evolve(&mut self, event: PromptCardEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, PromptCardEvent::Created(e)) => Self::Active(Card::created(e)),
            (Self::Active(card), PromptCardEvent::Archived(_)) => Self::Archived(card),
            (Self::Archived(card), PromptCardEvent::Restored(_)) => Self::Active(card),
            (Self::Active(mut card), event) => {
                card.evolve(event);
                Self::Active(card)
            }
            (Self::Archived(mut card), event) => {
                card.evolve(event);
                Self::Archived(card)
            }
            (Self::Absent, _) => Self::Absent,
        }
    }
}
