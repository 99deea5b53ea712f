//! Where the schemas mark fields as a data subject's, compiled once into places that a payload is searched at.

use std::collections::HashMap;

use pcs_domain::data_subject::MARK;
use pcs_domain::{DomainEvent, EventType};
use serde_json::Value;

use crate::error::StoreError;

/// Deepest nesting of a schema that is searched; deeper ones refer to themselves.
const DEPTH_MAX: usize = 32;

/// One step of a place.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// The member of an object.
    Member(String),
    /// Each item of an array.
    Each,
}

/// An object that says whose its marked fields are, and where these are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    at: Vec<Step>,
    /// The member that says whose.
    pub(super) member: String,
    fields: Vec<Vec<Step>>,
}

/// The marked fields of every type that this build writes.
pub(crate) struct Markings {
    holders: HashMap<EventType, Vec<Holder>>,
}

impl Markings {
    /// Compiles the marks of all schemas.
    pub(crate) fn compile() -> Result<Self, StoreError> {
        let mut holders = HashMap::new();
        for (event_type, schema) in DomainEvent::schemas() {
            let found = holders_of(schema.as_value()).map_err(|path| StoreError::Schema {
                event_type: event_type.to_string(),
                path,
                message: format!("it is marked {MARK}, and nothing around it says whose it is"),
            })?;
            if !found.is_empty() {
                holders.insert(event_type, found);
            }
        }
        Ok(Self { holders })
    }

    pub(super) fn of(&self, event_type: EventType) -> &[Holder] {
        self.holders.get(&event_type).map_or(&[], Vec::as_slice)
    }

    /// Whether a payload is about a data subject.
    pub(crate) fn has_subject(&self, event_type: EventType, payload: &Value) -> bool {
        let says = |holder: &Holder| {
            let mut places = holder.places(payload).into_iter();
            places.any(|place| payload.pointer(&place).is_some_and(|part| part.get(&holder.member).is_some()))
        };
        self.of(event_type).iter().any(says)
    }
}

impl Holder {
    /// The places of this holder in a payload, as JSON Pointers.
    pub(super) fn places(&self, payload: &Value) -> Vec<String> {
        expand(payload, &self.at)
    }

    /// The places of its marked fields in one part, as JSON Pointers inside it.
    pub(super) fn fields(&self, part: &Value) -> Vec<String> {
        self.fields.iter().flat_map(|field| expand(part, field)).collect()
    }
}

/// The pointers of all values at these steps that are there.
fn expand(value: &Value, steps: &[Step]) -> Vec<String> {
    let mut found = vec![(String::new(), value)];
    for step in steps {
        let mut next = Vec::new();
        for (pointer, value) in found {
            match (step, value) {
                (Step::Member(name), Value::Object(members)) => {
                    next.extend(members.get(name).map(|member| (format!("{pointer}/{name}"), member)));
                }
                (Step::Each, Value::Array(items)) => {
                    next.extend(items.iter().enumerate().map(|(index, item)| (format!("{pointer}/{index}"), item)));
                }
                (Step::Member(_) | Step::Each, _) => (),
            }
        }
        found = next;
    }
    found.into_iter().map(|(pointer, _)| pointer).collect()
}

struct Walk<'a> {
    root: &'a Value,
    holders: Vec<Holder>,
}

/// The holders of a schema, or the place of a mark that belongs to nobody.
fn holders_of(schema: &Value) -> Result<Vec<Holder>, String> {
    let mut walk = Walk { root: schema, holders: Vec::new() };
    walk.visit(schema, &[], &[])?;
    Ok(walk.holders)
}

