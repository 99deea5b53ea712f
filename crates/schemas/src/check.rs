//! Whether a program fits the released files: what was stored stays readable, and what is released stays as it is.

use std::collections::BTreeMap;

use jsonschema::Validator;
use pcs_domain::EventType;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::build::{Build, BuiltEvent};
use crate::compatibility::refusals;
use crate::difference::places;
use crate::finding::{Finding, Rule};
use crate::instances::Instances;
use crate::released::{Released, digest};
use crate::write::{sample_path, schema_path};

/// Payloads of each former version that are made up and raised.
const INSTANCES_PER_VERSION: usize = 200;
/// Places of one difference that are named.
const PLACES_MAX: usize = 20;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    /// Schemas of the build and of the files.
    pub schemas: usize,
    /// Samples that were read.
    pub samples: usize,
    /// Former versions whose steps were tried.
    pub former_versions: usize,
    /// Payloads that were made up and raised through them.
    pub instances: usize,
    /// Every broken rule; none where all is well.
    pub findings: Vec<Finding>,
}

/// Compares a program with the released files.
#[must_use]
pub fn check(build: &Build, released: &Released) -> Checked {
    let mut check = Check { build, released, checked: Checked::default() };
    check.lock();
    check.released_types();
    check.versions();
    for event in &build.events {
        check.schema(event);
        check.samples(event);
        check.former(event);
    }
    check.checked
}

struct Check<'a> {
    build: &'a Build,
    released: &'a Released,
    checked: Checked,
}

