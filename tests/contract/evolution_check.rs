//! An incompatible change of an event is refused before it is deployed, and the exact place is named.

use std::path::{Path, PathBuf};

use pcs_domain::events;
use pcs_schemas::{Build, Finding, Released, Rule, check, generate};
use pcs_tests::repository;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A copy of the released files that a test may break.
fn copy() -> TempDir {
    fn copy_folder(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy_folder(&entry.path(), &target)
            } else {
                drop(std::fs::copy(entry.path(), target))
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&repository().join("event-schemas"), folder.path());
    folder
}

fn findings(build: &Build, folder: &Path) -> Vec<Finding> {
    check(build, &Released::of_folder(folder).unwrap()).findings
}

fn rewrite(path: PathBuf, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, format!("{json:#}\n")).unwrap();
}

/// Takes a file out of the lock and pins it again: as if this had been released.
fn release(folder: &Path, build: &Build, file: &str) {
    rewrite(folder.join("lock.json"), |lock| drop(lock.as_object_mut().unwrap().remove(file)));
    generate(build, &[], folder).unwrap();
}

#[track_caller]
fn only(found: &[Finding], rule: Rule, place: &str) {
    let told: Vec<(Rule, &str)> = found.iter().map(|finding| (finding.rule, finding.place.as_str())).collect();
    assert_eq!(told, [(rule, place)], "{found:#?}");
}

#[test]
fn u4_a_released_file_that_is_edited_is_refused() {
    let folder = copy();
    rewrite(folder.path().join("samples/prompt_card.tagged.v1.json"), |sample| sample["tags"] = json!(["other"]));
    only(&findings(&Build::current(), folder.path()), Rule::Immutable, "samples/prompt_card.tagged.v1.json");
}

#[test]
fn u4_a_payload_that_changes_in_place_is_refused_at_the_field() {
    let (folder, build) = (copy(), Build::current());
    let file = "prompt_card/labelled.v1.json";
    rewrite(folder.path().join(file), |schema| schema["properties"]["version"]["minimum"] = json!(1));
    release(folder.path(), &build, file);
    let place = format!("{file}#/properties/version/minimum");
    only(&findings(&build, folder.path()), Rule::SchemaOfTheBuild, &place);
}

#[test]
fn u4_a_type_that_is_taken_out_is_refused() {
    let (folder, build) = (copy(), Build::current());
    // To a build without it, this is what a removed line of `events!` looks like: released, and not declared.
    std::fs::write(folder.path().join("prompt_card/pinned.v1.json"), "{}\n").unwrap();
    std::fs::write(folder.path().join("samples/prompt_card.pinned.v1.json"), "{}\n").unwrap();
    generate(&build, &[], folder.path()).unwrap();
    only(&findings(&build, folder.path()), Rule::StillRead, "prompt_card.pinned.v1");
    // Files and pins that vanish together with the line are refused by what remains: one of the three has to stay.
    std::fs::remove_file(folder.path().join("prompt_card/pinned.v1.json")).unwrap();
    std::fs::remove_file(folder.path().join("samples/prompt_card.pinned.v1.json")).unwrap();
    let found = findings(&build, folder.path());
    assert!(found.iter().any(|finding| finding.rule == Rule::StillRead), "{found:#?}");
    assert_eq!(found.iter().filter(|finding| finding.rule == Rule::Locked).count(), 2, "{found:#?}");
}

#[test]
fn u4_a_version_whose_number_is_raised_in_place_is_refused() {
    let build = Build::default().with::<raised::DoorEvent>();
    let folder = released_doors();
    let found = findings(&build, folder.path());
    assert!(found.iter().any(|f| f.rule == Rule::StillRead && f.place == "door.closed.v1"), "{found:#?}");
    assert!(found.iter().any(|f| f.rule == Rule::Versions && f.place == "door.closed.v2"), "{found:#?}");
}

