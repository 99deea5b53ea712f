//! Calls of tools: whether they are of the tools that the model was given, and whether they are those that were expected.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::validator;
use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::cut;

/// The share from which `tool-call-f1` passes, where the assertion says nothing.
const F1_THRESHOLD: f64 = 1.0;
const NEEDS_NAMES: &str = "the names of the tools that have to be called, as a list or between commas";

/// A demand on calls of tools.
#[derive(Debug)]
pub(super) enum Tools {
    /// Each call is of a tool that the model was given, with arguments of its schema; a list where `is_list`.
    Valid { is_list: bool },
    /// These are called, in any order.
    Called { names: BTreeSet<String>, threshold: f64 },
}

/// A call as the output has it.
struct Call {
    name: String,
    arguments: Value,
}

/// The forms in which a call stands in an output: in a list of `tool_calls`, or alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Tool { function: Function },
    Function(Function),
    Within { tool_calls: Vec<Written> },
    Legacy { function_call: Function },
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: Value,
}

impl Tools {
    pub(super) fn valid(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        source.no_value("the tools are those that the model was given (`params.tools`)")?;
        Ok(Self::Valid { is_list: base == "is-valid-openai-tools-call" })
    }

    pub(super) fn called(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let names: Option<BTreeSet<String>> = match source.value() {
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(Value::String(text)) => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
            _ => None,
        };
        let names = names.filter(|names| !names.is_empty() && names.iter().all(|name| !name.is_empty()));
        let names = names.ok_or_else(|| source.wrong_value(NEEDS_NAMES))?;
        let threshold = source.assertion.threshold.map_or(Ok(F1_THRESHOLD), |_| source.threshold())?;
        Ok(Self::Called { names, threshold })
    }

    /// The finding, and how well it holds.
    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Result<(Finding, f64), String> {
        match self {
            Self::Valid { is_list } => {
                let finding = valid(subject, *is_list)?;
                let score = f64::from(u8::from(finding.holds));
                Ok((finding, score))
            }
            Self::Called { names, threshold } => Ok(called(subject, names, *threshold)),
        }
    }
}

fn valid(subject: &Subject<'_>, is_list: bool) -> Evaluation {
    if subject.tools.is_empty() {
        return Err("the model was given no tools: name them in its `params.tools`".to_owned());
    }
    let missed = |fact: String| Ok(Finding { holds: false, fact });
    let calls = match calls(subject.output, is_list) {
        Ok(calls) if calls.is_empty() => return missed("no tool is called".to_owned()),
        Ok(calls) => calls,
        Err(why) => return missed(why),
    };
    for Call { name, arguments } in &calls {
        let tool =
            subject.tools.iter().find(|tool| function_of(tool).get("name").and_then(Value::as_str) == Some(name));
        let Some(tool) = tool else { return missed(format!("the model was given no tool {:?}", cut(name))) };
        let Some(schema) = function_of(tool).get("parameters") else { continue };
        let schema =
            validator(schema).map_err(|why| format!("the schema of the tool {name:?} can't be used: {why}"))?;
        if let Err(error) = schema.validate(arguments) {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { String::new() } else { format!(" at {}", cut(&place)) };
            return missed(format!(
                "the arguments of {name:?} are not of its schema{place}: {}",
                cut(&error.to_string())
            ));
        }
    }
    Ok(Finding { holds: true, fact: format!("{} calls, all of tools that the model was given", calls.len()) })
}

/// What a tool says of its function: OpenAI's form has it inside, others are it.
fn function_of(tool: &Map<String, Value>) -> &Map<String, Value> {
    tool.get("function").and_then(Value::as_object).unwrap_or(tool)
}

fn called(subject: &Subject<'_>, names: &BTreeSet<String>, threshold: f64) -> (Finding, f64) {
    let calls = calls(subject.output, false).unwrap_or_default();
    let seen: BTreeSet<String> = calls.into_iter().map(|call| call.name).collect();
    let both = seen.intersection(names).count();
    #[expect(clippy::cast_precision_loss, reason = "there are few tools")]
    let score = 2.0 * both as f64 / (seen.len() + names.len()) as f64;
    let listed = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let fact = format!("called: {}; expected: {} (F1 {score:.2})", cut(&listed(&seen)), cut(&listed(names)));
    (Finding { holds: score >= threshold, fact }, score)
}

fn calls(output: &str, is_list: bool) -> Result<Vec<Call>, String> {
    let value: Value =
        serde_json::from_str(output.trim()).map_err(|error| format!("the output is no call: {error}"))?;
    if is_list && !value.is_array() {
        return Err("the output is no list of calls".to_owned());
    }
    let written: Vec<Written> = match value {
        Value::Array(_) => serde_json::from_value(value),
        value => serde_json::from_value(value).map(|one| vec![one]),
    }
    .map_err(|_| "the output is JSON, and no call of a tool: there is no name with arguments".to_owned())?;
    let mut calls = Vec::new();
    written.into_iter().try_for_each(|one| add(one, &mut calls))?;
    Ok(calls)
}

fn add(written: Written, calls: &mut Vec<Call>) -> Result<(), String> {
    let Function { name, arguments } = match written {
        Written::Within { tool_calls } => return tool_calls.into_iter().try_for_each(|one| add(one, calls)),
        Written::Tool { function } | Written::Function(function) | Written::Legacy { function_call: function } => {
            function
        }
    };
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(&text)
            .map_err(|error| format!("the arguments of {:?} are no JSON: {error}", cut(&name)))?,
        value => value,
    };
    calls.push(Call { name, arguments });
    Ok(())
}
