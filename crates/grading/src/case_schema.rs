//! What the cases of a card have to look like: JSON Schemas of their inputs and of their expected outputs.

use pcs_domain::prompt_card::CaseSchema;
use serde_json::{Map, Value};

use crate::assertion::validator;
use crate::excerpt::cut;

/// Most problems of one case that are told.
const PROBLEMS_MAX: usize = 10;

/// The schemas, compiled.
#[derive(Debug)]
pub struct CaseCheck {
    input: Option<jsonschema::Validator>,
    expected_output: Option<jsonschema::Validator>,
}

/// A schema that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the schema of {part} can't be used: {why}")]
pub struct CaseSchemaError {
    /// `input` or `expected_output`.
    pub part: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl CaseCheck {
    /// Compiles the schemas.
    ///
    /// # Errors
    /// [`CaseSchemaError`] where one is no JSON Schema, or refers to other addresses.
    pub fn compile(schema: &CaseSchema) -> Result<Self, CaseSchemaError> {
        let compiled = |part, schema: &Option<Map<String, Value>>| {
            let schema = schema.as_ref().map(|schema| Value::Object(schema.clone()));
            let built = schema.map(|schema| validator(&schema)).transpose();
            built.map_err(|why| CaseSchemaError { part, why })
        };
        Ok(Self {
            input: compiled("input", &schema.input)?,
            expected_output: compiled("expected_output", &schema.expected_output)?,
        })
    }

    /// What is wrong with a case: each with its place, and what the schema says. An expected output that is JSON is looked
    /// at as such, and else as a text; one that is not there fits.
    #[must_use]
    pub fn problems(&self, input: &Map<String, Value>, expected_output: Option<&str>) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(schema) = &self.input {
            problems.extend(of("input", schema, &Value::Object(input.clone())));
        }
        if let (Some(schema), Some(text)) = (&self.expected_output, expected_output) {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            problems.extend(of("expected_output", schema, &value));
        }
        problems.truncate(PROBLEMS_MAX);
        problems
    }
}

fn of(part: &str, schema: &jsonschema::Validator, value: &Value) -> Vec<String> {
    let told = schema.iter_errors(value).take(PROBLEMS_MAX).map(|error| {
        let place = error.instance_path().to_string().replace('/', ".");
        format!("{part}{place}: {}", cut(&error.to_string()))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Option<Map<String, Value>> {
        value.as_object().cloned()
    }

    fn schema() -> CaseSchema {
        CaseSchema {
            input: object(json!({ "type": "object", "required": ["age"], "additionalProperties": false,
                "properties": { "age": { "type": "integer", "minimum": 0 }, "mood": { "enum": ["good", "bad"] } } })),
            expected_output: object(json!({ "type": "object", "required": ["answer"] })),
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let check = CaseCheck::compile(&schema()).unwrap();
        let problems = |input: Value, expected: Option<&str>| check.problems(&object(input).unwrap(), expected);
        assert_eq!(problems(json!({ "age": 3, "mood": "good" }), Some(r#"{"answer": 1}"#)), [""; 0]);
        assert_eq!(problems(json!({ "age": 3 }), None), [""; 0]);
        let wrong = problems(json!({ "age": -1, "mood": "so so", "agee": 1 }), Some("18"));
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(wrong.iter().any(|one| one.starts_with("input.age: -1 is less than")), "{wrong:?}");
        assert!(wrong.iter().any(|one| one.starts_with("input.mood: ")), "{wrong:?}");
        assert!(wrong.iter().any(|one| one.starts_with("expected_output: 18 is not of type")), "{wrong:?}");
        assert!(problems(json!({}), None)[0].contains("\"age\" is a required property"));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let bad = CaseSchema { input: object(json!({ "type": "intger" })), expected_output: None };
        assert_eq!(CaseCheck::compile(&bad).unwrap_err().part, "input");
        let elsewhere = CaseSchema { input: None, expected_output: object(json!({ "$ref": "http://127.0.0.1:9/x" })) };
        assert_eq!(CaseCheck::compile(&elsewhere).unwrap_err().part, "expected_output");
        let none = CaseCheck::compile(&CaseSchema::default()).unwrap();
        assert_eq!(none.problems(&Map::new(), Some("x")), [""; 0]);
    }
}