#[test]
fn u4_a_new_version_without_a_step_has_to_be_compatible_in_both_directions() {
    let folder = released_doors();
    let optional = Build::default().with::<optional::DoorEvent>();
    generate_with_sample(&optional, folder.path(), json!({}));
    assert_eq!(findings(&optional, folder.path()), []);

    let folder = released_doors();
    let demanded = Build::default().with::<demanded::DoorEvent>();
    generate_with_sample(&demanded, folder.path(), json!({ "force": 3 }));
    let found = findings(&demanded, folder.path());
    let incompatible = found.iter().find(|finding| finding.rule == Rule::Compatible).expect("it is refused");
    assert_eq!(incompatible.place, "door/closed.v2.json#/properties/force");
    // The old sample and the payloads that are made up show the same.
    assert!(found.iter().any(|f| f.rule == Rule::Sample && f.place == "samples/door.closed.v1.json"), "{found:#?}");
    assert!(found.iter().any(|f| f.rule == Rule::Upcast), "{found:#?}");
}

#[test]
fn u4_a_step_has_to_make_payloads_of_the_newest_schema() {
    let folder = released_doors();
    let good = Build::default().with::<stepped::DoorEvent>();
    generate_with_sample(&good, folder.path(), json!({ "force": 3 }));
    assert_eq!(findings(&good, folder.path()), []);

    let folder = released_doors();
    let bad = Build::default().with::<missed::DoorEvent>();
    generate_with_sample(&bad, folder.path(), json!({ "force": 3 }));
    let found = findings(&bad, folder.path());
    assert!(
        found.iter().any(|f| f.rule == Rule::Upcast && f.place.starts_with("door/closed.v1.json#/force")),
        "{found:#?}"
    );
}

#[test]
fn u4_a_version_without_a_sample_is_refused() {
    let folder = released_doors();
    let build = Build::default().with::<optional::DoorEvent>();
    generate(&build, &[], folder.path()).unwrap();
    only(&findings(&build, folder.path()), Rule::Sample, "samples/door.closed.v2.json");
}

/// A folder in which version 1 of `door.closed` is released.
fn released_doors() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let build = Build::default().with::<first::DoorEvent>();
    let sample = [("door.closed".to_owned(), 1, json!({}))];
    generate(&build, &sample, folder.path()).unwrap();
    assert_eq!(findings(&build, folder.path()), []);
    folder
}

fn generate_with_sample(build: &Build, folder: &Path, sample: Value) {
    generate(build, &[("door.closed".to_owned(), 2, sample)], folder).unwrap();
}

/// Payload of `door.closed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
struct Plain {}

/// Payload of `door.closed` version 2, as it should be.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
struct MaybeForced {
    /// In newtons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    force: Option<u32>,
}

/// Payload of `door.closed` version 2, as it should not be.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
struct Forced {
    /// In newtons.
    force: u32,
}

fn with_force(mut payload: Map<String, Value>) -> Map<String, Value> {
    payload.insert("force".to_owned(), json!(0));
    payload
}

fn with_text(mut payload: Map<String, Value>) -> Map<String, Value> {
    payload.insert("force".to_owned(), json!("none"));
    payload
}

/// Declares a build of its own for `door.closed`.
macro_rules! door {
    ($module:ident, $payload:ident, version $version:literal $(, formerly $($former:tt)+)?) => {
        mod $module {
            use super::*;

            events! {
                /// What happened to a door.
                pub(super) enum DoorEvent in PromptCard {
                    /// Somebody closed it.
                    Closed($payload) = "door.closed" version $version
                        $(formerly $($former)+)?,
                }
            }
        }
    };
}

door!(first, Plain, version 1);
door!(raised, Plain, version 2);
door!(optional, MaybeForced, version 2, formerly "door.closed" version 1);
door!(demanded, Forced, version 2, formerly "door.closed" version 1);
door!(stepped, Forced, version 2, formerly "door.closed" version 1 with with_force);
door!(missed, Forced, version 2, formerly "door.closed" version 1 with with_text);
