//! How values become text: numbers as JavaScript prints them, lists and objects as JSON, nothing escaped.

use std::fmt::{self, Write};

use minijinja::value::{Value, ValueKind};
use serde_json::Value as Json;

use super::{RENDERED_BYTES_MAX, engine};

/// Deepest nesting that is printed; a case's JSON is at most 128 deep.
const DEPTH_MAX: usize = 200;

/// Why a value can't be printed.
#[derive(Debug, PartialEq)]
pub(super) enum PrintError {
    /// It is larger than [`RENDERED_BYTES_MAX`] or deeper than [`DEPTH_MAX`].
    TooLarge,
    /// It is an error that was carried along as a value.
    Invalid(String),
}

impl From<fmt::Error> for PrintError {
    fn from(_: fmt::Error) -> Self {
        Self::TooLarge
    }
}

/// Appends a JSON value as a template prints it.
pub(super) fn push_json_value(out: &mut String, value: &Json) {
    match value {
        Json::Null => (),
        Json::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Json::String(text) => out.push_str(text),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&number_text(float)),
            _ => out.push_str(&number.to_string()),
        },
        Json::Array(_) | Json::Object(_) => {
            // A JSON value is neither too deep nor an error, and the caller measures the result.
            if let Ok(json) = json(&engine::value(value), None) {
                out.push_str(&json);
            }
        }
    }
}

/// A value as a template prints it.
pub(super) fn printed(value: &Value) -> Result<String, PrintError> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(String::new()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(value)),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => json(value, None),
        ValueKind::Invalid => Err(PrintError::Invalid(value.to_string())),
        _ => Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}

fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => number_text(float),
        _ => value.to_string(),
    }
}

/// A number as JavaScript prints it: `1.0` is `1`, and exponents appear where numbers get long.
pub(crate) fn number_text(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else if size == 0.0 {
        "0".to_owned()
    } else if (1e-6..1e21).contains(&size) {
        number.to_string()
    } else {
        let text = format!("{number:e}");
        if size < 1.0 { text } else { text.replace('e', "e+") }
    }
}

/// A value as JSON, compact or with an indent of some spaces.
pub(super) fn json(value: &Value, indent: Option<usize>) -> Result<String, PrintError> {
    let mut out = Capped(String::new());
    write_json(&mut out, value, indent, 0)?;
    Ok(out.0)
}

struct Capped(String);

impl Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > RENDERED_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn write_json(out: &mut Capped, value: &Value, indent: Option<usize>, depth: usize) -> Result<(), PrintError> {
    if depth > DEPTH_MAX {
        return Err(PrintError::TooLarge);
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.write_str("null")?,
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" })?,
        ValueKind::Number => {
            let text = number(value);
            out.write_str(if text.ends_with(['N', 'y']) { "null" } else { &text })?;
        }
        ValueKind::Invalid => return Err(PrintError::Invalid(value.to_string())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| PrintError::Invalid(error.to_string()))?;
            write_items(out, ['[', ']'], items.map(|item| (None, item)), indent, depth)?;
        }
        ValueKind::Map => {
            let keys = value.try_iter().map_err(|error| PrintError::Invalid(error.to_string()))?;
            let entries = keys.map(|key| {
                let item = value.get_item(&key).unwrap_or_default();
                (Some(key), item)
            });
            write_items(out, ['{', '}'], entries, indent, depth)?;
        }
        _ => write_string(out, value)?,
    }
    Ok(())
}

fn write_items(
    out: &mut Capped,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<Value>, Value)>,
    indent: Option<usize>,
    depth: usize,
) -> Result<(), PrintError> {
    out.write_char(open)?;
    let mut is_empty = true;
    for (key, item) in items {
        if !is_empty {
            out.write_char(',')?;
        }
        is_empty = false;
        new_line(out, indent, depth + 1)?;
        if let Some(key) = key {
            write_string(out, &key)?;
            out.write_str(if indent.is_some() { ": " } else { ":" })?;
        }
        write_json(out, &item, indent, depth + 1)?;
    }
    if !is_empty {
        new_line(out, indent, depth)?;
    }
    out.write_char(close)?;
    Ok(())
}

fn new_line(out: &mut Capped, indent: Option<usize>, depth: usize) -> fmt::Result {
    match indent {
        Some(spaces) => write!(out, "\n{:width$}", "", width = spaces * depth),
        None => Ok(()),
    }
}

fn write_string(out: &mut Capped, value: &Value) -> fmt::Result {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    out.write_str(&Json::String(text).to_string())
}
