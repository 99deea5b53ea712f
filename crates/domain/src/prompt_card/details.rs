//! The rules for the words of a card: how long, how many, and which characters.

use serde::Serialize;
use serde_json::{Map, Value};

use super::LATEST;
use super::decide::PromptCardRejection as Rejection;
use super::test_case::CaseDraft;
use crate::assertion::Assertion;
use crate::limits;

/// Refuses text that is too long, or that PostgreSQL can't keep.
pub(super) fn text(field: &'static str, value: &str, chars_max: usize) -> Result<(), Rejection> {
    no_nul(field, value)?;
    let chars = value.chars().count();
    if chars > chars_max {
        return Err(Rejection::TooLong { field, len: chars, max: chars_max, unit: "characters" });
    }
    Ok(())
}

/// Like [`text`], measured in bytes: for long texts whose size matters more than their length.
pub(super) fn long_text(field: &'static str, value: &str, bytes_max: usize) -> Result<(), Rejection> {
    no_nul(field, value)?;
    if value.len() > bytes_max {
        return Err(Rejection::TooLong { field, len: value.len(), max: bytes_max, unit: "bytes" });
    }
    Ok(())
}

pub(super) fn title(value: &str) -> Result<(), Rejection> {
    if value.trim().is_empty() {
        return Err(Rejection::Empty { field: "title" });
    }
    text("title", value, limits::TITLE_CHARS_MAX)
}

pub(super) fn prompt(value: &str) -> Result<(), Rejection> {
    if value.trim().is_empty() {
        return Err(Rejection::Empty { field: "prompt" });
    }
    long_text("prompt", value, limits::PROMPT_BYTES_MAX)
}

pub(super) fn metadata(value: &Map<String, Value>) -> Result<(), Rejection> {
    json_object("metadata", value)
}

/// An object that the database can keep, and that is not too large.
pub(super) fn json_object(field: &'static str, value: &Map<String, Value>) -> Result<(), Rejection> {
    let json = Value::Object(value.clone());
    json_without_nul(field, &json)?;
    let bytes = json.to_string().len();
    if bytes > limits::METADATA_BYTES_MAX {
        let max = limits::METADATA_BYTES_MAX;
        return Err(Rejection::TooLong { field, len: bytes, max, unit: "bytes" });
    }
    Ok(())
}

/// Sorts tags and drops duplicates, so that equal sets are equal events.
pub(super) fn tags(values: Vec<String>) -> Result<Vec<String>, Rejection> {
    let mut tags = Vec::with_capacity(values.len());
    for value in values {
        let tag = value.trim().to_owned();
        if tag.is_empty() {
            return Err(Rejection::Empty { field: "tags" });
        }
        text("tags", &tag, limits::NAME_CHARS_MAX)?;
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    if tags.len() > limits::TAGS_MAX {
        return Err(Rejection::TooMany { field: "tags", count: tags.len(), max: limits::TAGS_MAX });
    }
    Ok(tags)
}

/// A label is used in addresses (`name@label`), so its alphabet is narrow.
pub(super) fn label(value: &str) -> Result<(), Rejection> {
    text("label", value, limits::NAME_CHARS_MAX)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = value.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !value.chars().all(plain) || value == LATEST {
        return Err(Rejection::InvalidLabel { label: value.to_owned() });
    }
    Ok(())
}

pub(super) fn case(draft: &CaseDraft) -> Result<(), Rejection> {
    text("name", &draft.name, limits::NAME_CHARS_MAX)?;
    json_without_nul("input", &Value::Object(draft.input.clone()))?;
    no_nul("expected_output", draft.expected_output.as_deref().unwrap_or_default())?;
    assertions(&draft.assertions)?;
    threshold(draft.threshold)?;
    case_tags(&draft.tags)?;
    case_metadata(&draft.metadata)?;
    case_size(draft)
}

pub(super) fn case_tags(tags: &[String]) -> Result<(), Rejection> {
    if tags.len() > limits::CASE_TAGS_MAX {
        return Err(Rejection::TooMany { field: "tags", count: tags.len(), max: limits::CASE_TAGS_MAX });
    }
    if tags.iter().any(|tag| tag.trim().is_empty()) {
        return Err(Rejection::Empty { field: "tags" });
    }
    tags.iter().try_for_each(|tag| text("tags", tag, limits::NAME_CHARS_MAX))
}

/// How large it is is measured with the case.
pub(super) fn case_metadata(metadata: &Map<String, Value>) -> Result<(), Rejection> {
    metadata.iter().try_for_each(|(key, value)| {
        no_nul("metadata", key)?;
        json_without_nul("metadata", value)
    })
}

/// Measures a case: all of it together has to fit into an event and a ticket.
pub(super) fn case_size(case: &impl Serialize) -> Result<(), Rejection> {
    let bytes = serde_json::to_string(case).map_or(0, |json| json.len());
    if bytes > limits::CASE_BYTES_MAX {
        let max = limits::CASE_BYTES_MAX;
        return Err(Rejection::TooLong { field: "case", len: bytes, max, unit: "bytes" });
    }
    Ok(())
}

pub(super) fn assertions(values: &[Assertion]) -> Result<(), Rejection> {
    if values.len() > limits::ASSERTIONS_MAX {
        return Err(Rejection::TooMany { field: "assertions", count: values.len(), max: limits::ASSERTIONS_MAX });
    }
    for assertion in values {
        text("assertions.type", &assertion.kind, limits::NAME_CHARS_MAX)?;
        text("assertions.metric", assertion.metric.as_deref().unwrap_or_default(), limits::NAME_CHARS_MAX)?;
        json_without_nul("assertions.value", assertion.value.as_ref().unwrap_or(&Value::Null))?;
        no_nul("assertions.transform", assertion.transform.as_deref().unwrap_or_default())?;
        no_nul("assertions.rubric_prompt", assertion.rubric_prompt.as_deref().unwrap_or_default())?;
        case_metadata(assertion.config.as_ref().unwrap_or(&Map::new()))?;
        if !assertion.weight.is_finite() || assertion.weight < 0.0 {
            return Err(Rejection::OutOfRange { field: "assertions.weight", rule: "a finite number, 0 or more" });
        }
        // JSON has no other numbers: they would be written as null, and the case would be read as another one.
        if ![assertion.threshold, assertion.tolerance].into_iter().flatten().all(f64::is_finite) {
            return Err(Rejection::OutOfRange { field: "assertions.threshold or tolerance", rule: "a finite number" });
        }
    }
    Ok(())
}

pub(super) fn threshold(value: Option<f64>) -> Result<(), Rejection> {
    match value {
        Some(share) if !(0.0..=1.0).contains(&share) => {
            Err(Rejection::OutOfRange { field: "threshold", rule: "a number from 0 to 1" })
        }
        Some(_) | None => Ok(()),
    }
}

fn no_nul(field: &'static str, value: &str) -> Result<(), Rejection> {
    if value.contains('\0') { Err(Rejection::NulCharacter { field }) } else { Ok(()) }
}

fn json_without_nul(field: &'static str, value: &Value) -> Result<(), Rejection> {
    match value {
        Value::String(text) => no_nul(field, text),
        Value::Array(items) => items.iter().try_for_each(|item| json_without_nul(field, item)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| {
            no_nul(field, key)?;
            json_without_nul(field, item)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
