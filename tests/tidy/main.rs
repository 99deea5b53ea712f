//! What no lint can see: which room may know which, how large files may grow, and that each says what it is for.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is its failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use pcs_tests::repository;
use serde_json::Value;

/// Lines of a production file.
const FILE_LINES_MAX: usize = 400;
/// Lines of a test file.
const TEST_FILE_LINES_MAX: usize = 700;
/// Lines of a `lib.rs`: documentation, modules and few items.
const LIB_LINES_MAX: usize = 120;

/// Which of our packages each may depend on (ARCHITECTURE.md, Rooms).
const MAY_DEPEND_ON: [(&str, &[&str]); 21] = [
    ("pcs-domain", &[]),
    ("pcs-grading", &["pcs-domain", "pcs-scripting"]),
    ("pcs-scripting", &[]),
    ("pcs-sealing", &[]),
    ("pcs-traces", &[]),
    ("pcs-statistics", &[]),
    ("pcs-store", &["pcs-domain", "pcs-sealing"]),
    ("pcs-schemas", &["pcs-domain"]),
    ("pcs-projections", &["pcs-domain", "pcs-statistics", "pcs-store"]),
    ("pcs-bus", &["pcs-domain"]),
    ("pcs-relay", &["pcs-bus", "pcs-domain", "pcs-store", "pcs-traces"]),
    ("pcs-providers", &["pcs-domain"]),
    ("pcs-auth", &["pcs-domain"]),
    (
        "pcs-server",
        &["pcs-auth", "pcs-domain", "pcs-grading", "pcs-projections", "pcs-relay", "pcs-store", "pcs-traces"],
    ),
    (
        "pcs-worker-test-execution",
        &["pcs-bus", "pcs-domain", "pcs-grading", "pcs-providers", "pcs-sealing", "pcs-traces"],
    ),
    ("pcs-worker-on-request", &["pcs-bus", "pcs-domain", "pcs-traces"]),
    (
        "pcs-worker-swarm-agent",
        &["pcs-bus", "pcs-domain", "pcs-grading", "pcs-providers", "pcs-traces", "pcs-worker-on-request"],
    ),
    (
        "pcs-worker-maintenance",
        &["pcs-domain", "pcs-grading", "pcs-projections", "pcs-relay", "pcs-store", "pcs-worker-on-request"],
    ),
    (
        "pcs",
        &[
            "pcs-auth",
            "pcs-bus",
            "pcs-domain",
            "pcs-grading",
            "pcs-projections",
            "pcs-providers",
            "pcs-relay",
            "pcs-sealing",
            "pcs-scripting",
            "pcs-schemas",
            "pcs-server",
            "pcs-statistics",
            "pcs-store",
            "pcs-traces",
            "pcs-worker-maintenance",
            "pcs-worker-on-request",
            "pcs-worker-swarm-agent",
            "pcs-worker-test-execution",
        ],
    ),
    ("pcs-tests", &["*"]),
    ("pcs-bench", &["*"]),
];

/// External packages that only one room may know.
const ONLY_IN: [(&str, &[&str]); 10] = [
    ("async-nats", &["pcs-bus", "pcs-tests"]),
    ("apalis-core", &["pcs-bus"]),
    ("aws-lc-rs", &["pcs-sealing"]),
    ("axum", &["pcs-server", "pcs-tests"]),
    ("genai", &["pcs-providers"]),
    ("jsonschema", &["pcs-grading", "pcs-schemas", "pcs-store", "pcs-tests"]),
    ("opentelemetry", &["pcs", "pcs-traces"]),
    ("rquickjs", &["pcs-scripting"]),
    ("opentelemetry_sdk", &["pcs"]),
    ("sqlx", &["pcs", "pcs-auth", "pcs-projections", "pcs-relay", "pcs-server", "pcs-store", "pcs-tests", "pcs-bench"]),
];

fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let normal = |dependency: &&Value| dependency["kind"].is_null();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let names = dependencies.iter().filter(normal).map(|dependency| text(&dependency["name"])).collect();
            (text(&package["name"]), names)
        })
        .collect()
}

