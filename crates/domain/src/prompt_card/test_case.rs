//! Test cases: the variables of one call and what is demanded of its output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::assertion::Assertion;
use crate::canonical::canonical_json;
use crate::ids::{PromptCardId, TestCaseId};

/// A test case of a card.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TestCase {
    /// Derived from the card, the input and the expected output; see [`TestCaseId::derive`].
    pub id: TestCaseId,
    /// How people call it.
    pub name: String,
    /// The values of the template's variables.
    pub input: Map<String, Value>,
    /// The right answer, where there is one; assertions may refer to it as `{{expected_output}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_output: Option<String>,
    /// What is demanded of the output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// The score from which the case passes; without it every assertion has to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// A test case before it has its identity.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseDraft {
    /// How people call it; the card numbers it where it is empty.
    #[serde(default)]
    pub name: String,
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
}

impl CaseDraft {
    pub(super) fn identified(self, card: PromptCardId, number: usize) -> TestCase {
        let id = TestCaseId::derive(card, &self.input, self.expected_output.as_deref());
        let name = if self.name.is_empty() { format!("case {number}") } else { self.name };
        TestCase {
            id,
            name,
            input: self.input,
            expected_output: self.expected_output,
            assertions: self.assertions,
            threshold: self.threshold,
        }
    }
}

impl TestCaseId {
    /// The identity of a case: the question it asks (input) and the truth it knows (expected output).
    ///
    /// Name, assertions and threshold are left out, so that a case stays itself, and its results comparable,
    /// when its grading gets better; its place in a file is left out, so that sorting a file changes nothing.
    #[must_use]
    pub fn derive(card: PromptCardId, input: &Map<String, Value>, expected_output: Option<&str>) -> Self {
        let content = canonical_json(&json!({ "input": input, "expected_output": expected_output }));
        Self(Uuid::new_v5(&card.0, content.as_bytes()))
    }
}
