//! Released events never change: `event-schemas/` holds each version's schema and a sample, and neither may move.
//!
//! `PCS_GEN=1` writes what is missing, and the catalogue; what was released is never rewritten.

use std::path::PathBuf;

use pcs_domain::{Category, DomainEvent, EventSet, EventType};
use pcs_schemas::{Build, Released};
use pcs_tests::{repository, samples};
use serde_json::Value;

fn folder() -> PathBuf {
    repository().join("event-schemas")
}

fn generating() -> bool {
    std::env::var("PCS_GEN").is_ok_and(|value| value == "1")
}

fn encoded(event: &DomainEvent) -> (EventType, Value) {
    let (event_type, payload) = match event {
        DomainEvent::PromptCard(event) => (event.event_type(), event.encode()),
        DomainEvent::TestRun(event) => (event.event_type(), event.encode()),
        DomainEvent::Execution(event) => (event.event_type(), event.encode()),
        DomainEvent::DataSubject(event) => (event.event_type(), event.encode()),
        DomainEvent::JobPolicy(event) => (event.event_type(), event.encode()),
        DomainEvent::Schedule(event) => (event.event_type(), event.encode()),
        DomainEvent::Job(event) => (event.event_type(), event.encode()),
        DomainEvent::Regrade(event) => (event.event_type(), event.encode()),
        DomainEvent::Review(event) => (event.event_type(), event.encode()),
        DomainEvent::Unread(unread) => panic!("a sample can be read: {unread:?}"),
    };
    (event_type, payload.expect("it can be encoded"))
}

/// The files and the page, in one test: the page shows the files.
#[test]
fn what_is_released_fits_this_build_and_the_catalogue_shows_it() {
    let build = Build::current();
    let page_path = repository().join("docs/events.md");
    if generating() {
        let samples: Vec<(String, i16, Value)> = samples::all()
            .iter()
            .map(encoded)
            .map(|(event_type, payload)| (event_type.name.to_owned(), event_type.version, payload))
            .collect();
        pcs_schemas::generate(&build, &samples, &folder()).expect("the files can be written");
        let page = pcs_schemas::catalogue(&build, &Released::of_folder(&folder()).expect("it can be read"));
        std::fs::write(&page_path, page).expect("the page can be written");
    }
    let released = Released::of_folder(&folder()).expect("it can be read");
    let checked = pcs_schemas::check(&build, &released);
    let findings: Vec<String> = checked.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    // A check that looks at nothing finds nothing.
    assert_eq!(checked.schemas, build.events.len());
    assert_eq!(checked.samples, released.schemas().count());
    assert!(checked.former_versions > 0 && checked.instances >= 100 * checked.former_versions, "{checked:?}");

    let page = std::fs::read_to_string(&page_path).unwrap_or_default();
    assert!(page == pcs_schemas::catalogue(&build, &released), "docs/events.md is out of date: run `make gen`");
}

#[test]
fn the_events_keep_the_conventions() {
    let findings: Vec<String> = pcs_schemas::lint(&Build::current()).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_type_that_is_written_has_a_realistic_sample() {
    let samples: Vec<EventType> = samples::all().iter().map(|event| encoded(event).0).collect();
    for (event_type, _) in DomainEvent::schemas() {
        assert!(samples.contains(&event_type), "{event_type} is not in samples.rs");
    }
}

/// Independent of all that the check does: released names by the lock, payloads from the files, the reader's own door.
#[test]
fn every_released_sample_is_still_read() {
    let lock = std::fs::read_to_string(folder().join("lock.json")).expect("there is a lock");
    let lock: std::collections::BTreeMap<String, String> = serde_json::from_str(&lock).expect("the lock is a map");
    let samples: Vec<&String> = lock.keys().filter(|name| name.starts_with("samples/")).collect();
    assert!(samples.len() >= 20, "released samples are never taken out of the lock");
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