impl Check<'_> {
    fn find(&mut self, rule: Rule, place: impl Into<String>, message: impl Into<String>) {
        self.checked.findings.push(Finding::new(rule, place, message));
    }

    fn lock(&mut self) {
        for (path, pinned) in &self.released.lock {
            match self.released.text(path) {
                None => self.find(Rule::Locked, path, "it was released and is gone: restore it"),
                Some(text) if digest(text) != *pinned => {
                    self.find(Rule::Immutable, path, "it was released and has changed: restore it");
                }
                Some(_) => (),
            }
        }
        for path in self.released.files.keys().filter(|path| !self.released.lock.contains_key(*path)) {
            self.find(Rule::Locked, path, "the lock does not pin it: run `make gen`");
        }
    }

    /// The lock is the source of what was released: a line that is taken out of `events!` is missed here.
    fn released_types(&mut self) {
        for name in self.released.names() {
            if self.build.reader_of(&name.name, name.version).is_none() {
                let advice = "it was released, and this build can't read it: declare it, or `formerly` beside the type \
                              that it has become";
                self.find(Rule::StillRead, name.to_string(), advice);
            }
        }
    }

    fn versions(&mut self) {
        let mut seen: BTreeMap<(i16, EventType), usize> = BTreeMap::new();
        for (event, version) in self.build.versions() {
            *seen.entry((event.category.number(), version)).or_default() += 1;
        }
        for ((_, version), times) in seen {
            if times > 1 {
                self.find(Rule::Versions, version.to_string(), format!("it is declared {times} times"));
            }
        }
        for event in &self.build.events {
            let newest = event.lineage.newest;
            let numbers: Vec<i16> = event.lineage.versions().map(|version| version.version).collect();
            if numbers != (1..=newest.version).collect::<Vec<_>>() {
                let message = format!("its versions are {numbers:?}, and they count from 1 without gaps");
                self.find(Rule::Versions, newest.to_string(), message);
            }
        }
    }

    fn schema(&mut self, event: &BuiltEvent) {
        self.checked.schemas += 1;
        let newest = event.lineage.newest;
        let path = schema_path(newest.name, newest.version);
        let Some(file) = self.released.schema(newest.name, newest.version) else {
            return self.find(Rule::SchemaOfTheBuild, path, "there is no such schema yet: run `make gen`");
        };
        if file == event.schema {
            return;
        }
        for pointer in places(&file, &event.schema, PLACES_MAX) {
            let message = format!("{newest} is released and the build's schema differs: give it a new version instead");
            self.find(Rule::SchemaOfTheBuild, format!("{path}#{pointer}"), message);
        }
    }

    fn samples(&mut self, event: &BuiltEvent) {
        for version in event.lineage.versions() {
            let path = sample_path(version.name, version.version);
            let Some(text) = self.released.text(&path) else {
                self.find(Rule::Sample, path, "there is no such sample: add it to samples.rs and run `make gen`");
                continue;
            };
            self.checked.samples += 1;
            let stored: Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(schema) = self.released.schema(version.name, version.version)
                && let Some(fault) = fault(&schema, &stored)
            {
                self.find(Rule::Sample, format!("{path}#{}", fault.0), fault.1);
            }
            match event.rewrite(version, text) {
                Err(error) => self.find(Rule::Sample, path, error.to_string()),
                Ok(written) if version == event.lineage.newest && written != stored => {
                    let pointer = places(&stored, &written, 1).concat();
                    self.find(Rule::Sample, format!("{path}#{pointer}"), "reading and writing changes it");
                }
                Ok(_) => (),
            }
        }
    }

    /// Each former version is compatible with the next one, or has a step; and all steps together end at the newest.
    fn former(&mut self, event: &BuiltEvent) {
        let versions: Vec<EventType> = event.lineage.versions().collect();
        for (former, next) in event.lineage.former.iter().zip(versions.iter().skip(1)) {
            let stored = former.event_type;
            let path = schema_path(stored.name, stored.version);
            let Some(schema) = self.released.schema(stored.name, stored.version) else {
                self.find(Rule::StillRead, path, format!("{stored} is declared, and there is no schema of it"));
                continue;
            };
            self.checked.former_versions += 1;
            let is_newest = *next == event.lineage.newest;
            let next_schema =
                if is_newest { Some(event.schema.clone()) } else { self.released.schema(next.name, next.version) };
            if let (None, Some(next_schema)) = (former.upcast, next_schema) {
                self.compatible(stored, *next, &schema, &next_schema);
            }
            self.raised(event, stored, &schema);
        }
    }

    fn compatible(&mut self, before: EventType, after: EventType, before_schema: &Value, after_schema: &Value) {
        let (old, new) = (schema_path(before.name, before.version), schema_path(after.name, after.version));
        for found in refusals(after_schema, before_schema) {
            let message = format!("{after} can't read {before}, which has no step of its own: {}", found.message);
            self.find(Rule::Compatible, format!("{new}#{}", found.pointer), message);
        }
        for found in refusals(before_schema, after_schema) {
            let message = format!(
                "a reader of {before} can't read {after}: {}; give it a step, `upcast::unchanged` \
                                   where {after} reads it as it is",
                found.message
            );
            self.find(Rule::Compatible, format!("{old}#{}", found.pointer), message);
        }
    }

    /// Makes up payloads of a former version and raises each: the first that goes wrong is told, with the payload.
    fn raised(&mut self, event: &BuiltEvent, stored: EventType, schema: &Value) {
        let path = schema_path(stored.name, stored.version);
        let (own, newest) = match (validator(schema), validator(&event.schema)) {
            (Ok(own), Ok(newest)) => (own, newest),
            (Err(error), _) | (_, Err(error)) => return self.find(Rule::Upcast, path, error),
        };
        for instance in Instances::of(schema, 1).take(INSTANCES_PER_VERSION) {
            let text = instance.to_string();
            if !own.is_valid(&instance) {
                return self.find(Rule::Upcast, path, format!("no payload of it could be made up, but only {text}"));
            }
            self.checked.instances += 1;
            let fields: Map<String, Value> = instance.as_object().cloned().unwrap_or_default();
            let Some(raised) = event.lineage.raise(stored.name, stored.version, fields) else { return };
            let raised = Value::Object(raised);
            if let Err(error) = newest.validate(&raised) {
                let place = format!("{path}#{}", error.instance_path());
                let message = format!("raised to {}, {text} becomes {raised}: {error}", event.lineage.newest);
                return self.find(Rule::Upcast, place, message);
            }
            if let Err(error) = event.rewrite(stored, &text) {
                return self.find(Rule::Upcast, path, format!("{text} can't be read: {error}"));
            }
        }
    }
}

fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| format!("the schema itself is wrong: {error}"))
}

/// Where and why a payload is not of a schema.
fn fault(schema: &Value, payload: &Value) -> Option<(String, String)> {
    match validator(schema) {
        Err(error) => Some((String::new(), error)),
        Ok(validator) => {
            validator.validate(payload).err().map(|error| (error.instance_path().to_string(), error.to_string()))
        }
    }
}
