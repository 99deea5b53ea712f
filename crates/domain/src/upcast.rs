//! Reads what older builds wrote: a former version of an event is raised, step by step, to the newest one.
//!
//! Stored events are never rewritten, and old payloads need no variant of their own: [`crate::EventSet::decode`] is the
//! one door for every reader, and the steps are taken behind it. The newest version does not pass here at all.

use serde_json::{Map, Value};

use crate::event::{DecodeError, EventType};

/// A pure step from a version's payload to the payload of the next one.
///
/// It can't fail: what is stored was checked against the schema of its version. Handed something else, it returns
/// something that is not of the newest schema either, and the reader gets [`DecodeError::Payload`]. It takes the
/// payload's fields and not any JSON, because to set a field of what is not an object panics.
pub type Upcast = fn(Map<String, Value>) -> Map<String, Value>;

/// The step of a version whose payload the next one reads as it is, where a reader of the old version could not read
/// the new one: it says that somebody has thought of those readers.
#[must_use]
pub fn unchanged(payload: Map<String, Value>) -> Map<String, Value> {
    payload
}

/// A version that is no longer written: its name at that time, and the step to what came after it.
#[derive(Clone, Copy, Debug)]
pub struct Former {
    /// As it is stored.
    pub event_type: EventType,
    /// The step to the next version; none where each of the two versions can be read as the other one.
    pub upcast: Option<Upcast>,
}

/// An event type of this build, and everything that it was before.
#[derive(Clone, Copy, Debug)]
pub struct Lineage {
    /// What is written.
    pub newest: EventType,
    /// When the event happens: the variant's documentation.
    pub when: &'static str,
    /// What was written before, the oldest first. A renamed type keeps its former names here.
    pub former: &'static [Former],
}

impl Lineage {
    /// All versions with a stored form, the oldest first and the newest last.
    pub fn versions(&self) -> impl Iterator<Item = EventType> + use<> {
        self.former.iter().map(|former| former.event_type).chain([self.newest])
    }

    /// The payload of a former version, as the newest version has it; none where this was never one of its versions.
    #[must_use]
    pub fn raise(&self, name: &str, version: i16, payload: Map<String, Value>) -> Option<Map<String, Value>> {
        let stored = |former: &Former| former.event_type.name == name && former.event_type.version == version;
        let oldest = self.former.iter().position(stored)?;
        let steps = self.former.iter().skip(oldest).filter_map(|former| former.upcast);
        Some(steps.fold(payload, |payload, step| step(payload)))
    }
}

