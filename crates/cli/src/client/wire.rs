//! The JSON of lists and cards as the client reads and writes it; what it does not use, it does not require.

use std::collections::BTreeMap;

use pcs_domain::assertion::Assertion;
use pcs_domain::prompt_card::CaseDraft;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One page of a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A card.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Card {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Free text.
    pub description: String,
    /// The template of its newest version.
    pub prompt: String,
    /// Empty for none.
    pub category: String,
    /// Sorted.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: String,
    /// When it was changed.
    pub updated_at: String,
    /// Its newest version.
    pub version: u32,
    /// Whether everybody may see it.
    pub is_public: bool,
    /// Whether it is out of use.
    pub archived: bool,
    /// Labels and the versions they point to.
    pub labels: BTreeMap<String, u32>,
    /// The labels that not everybody may move; a version need not have them.
    pub protected_labels: Vec<String>,
    /// How many cases it has.
    pub case_count: u64,
    /// The version of its stream, for `If-Match`.
    pub revision: i64,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A new card.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewCard {
    /// Its title.
    pub title: String,
    /// Its template.
    pub prompt: String,
    /// The model that it is written for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Value>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The team's own fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Whether everybody may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_public: Option<bool>,
}

/// What changes of a card; an absent field stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CardChange {
    /// A new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A new template: a new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Another model that it is written for; null for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Value>,
    /// A new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A new category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// New tags, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// New metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Why the prompt changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl CardChange {
    /// Whether nothing changes; a message alone changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { message: self.message.clone(), ..Self::default() }
    }
}

/// A version of a card's prompt.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CardVersion {
    /// Its number.
    pub version: u32,
    /// The template.
    pub prompt: String,
    /// Why it came about.
    pub message: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub created_at: String,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A version of a prompt, as applications fetch it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Prompt {
    /// The title of its card.
    pub name: String,
    /// Its number.
    pub version: u32,
    /// The template.
    pub prompt: String,
    /// The labels that point to it.
    pub labels: Vec<String>,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What a version and the card's cases say about each other.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CardLint {
    /// The version.
    pub version: u32,
    /// The variables that it refers to.
    pub variables: Vec<String>,
    /// How many cases the card has.
    pub cases: u64,
    /// How many of them were looked at.
    pub cases_checked: u64,
    /// Whether a run would be refused, or an execution would fail.
    pub has_errors: bool,
    /// What was found, errors first.
    pub remarks: Vec<LintRemark>,
}

/// Something that the author of a prompt should know.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LintRemark {
    /// `error` or `warning`.
    pub severity: String,
    /// What it says.
    pub message: String,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What uses a card.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CardUsage {
    /// The versions that were run, the newest first.
    pub versions: Vec<VersionUsage>,
    /// The schedules whose last run was of the card.
    pub schedules: Vec<ScheduleUsage>,
}

/// The runs of a version.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct VersionUsage {
    /// The version.
    pub version: u32,
    /// How many runs it was, or is, part of.
    pub runs: u64,
    /// How many of them go on.
    pub running: u64,
    /// The newest of them.
    pub last_run_id: String,
    /// When that was asked for.
    pub last_requested_at: String,
}

/// A schedule whose last run was of the card.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ScheduleUsage {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is held back.
    pub paused: bool,
    /// That run.
    pub last_run_id: String,
    /// The versions of that run.
    pub versions: Vec<u32>,
}

/// What lies between two versions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CardDiff {
    /// The older version.
    pub from: u32,
    /// The newer version.
    pub to: u32,
    /// The difference in unified form.
    pub unified: String,
    /// The difference by lines.
    #[serde(default)]
    pub lines: Vec<Value>,
}

/// A case of a card.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The values of the template's variables.
    pub input: Map<String, Value>,
    /// The right answer, where there is one.
    pub expected_output: Option<String>,
    /// What is demanded of the output.
    pub assertions: Vec<Assertion>,
    /// The score from which it passes.
    pub threshold: Option<f64>,
    /// When it was added.
    pub created_at: String,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Cases to be added.
#[derive(Debug, Serialize)]
pub struct NewCases<'a> {
    /// The cases.
    pub cases: Vec<NewCase<'a>>,
    /// What to do with those that the card has with other assertions: `change`, or `refuse`.
    pub on_duplicate: &'static str,
}

/// A case to be added.
#[derive(Debug, Serialize)]
pub struct NewCase<'a> {
    /// Its name; the card numbers it without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// Whose data it is made of, as people call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// The values of the template's variables.
    pub input: &'a Map<String, Value>,
    /// The right answer, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_output: Option<&'a str>,
    /// What is demanded of the output.
    #[serde(skip_serializing_if = "<[Assertion]>::is_empty")]
    pub assertions: &'a [Assertion],
    /// The score from which it passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What people choose it by.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub tags: &'a [String],
    /// The team's own fields.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: &'a Map<String, Value>,
}

impl<'a> From<&'a CaseDraft> for NewCase<'a> {
    fn from(draft: &'a CaseDraft) -> Self {
        Self {
            name: &draft.name,
            subject: None,
            input: &draft.input,
            expected_output: draft.expected_output.as_deref(),
            assertions: &draft.assertions,
            threshold: draft.threshold,
            tags: &draft.tags,
            metadata: &draft.metadata,
        }
    }
}

/// What adding cases did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AddedCases {
    /// How many are new.
    pub added: u64,
    /// How many have other assertions now.
    pub changed: u64,
    /// How many were there already.
    pub unchanged: u64,
    /// The ids, in the order of the request.
    pub case_ids: Vec<String>,
    /// How many cases the card has now.
    pub case_count: u64,
}
