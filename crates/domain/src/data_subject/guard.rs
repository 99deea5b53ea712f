//! Whose data a payload holds, and what became of its fields that are marked as theirs.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ids::SubjectId;
use crate::limits;

/// The extension of a field's JSON Schema that marks it as a data subject's. Its value is the name of the member that
/// says whose: of the same object, or of the nearest one around it.
pub const MARK: &str = "x-subject";
/// What people read instead of a text that was shredded.
pub const SHREDDED: &str = "[shredded]";

/// The data subject that a payload, or a part of one, is about.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Subject {
    /// Who; an id that says nothing about the person.
    pub id: SubjectId,
    /// What became of the marked fields.
    #[serde(default, skip_serializing_if = "Guard::is_open")]
    pub guard: Guard,
}

/// What became of the fields that are a data subject's.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// They are there, in clear: only in memory and in answers, never in what is stored.
    #[default]
    Open,
    /// They are sealed, and their places hold nothing.
    Sealed(Sealed),
    /// They are gone for ever: the subject's key was destroyed.
    Shredded,
}

/// The sealed fields of one payload or part.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Sealed {
    /// The event that they were sealed for; they can be opened as its part only.
    pub event: Uuid,
    /// The place of the part in the event's payload, as a JSON Pointer.
    pub place: String,
    /// The fields, by their JSON Pointers inside the part, sealed.
    pub fields: String,
}

impl Subject {
    /// The subject of fields that are in clear.
    #[must_use]
    pub fn open(id: SubjectId) -> Self {
        Self { id, guard: Guard::Open }
    }

    /// The subject of fields that are gone.
    #[must_use]
    pub fn shredded(id: SubjectId) -> Self {
        Self { id, guard: Guard::Shredded }
    }
}

impl Guard {
    /// Whether the fields are in clear.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether the fields are gone for ever.
    #[must_use]
    pub fn is_shredded(&self) -> bool {
        matches!(self, Self::Shredded)
    }
}

/// A payload, or a part of one, some of whose fields may be a data subject's.
pub trait Guarded: Send {
    /// Whose they are; none where they are nobody's.
    fn subject(&self) -> Option<&Subject>;

    /// Changes what became of them.
    fn subject_mut(&mut self) -> Option<&mut Subject>;

    /// Puts opened fields back to their places, by their JSON Pointers.
    ///
    /// # Errors
    /// Where they are not of these places.
    fn put_back(&mut self, fields: Map<String, Value>) -> Result<(), serde_json::Error>;
}

/// [`Guarded::put_back`] for whatever is written as JSON.
///
/// # Errors
/// Where the fields are not of these places.
pub fn put_back<T: Serialize + DeserializeOwned>(
    part: &mut T,
    fields: Map<String, Value>,
) -> Result<(), serde_json::Error> {
    let mut value = serde_json::to_value(&*part)?;
    for (pointer, field) in fields {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
        if let Some(Value::Object(parent)) = value.pointer_mut(parent) {
            parent.insert(name.to_owned(), field);
        }
    }
    *part = serde_json::from_value(value)?;
    Ok(())
}

/// How people call a data subject, such as the number of a customer: never stored in clear.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct SubjectName(String);

/// Why a text can't name a data subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubjectNameError {
    /// It is empty.
    #[error("a subject must not be empty")]
    Empty,
    /// It is too long.
    #[error("a subject has at most {} characters", limits::SUBJECT_CHARS_MAX)]
    TooLong,
}

impl SubjectName {
    /// Reads a name; white space around it does not count.
    ///
    /// # Errors
    /// Where it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, SubjectNameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SubjectNameError::Empty);
        }
        if text.chars().count() > limits::SUBJECT_CHARS_MAX {
            return Err(SubjectNameError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name, for those who may see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SubjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may be a person's name: logs must not have it.
        f.write_str("SubjectName")
    }
}