impl<'a> Walk<'a> {
    /// Visits a schema at a place; `around` are the objects on the way to it, with the names of their members.
    fn visit(&mut self, schema: &'a Value, at: &[Step], around: &[(usize, &'a Value)]) -> Result<(), String> {
        if at.len() > DEPTH_MAX {
            return Ok(());
        }
        if let Some(member) = schema.get(MARK).and_then(Value::as_str) {
            return self.mark(member, at, around);
        }
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        if let Some(definition) = reference.and_then(|name| self.root.pointer(name)) {
            self.visit(definition, at, around)?;
        }
        let properties = schema.get("properties");
        let inner = match properties {
            Some(properties) => &[around, &[(at.len(), properties)]].concat(),
            None => around,
        };
        for (name, property) in properties.and_then(Value::as_object).into_iter().flatten() {
            self.visit(property, &[at, &[Step::Member(name.clone())]].concat(), inner)?;
        }
        if let Some(items) = schema.get("items") {
            self.visit(items, &[at, &[Step::Each]].concat(), inner)?;
        }
        for either in ["anyOf", "oneOf", "allOf"] {
            for option in schema.get(either).and_then(Value::as_array).into_iter().flatten() {
                self.visit(option, at, inner)?;
            }
        }
        Ok(())
    }

    fn mark(&mut self, member: &str, at: &[Step], around: &[(usize, &Value)]) -> Result<(), String> {
        let holder = around.iter().rev().find(|(_, properties)| properties.get(member).is_some());
        let Some((depth, _)) = holder else { return Err(shown(at)) };
        let (place, field) = at.split_at(*depth);
        let known = self.holders.iter_mut().find(|holder| holder.at == place && holder.member == member);
        match known {
            Some(holder) => holder.fields.push(field.to_vec()),
            None => self.holders.push(Holder {
                at: place.to_vec(),
                member: member.to_owned(),
                fields: vec![field.to_vec()],
            }),
        }
        Ok(())
    }
}

fn shown(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member(name) => format!("/{name}"),
        Step::Each => "/*".to_owned(),
    };
    steps.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(name: &'static str, version: i16) -> Vec<(String, Vec<String>)> {
        let markings = Markings::compile().unwrap();
        let holders = markings.of(EventType { name, version });
        let fields = |holder: &Holder| {
            let mut fields: Vec<String> = holder.fields.iter().map(|field| shown(field)).collect();
            fields.sort();
            fields
        };
        holders.iter().map(|holder| (shown(&holder.at), fields(holder))).collect()
    }

    #[test]
    fn the_marks_of_the_schemas_are_found() {
        let case = ["/assertions", "/expected_output", "/input", "/metadata"].map(str::to_owned).to_vec();
        assert_eq!(places("prompt_card.cases_added", 3), [("/cases/*".to_owned(), case.clone())]);
        assert_eq!(places("prompt_card.case_changed", 3), [("/case".to_owned(), case)]);
        let verdicts = ["/verdicts/*/judgements/*/answer", "/verdicts/*/reason"].map(str::to_owned);
        let finished = ["/input", "/output"].map(str::to_owned).into_iter().chain(verdicts.clone()).collect();
        assert_eq!(places("execution.finished", 4), [(String::new(), finished)]);
        assert_eq!(places("regrade.graded", 1), [("/grades/*".to_owned(), verdicts.to_vec())]);
        let dead = ["/error", "/input"].map(str::to_owned).to_vec();
        assert_eq!(places("execution.dead_lettered", 3), [(String::new(), dead)]);
        assert_eq!(places("execution.attempt_failed", 3), [(String::new(), vec!["/error".to_owned()])]);
        assert_eq!(places("test_run.requested", 4), []);
    }

    #[test]
    fn a_mark_that_is_nobodys_is_refused() {
        let schema = json!({ "properties": { "text": { "type": "string", "x-subject": "subject" } } });
        assert_eq!(holders_of(&schema).unwrap_err(), "/text");
    }

    #[test]
    fn only_places_that_are_there_are_searched() {
        let steps = [Step::Member("cases".to_owned()), Step::Each, Step::Member("input".to_owned())];
        let payload = json!({ "cases": [{ "input": 1 }, {}, { "input": 2 }] });
        assert_eq!(expand(&payload, &steps), ["/cases/0/input", "/cases/2/input"]);
        assert!(expand(&json!({ "cases": 7 }), &steps).is_empty());
    }
}