/// Finds the type that a stored name and version belong to now, and its payload of today.
///
/// # Errors
/// [`DecodeError::UnknownType`] where no type has been called so, [`DecodeError::Payload`] where the text is not JSON.
pub fn raise(
    lineages: &'static [Lineage],
    name: &str,
    version: i16,
    payload: &str,
) -> Result<(EventType, Value), DecodeError> {
    let unknown = || DecodeError::UnknownType { name: name.to_owned(), version };
    let was = |former: &Former| former.event_type.name == name && former.event_type.version == version;
    let lineage = lineages.iter().find(|lineage| lineage.former.iter().any(was)).ok_or_else(unknown)?;
    let fields = serde_json::from_str(payload).map_err(|source| DecodeError::Payload {
        name: name.to_owned(),
        version,
        source,
    })?;
    let raised = lineage.raise(name, version, fields).ok_or_else(unknown)?;
    Ok((lineage.newest, Value::Object(raised)))
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::event::{Category, DomainEvent, EventSet, events};

    events! {
        /// What happened to a parcel, a thing that only these tests know.
        enum ParcelEvent in PromptCard {
            /// It was weighed.
            Weighed(Weighed) = "parcel.weighed" version 3
                formerly "parcel.put_on_scale" version 1 with in_grams
                formerly "parcel.weighed" version 2 with by_somebody,
            /// It was opened.
            Opened(Opened) = "parcel.opened" version 3
                formerly "parcel.opened" version 1
                formerly "parcel.opened" version 2 with unchanged,
        }
    }

    #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
    struct Weighed {
        grams: u64,
        by: String,
    }

    #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
    struct Opened {
        #[serde(default)]
        by_force: bool,
    }

    fn in_grams(payload: Map<String, Value>) -> Map<String, Value> {
        let kilograms = payload.get("kilograms").and_then(Value::as_u64);
        Map::from_iter([("grams".to_owned(), json!(kilograms.map(|kilograms| kilograms * 1_000)))])
    }

    fn by_somebody(mut payload: Map<String, Value>) -> Map<String, Value> {
        payload.insert("by".to_owned(), json!("somebody"));
        payload
    }

    fn weighed(grams: u64, by: &str) -> ParcelEvent {
        ParcelEvent::Weighed(Weighed { grams, by: by.to_owned() })
    }

    #[test]
    fn every_version_is_read_as_the_newest_through_all_steps_between() {
        let read = |name, version, payload| ParcelEvent::decode(name, version, payload).unwrap();
        assert_eq!(read("parcel.put_on_scale", 1, r#"{"kilograms":2}"#), weighed(2_000, "somebody"));
        assert_eq!(read("parcel.weighed", 2, r#"{"grams":7}"#), weighed(7, "somebody"));
        assert_eq!(read("parcel.weighed", 3, r#"{"grams":7,"by":"Ada"}"#), weighed(7, "Ada"));
    }

    #[test]
    fn a_version_without_a_step_is_read_as_it_is() {
        for version in [1, 2] {
            let opened = ParcelEvent::decode("parcel.opened", version, "{}").unwrap();
            assert_eq!(opened, ParcelEvent::Opened(Opened { by_force: false }));
        }
    }

    #[test]
    fn only_the_newest_version_is_written() {
        let written = ParcelEvent::decode("parcel.put_on_scale", 1, r#"{"kilograms":2}"#).unwrap();
        assert_eq!(written.event_type(), EventType { name: "parcel.weighed", version: 3 });
        assert_eq!(written.encode().unwrap(), serde_json::json!({ "grams": 2000, "by": "somebody" }));
        assert_eq!(ParcelEvent::TYPES.len(), 2);
    }

    #[test]
    fn what_was_never_a_version_is_unknown() {
        for (name, version) in [("parcel.put_on_scale", 2), ("parcel.weighed", 1), ("parcel.weighed", 4), ("x.y", 1)] {
            let error = ParcelEvent::decode(name, version, "{}").unwrap_err();
            assert!(matches!(error, DecodeError::UnknownType { .. }), "{name} {version}: {error}");
        }
    }

    #[test]
    fn a_former_payload_that_is_not_of_its_schema_is_an_error_with_its_own_name_and_version() {
        for payload in ["", "7", "[]", r#"{"kilograms":"much"}"#] {
            let error = ParcelEvent::decode("parcel.put_on_scale", 1, payload).unwrap_err();
            assert!(matches!(error, DecodeError::Payload { version: 1, .. }), "{payload}: {error}");
            assert!(error.to_string().contains("parcel.put_on_scale"), "{error}");
        }
    }

    #[test]
    fn when_an_event_happens_is_what_its_documentation_says() {
        assert_eq!(ParcelEvent::LINEAGES[0].when.trim(), "It was weighed.");
    }

    #[test]
    fn every_stored_name_and_version_has_one_meaning_and_versions_have_no_gaps() {
        let lineages = DomainEvent::lineages();
        let mut all: Vec<(Category, EventType)> = Vec::new();
        for (category, lineage) in &lineages {
            let versions: Vec<EventType> = lineage.versions().collect();
            let numbers: Vec<i16> = versions.iter().map(|event_type| event_type.version).collect();
            let expected: Vec<i16> = (1..=lineage.newest.version).collect();
            assert_eq!(numbers, expected, "{}: its versions count from 1", lineage.newest);
            all.extend(versions.into_iter().map(|event_type| (*category, event_type)));
        }
        let len = all.len();
        all.sort_unstable_by_key(|(category, event_type)| (category.number(), *event_type));
        all.dedup();
        assert_eq!(all.len(), len, "a name and version belongs to two types");
    }
}
