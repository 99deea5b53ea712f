//! Released events never change: `event-schemas/` holds each type's schema and a sample, and neither may move.
//!
//! `PCS_GEN=1` writes what is missing; it never rewrites what is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pcs_domain::{Category, DomainEvent, EventSet, EventType};
use pcs_tests::{repository, samples};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    repository().join("event-schemas")
}

fn schema_path(event_type: EventType) -> PathBuf {
    let (category, event) = event_type.name.split_once('.').expect("a name has a category");
    folder().join(category).join(format!("{event}.v{}.json", event_type.version))
}

fn sample_path(event_type: EventType) -> PathBuf {
    folder().join("samples").join(format!("{event_type}.json"))
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).expect("it is JSON"))
}

fn generating() -> bool {
    std::env::var("PCS_GEN").is_ok_and(|value| value == "1")
}

fn write_if_missing(path: &Path, text: &str) {
    if !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    }
}

fn encoded(event: &DomainEvent) -> (EventType, Value) {
    let (event_type, text) = match event {
        DomainEvent::PromptCard(event) => (event.event_type(), event.encode()),
        DomainEvent::TestRun(event) => (event.event_type(), event.encode()),
        DomainEvent::Execution(event) => (event.event_type(), event.encode()),
        DomainEvent::DataSubject(event) => (event.event_type(), event.encode()),
        DomainEvent::Unread(unread) => panic!("a sample can be read: {unread:?}"),
    };
    (event_type, serde_json::from_str(&text.expect("it can be encoded")).expect("it is JSON"))
}

fn category(event_type: EventType) -> Category {
    let (name, _) = event_type.name.split_once('.').expect("a name has a category");
    Category::ALL.into_iter().find(|category| category.name() == name).expect("the category is known")
}

#[test]
fn every_schema_is_the_released_one() {
    for (event_type, schema) in DomainEvent::schemas() {
        let path = schema_path(event_type);
        let current = pretty(schema.as_value());
        if generating() {
            write_if_missing(&path, &current);
        }
        let released =
            std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing: run `make gen`", path.display()));
        assert!(
            released == current,
            "{event_type} is released and its schema changed; give the event a new version instead.\n{current}"
        );
    }
}

#[test]
fn the_lock_file_pins_every_schema_and_sample() {
    let mut files: Vec<PathBuf> = DomainEvent::schemas().iter().map(|(kind, _)| schema_path(*kind)).collect();
    files.extend(DomainEvent::schemas().iter().map(|(kind, _)| sample_path(*kind)));
    let lock_path = folder().join("lock.json");
    let read_lock = || -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(&lock_path).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&text).expect("the lock is a map")
    };
    let mut lock = read_lock();
    // Versions that are no longer written stay pinned.
    files.extend(lock.keys().map(|name| folder().join(name)));
    for path in files {
        let Ok(content) = std::fs::read(&path) else {
            assert!(generating(), "{} is missing: run `make gen`", path.display());
            continue;
        };
        let name = path.strip_prefix(folder()).expect("it is in the folder").display().to_string();
        let digest = hex::encode(Sha256::digest(&content));
        if generating() {
            lock.entry(name.clone()).or_insert_with(|| digest.clone());
        }
        assert_eq!(lock.get(&name), Some(&digest), "{name} is not the released file: restore it, or run `make gen`");
    }
    if generating() {
        let text = serde_json::to_string_pretty(&lock).expect("it is JSON");
        std::fs::write(&lock_path, format!("{text}\n")).expect("the lock can be written");
    }
}

#[test]
fn every_type_has_a_sample_that_is_of_its_schema_and_can_be_read() {
    for event in samples::all() {
        let (event_type, payload) = encoded(&event);
        let path = sample_path(event_type);
        if generating() {
            write_if_missing(&path, &pretty(&payload));
        }
    }
    for (event_type, schema) in DomainEvent::schemas() {
        let path = sample_path(event_type);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|_| panic!("{} is missing: add it to samples.rs and run `make gen`", path.display()));
        let stored: Value = serde_json::from_str(&text).expect("a sample is JSON");
        let validator = jsonschema::validator_for(schema.as_value()).expect("a schema is a schema");
        assert!(validator.is_valid(&stored), "{event_type}: its sample is not of its schema");
        let event = DomainEvent::decode(category(event_type), event_type.name, event_type.version, &text)
            .unwrap_or_else(|error| panic!("{event_type}: {error}"));
        assert_eq!(encoded(&event).1, stored, "{event_type}: reading and writing changes it");
    }
}

#[test]
fn every_released_type_is_still_read() {
    let lock = std::fs::read_to_string(folder().join("lock.json")).expect("there is a lock");
    let lock: BTreeMap<String, String> = serde_json::from_str(&lock).expect("the lock is a map");
    let samples: Vec<&String> = lock.keys().filter(|name| name.starts_with("samples/")).collect();
    assert!(samples.len() >= 19, "released samples are never taken out of the lock");
    for name in samples {
        let text = std::fs::read_to_string(folder().join(name)).unwrap_or_else(|_| panic!("{name} is missing"));
        let stem = name.trim_start_matches("samples/").trim_end_matches(".json");
        let (event, version) = stem.rsplit_once(".v").expect("a sample names its version");
        let (prefix, _) = event.split_once('.').expect("an event names its category");
        let category = Category::ALL.into_iter().find(|category| category.name() == prefix).expect("a category");
        let version = version.parse().expect("a number");
        DomainEvent::decode(category, event, version, &text)
            .unwrap_or_else(|error| panic!("{event} version {version} was released and can't be read: {error}"));
    }
}

#[test]
fn an_unknown_type_or_version_is_refused_by_name() {
    let error = DomainEvent::decode(Category::TestRun, "test_run.requested", 99, "{}").unwrap_err().to_string();
    assert!(error.contains("test_run.requested") && error.contains("99"), "{error}");
}
