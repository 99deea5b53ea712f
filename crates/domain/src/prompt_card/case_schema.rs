//! What the cases of a card have to look like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the cases of a card have to look like; anything fits what is absent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CaseSchema {
    /// A JSON Schema of the input, as one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Map<String, Value>>,
    /// A JSON Schema of the expected output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_output: Option<Map<String, Value>>,
}

impl CaseSchema {
    /// Whether anything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_none() && self.expected_output.is_none()
    }
}
