//! The common form of YAML and JSON: a tree that knows where in the file each value stands.

use serde_json::{Map, Number, Value};

use super::error::{Place, SuiteError};
use super::source::Source;

/// Deepest nesting of lists and tables in a suite file; the server takes 32 levels, some of which are ours.
pub(crate) const DEPTH_MAX: usize = 24;

/// What is said about a whole number that no 64 bits hold.
pub(crate) const NUMBER_TOO_LARGE: &str = "this number is too large to be kept as it is";

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// What a person calls this kind of value.
    pub(crate) fn what(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("the boolean {value}"),
            Kind::Number(value) => format!("the number {value}"),
            Kind::Text(value) => format!("the text {:?}", shortened(value)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table of keys and values".to_owned(),
        }
    }

    /// The value without its places.
    pub(crate) fn into_json(self) -> Value {
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(value) => Value::Number(value),
            Kind::Text(value) => Value::String(value),
            Kind::List(items) => Value::Array(items.into_iter().map(Self::into_json).collect()),
            Kind::Table(entries) => Value::Object(json_object(entries)),
        }
    }
}

/// A table without its places.
pub(crate) fn json_object(entries: Vec<Entry>) -> Map<String, Value> {
    entries.into_iter().map(|entry| (entry.key, entry.value.into_json())).collect()
}

/// The beginning of a text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    if text.chars().count() <= CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARS_MAX).chain(['…']).collect()
}

/// Refuses the one character that the database can't keep, wherever an escape may have put it.
pub(crate) fn refuse_nul(source: &Source, node: &Node) -> Result<(), SuiteError> {
    match &node.kind {
        Kind::Text(text) => refuse_nul_in(source, text, node.place),
        Kind::List(items) => items.iter().try_for_each(|item| refuse_nul(source, item)),
        Kind::Table(entries) => entries.iter().try_for_each(|entry| {
            refuse_nul_in(source, &entry.key, entry.place)?;
            refuse_nul(source, &entry.value)
        }),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => Ok(()),
    }
}

fn refuse_nul_in(source: &Source, text: &str, place: Place) -> Result<(), SuiteError> {
    if text.contains('\0') {
        return Err(source.error(place, "the text holds a NUL character (\\u0000)", "take it out"));
    }
    Ok(())
}
