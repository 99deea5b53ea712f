//! Test cases: the variables of one call and what is demanded of its output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::PromptCardEvent;
use crate::assertion::Assertion;
use crate::canonical::canonical_json;
use crate::data_subject::{Guarded, Subject, put_back};
use crate::ids::{PromptCardId, SubjectId, TestCaseId};

/// A test case of a card.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TestCase {
    /// Derived from the card, the input and the expected output; see [`TestCaseId::derive`].
    pub id: TestCaseId,
    /// How people call it.
    pub name: String,
    /// Whose data the case is made of, where it is a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The values of the template's variables.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub input: Map<String, Value>,
    /// The right answer, where there is one; assertions may refer to it as `{{expected_output}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-subject" = "subject"))]
    pub expected_output: Option<String>,
    /// What is demanded of the output; it may quote the subject's data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-subject" = "subject"))]
    pub assertions: Vec<Assertion>,
    /// The score from which the case passes; without it every assertion has to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What people choose cases by, such as a split; sorted, without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The team's own fields; they reach neither the model nor the grading.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(extend("x-subject" = "subject"))]
    pub metadata: Map<String, Value>,
}

/// A test case before it has its identity.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseDraft {
    /// How people call it; the card numbers it where it is empty.
    #[serde(default)]
    pub name: String,
    /// Whose data it is made of, and the identity that only the holder of their key can derive.
    #[serde(default)]
    pub subject: Option<DraftSubject>,
    /// The values of the template's variables.
    pub input: Map<String, Value>,
    /// The right answer, where there is one.
    #[serde(default)]
    pub expected_output: Option<String>,
    /// What is demanded of the output.
    #[serde(default)]
    pub assertions: Vec<Assertion>,
    /// The score from which the case passes.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// What people choose cases by, such as a split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The team's own fields.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// The data subject of a draft.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DraftSubject {
    /// Who.
    pub id: SubjectId,
    /// The case's identity, made of [`TestCaseId::content`] with a key of the subject: a plain digest would let anybody
    /// who has the log find out the content by trying.
    pub case_id: TestCaseId,
}

impl CaseDraft {
    /// The identity that it has on a card.
    #[must_use]
    pub fn id(&self, card: PromptCardId) -> TestCaseId {
        let derived = || TestCaseId::derive(card, &self.input, self.expected_output.as_deref());
        self.subject.map_or_else(derived, |subject| subject.case_id)
    }

    pub(super) fn identified(self, card: PromptCardId, number: usize) -> TestCase {
        let id = self.id(card);
        let name = if self.name.is_empty() { format!("case {number}") } else { self.name };
        TestCase {
            id,
            name,
            subject: self.subject.map(|subject| Subject::open(subject.id)),
            input: self.input,
            expected_output: self.expected_output,
            assertions: self.assertions,
            threshold: self.threshold,
            tags: sorted(self.tags),
            metadata: self.metadata,
        }
    }
}

/// Tags as they are kept.
pub(super) fn sorted(mut tags: Vec<String>) -> Vec<String> {
    tags.sort();
    tags.dedup();
    tags
}

impl Guarded for TestCase {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        put_back(self, fields)
    }
}

impl PromptCardEvent {
    fn cases(&self) -> &[TestCase] {
        match self {
            Self::CasesAdded(e) => &e.cases,
            Self::CaseChanged(e) => std::slice::from_ref(&e.case),
            Self::Created(_)
            | Self::Revised(_)
            | Self::Described(_)
            | Self::Tagged(_)
            | Self::Labelled(_)
            | Self::Unlabelled(_)
            | Self::LabelProtected(_)
            | Self::LabelUnprotected(_)
            | Self::SchemaChanged(_)
            | Self::Published(_)
            | Self::Unpublished(_)
            | Self::Archived(_)
            | Self::Restored(_)
            | Self::CasesRemoved(_) => &[],
        }
    }

    pub(crate) fn subjects(&self) -> Vec<&Subject> {
        self.cases().iter().filter_map(|case| case.subject.as_ref()).collect()
    }

    pub(crate) fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        let cases = match self {
            Self::CasesAdded(e) => e.cases.as_mut_slice(),
            Self::CaseChanged(e) => std::slice::from_mut(&mut e.case),
            Self::Created(_)
            | Self::Revised(_)
            | Self::Described(_)
            | Self::Tagged(_)
            | Self::Labelled(_)
            | Self::Unlabelled(_)
            | Self::LabelProtected(_)
            | Self::LabelUnprotected(_)
            | Self::SchemaChanged(_)
            | Self::Published(_)
            | Self::Unpublished(_)
            | Self::Archived(_)
            | Self::Restored(_)
            | Self::CasesRemoved(_) => &mut [],
        };
        cases.iter_mut().map(|case| case as &mut dyn Guarded).collect()
    }
}

impl TestCaseId {
    /// The identity of a case: the question it asks (input) and the truth it knows (expected output).
    ///
    /// Name, assertions, threshold, tags and metadata are left out, so that a case stays itself, and its results comparable,
    /// when its grading gets better; its place in a file is left out, so that sorting a file changes nothing.
    #[must_use]
    pub fn derive(card: PromptCardId, input: &Map<String, Value>, expected_output: Option<&str>) -> Self {
        Self(Uuid::new_v5(&card.0, Self::content(input, expected_output).as_bytes()))
    }

    /// What the identity of a case is made of, beside its card.
    #[must_use]
    pub fn content(input: &Map<String, Value>, expected_output: Option<&str>) -> String {
        canonical_json(&json!({ "input": input, "expected_output": expected_output }))
    }
}
