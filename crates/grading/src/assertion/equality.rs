//! `equals`: the whole output is a text, or is JSON that equals a list or an object.

use pcs_domain::canonical::canonical_json;
use serde_json::Value;

use super::source::{Source, resolved};
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::quoted;
use crate::template::Template;

const NEEDS: &str = "a text, a number, true, false, a list or an object";

#[derive(Debug)]
pub(super) enum Equality {
    Text(Template),
    Json(Value),
}

impl Equality {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        match source.value() {
            Some(value @ (Value::Array(_) | Value::Object(_))) => Ok(Self::Json(value.clone())),
            Some(value) => source.text(value, NEEDS).map(Self::Text),
            None => Err(source.wrong_value(NEEDS)),
        }
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        match self {
            Self::Text(template) => {
                let expected = resolved(template, subject.variables)?;
                let holds = subject.output == expected;
                let fact = if holds {
                    format!("the output is {}", quoted(&expected))
                } else {
                    format!("the output is {}, not {}", quoted(subject.output), quoted(&expected))
                };
                Ok(Finding { holds, fact })
            }
            Self::Json(expected) => Ok(match serde_json::from_str::<Value>(subject.output) {
                Ok(found) if same_json(&found, expected) => {
                    Finding { holds: true, fact: "the output is equal to the value as JSON".to_owned() }
                }
                Ok(_) => {
                    let expected = quoted(&canonical_json(expected));
                    Finding { holds: false, fact: format!("the output is {}, not {expected}", quoted(subject.output)) }
                }
                Err(error) => Finding { holds: false, fact: format!("the output is not JSON: {error}") },
            }),
        }
    }
}

/// Equality as in JavaScript, where 1 and 1.0 are the same number.
fn same_json(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => one == other,
    }
}
