//! Rows about data subjects: how they are shown, and how opened fields come back into them.

use pcs_domain::data_subject::{Guard, SHREDDED, Subject};
use serde::Serializer;
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde_json::{Map, Value};

/// Where verdicts are in a part.
const VERDICTS: &str = "/verdicts/";

/// Writes a subject into an answer: who, and whether their data is gone. What is sealed is nobody's business.
#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
pub(crate) fn shown<S: Serializer>(subject: &Option<Subject>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(subject) = subject else { return serializer.serialize_none() };
    let mut shown = serializer.serialize_struct("Subject", 2)?;
    shown.serialize_field("id", &subject.id)?;
    shown.serialize_field("shredded", &subject.guard.is_shredded())?;
    shown.end()
}

/// Takes an opened field.
pub(crate) fn field<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    pointer: &str,
) -> Result<Option<T>, serde_json::Error> {
    fields.remove(pointer).map(serde_json::from_value).transpose()
}

/// Takes the opened fields of verdicts: their reasons, and what judges said.
pub(crate) fn into_verdicts(verdicts: &mut [Value], fields: &mut Map<String, Value>) {
    let places: Vec<String> = fields.keys().filter(|place| place.starts_with(VERDICTS)).cloned().collect();
    for place in places {
        let Some((field, path)) = fields.remove(&place).zip(place.strip_prefix(VERDICTS)) else { continue };
        let (number, within) = path.split_once('/').unwrap_or((path, ""));
        let verdict = number.parse().ok().and_then(|number: usize| verdicts.get_mut(number));
        let (parent, name) =
            within.rsplit_once('/').map_or((String::new(), within), |(parent, name)| (format!("/{parent}"), name));
        if let Some(Value::Object(parent)) = verdict.and_then(|verdict| verdict.pointer_mut(&parent)) {
            parent.insert(name.to_owned(), field);
        }
    }
}

/// Says in the texts of verdicts that are gone that they were shredded.
pub(crate) fn mark_verdicts(subject: Option<&Subject>, verdicts: &mut [Value]) {
    if subject.is_some_and(|subject| subject.guard.is_shredded()) {
        verdicts.iter_mut().for_each(|verdict| verdict["reason"] = Value::from(SHREDDED));
    }
}

/// The subject as JSON text, for a column.
pub(crate) fn column(subject: Option<&Subject>) -> Result<Option<String>, serde_json::Error> {
    subject.map(serde_json::to_string).transpose()
}

/// Puts the mark for people into a text that is gone.
pub(crate) fn mark(subject: Option<&Subject>, text: &mut String) {
    if subject.is_some_and(|subject| matches!(subject.guard, Guard::Shredded)) {
        SHREDDED.clone_into(text);
    }
}
