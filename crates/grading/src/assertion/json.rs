//! `is-json` and `contains-json`: JSON in the output, and whether it is of a schema.

use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::cut;

/// Largest compiled `pattern` of a schema, in bytes.
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;
const NEEDS: &str = "a JSON Schema, or none";

#[derive(Debug)]
pub(super) struct JsonDemand {
    scope: Scope,
    schema: Option<Box<jsonschema::Validator>>,
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    Whole,
    Within,
}

impl JsonDemand {
    pub(super) fn whole(source: &Source<'_>) -> Result<Self, AssertionError> {
        Self::compile(source, Scope::Whole)
    }

    pub(super) fn within(source: &Source<'_>) -> Result<Self, AssertionError> {
        Self::compile(source, Scope::Within)
    }

    fn compile(source: &Source<'_>, scope: Scope) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let schema = match source.value() {
            None => None,
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => Some(validator_of(source, schema)?),
            Some(Value::String(text)) => {
                let schema = serde_json::from_str(text).map_err(|error| unusable(source, &error.to_string()))?;
                Some(validator_of(source, &schema)?)
            }
            Some(_) => return Err(source.wrong_value(NEEDS)),
        };
        Ok(Self { scope, schema: schema.map(Box::new) })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        Ok(match self.scope {
            Scope::Whole => match serde_json::from_str(subject.output) {
                Ok(value) => self.judged(&value),
                Err(error) => Finding { holds: false, fact: format!("the output is not JSON: {error}") },
            },
            Scope::Within => self.search(subject.output),
        })
    }

    fn judged(&self, value: &Value) -> Finding {
        match self.schema.as_ref().map(|schema| schema.validate(value)) {
            None => Finding { holds: true, fact: "the output is JSON".to_owned() },
            Some(Ok(())) => Finding { holds: true, fact: "the output has JSON of the schema".to_owned() },
            Some(Err(error)) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { String::new() } else { format!(" at {}", cut(&place)) };
                Finding {
                    holds: false,
                    fact: format!("the JSON is not of the schema{place}: {}", cut(&error.to_string())),
                }
            }
        }
    }

    /// Looks at each JSON object in the text, from the left.
    fn search(&self, output: &str) -> Finding {
        let mut found = None;
        let mut rest = output;
        while let Some(start) = rest.find('{') {
            rest = &rest[start..];
            let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            // What does not parse is left at its first brace only: objects may follow within it.
            let end = match objects.next() {
                Some(Ok(value)) => {
                    let finding = self.judged(&value);
                    if finding.holds {
                        return Finding { holds: true, fact: self.fact_of_found().to_owned() };
                    }
                    found = Some(finding);
                    objects.byte_offset()
                }
                Some(Err(_)) | None => 1,
            };
            rest = &rest[end..];
        }
        found.unwrap_or_else(|| Finding { holds: false, fact: "there is no JSON object in the output".to_owned() })
    }

    fn fact_of_found(&self) -> &'static str {
        if self.schema.is_some() { "the output has JSON of the schema" } else { "there is a JSON object in the output" }
    }
}

fn validator_of(source: &Source<'_>, schema: &Value) -> Result<jsonschema::Validator, AssertionError> {
    validator(schema).map_err(|why| AssertionError::Schema { kind: source.assertion.kind.clone(), why })
}

/// A user's JSON Schema, compiled; or what is wrong with it.
pub(crate) fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    // The linear engine: lookaround in a schema's `pattern` is refused, for nothing bounds its time there.
    let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
    // Offline: a schema of a user must not make a worker fetch addresses.
    let options = jsonschema::options().offline().with_pattern_options(patterns);
    options.build(schema).map_err(|error| cut(&error.to_string()))
}

fn unusable(source: &Source<'_>, why: &str) -> AssertionError {
    AssertionError::Schema { kind: source.assertion.kind.clone(), why: cut(why) }
}