#[test]
fn rooms_know_only_the_rooms_they_may_know() {
    let packages = packages();
    let ours: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(found, ours, "a package is missing in this table, or is not there any more");
    for (name, allowed) in MAY_DEPEND_ON {
        for dependency in packages[name].iter().filter(|dependency| ours.contains(dependency.as_str())) {
            let may = allowed.contains(&"*") || allowed.contains(&dependency.as_str());
            assert!(may, "{name} depends on {dependency}: a new edge is a decision, see docs/decisions");
        }
    }
}

#[test]
fn a_library_stays_in_its_room() {
    for (library, rooms) in ONLY_IN {
        for (name, dependencies) in packages() {
            let may = !dependencies.contains(library) || rooms.contains(&name.as_str());
            assert!(may, "{name} depends on {library}, which is for {rooms:?}");
        }
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["crates", "workers", "tests", "bench"] {
        rust_files(&repository().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the sources were not found");
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a source is text"))).collect()
}

fn is_test(path: &Path) -> bool {
    let inside = path.strip_prefix(repository()).expect("it is in the repository");
    inside.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not begin with a `//!` sentence", path.display());
    }
}

#[test]
fn files_stay_small_enough_to_be_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let limit = if is_test(&path) {
            TEST_FILE_LINES_MAX
        } else if path.ends_with("lib.rs") {
            LIB_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        assert!(lines <= limit, "{} has {lines} lines, and {limit} are allowed: split it by feature", path.display());
    }
}

#[test]
fn rules_are_broken_by_name_and_with_a_reason() {
    for (path, text) in sources() {
        let silent = text.lines().any(|line| line.trim_start().starts_with(concat!("#[", "allow(")));
        assert!(!silent, "{} allows a lint silently: use #[expect(…, reason = \"…\")]", path.display());
        let ignored = text.contains(concat!("#[", "ignore"));
        assert!(!ignored, "{} has a test that does not run", path.display());
    }
}

#[test]
fn there_is_no_room_without_a_purpose() {
    for (path, _) in sources() {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let vague = matches!(stem, "common" | "util" | "utils" | "helper" | "helpers" | "misc" | "shared" | "types2");
        assert!(!vague, "{} has a name that says nothing", path.display());
    }
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let tracked = Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().expect("git runs");
    let names = String::from_utf8_lossy(&tracked.stdout).into_owned();
    let suspicious = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    for name in names.split('\0').filter(|name| !name.is_empty() && !name.ends_with(".lock")) {
        let Ok(text) = std::fs::read_to_string(repository().join(name)) else { continue };
        for path in suspicious {
            assert!(!text.contains(path), "{name} names {path}");
        }
    }
}

/// The groups of the acceptance list and how many cases each has.
const CASES: [(char, usize); 17] = [
    ('A', 19),
    ('I', 10),
    ('M', 4),
    ('Q', 6),
    ('R', 9),
    ('G', 13),
    ('S', 10),
    ('C', 12),
    ('P', 11),
    ('B', 10),
    ('N', 4),
    ('U', 4),
    ('D', 5),
    ('T', 1),
    ('X', 4),
    ('O', 7),
    ('J', 61),
];

#[test]
fn every_case_of_the_acceptance_list_has_a_test_or_a_reason() {
    let page = std::fs::read_to_string(repository().join("docs/acceptance.md")).expect("the list is there");
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    for (group, number) in CASES.iter().flat_map(|(group, len)| (1..=*len).map(move |number| (group, number))) {
        let start = format!("| {group}{number} |");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(rows.len(), 1, "{group}{number} stands {} times in docs/acceptance.md", rows.len());
        let held = rows[0].trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        let excused = held.starts_with("not applicable: ") || held.starts_with("not tested: ");
        assert!(excused || !named.is_empty(), "{group}{number} has neither a test nor a reason");
        for name in named {
            assert!(
                code.contains(&format!("fn {name}")) || code.contains(&format!("    {name}\n")),
                "{name} is nowhere"
            );
        }
    }
}
