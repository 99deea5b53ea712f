//! Our verdicts beside promptfoo's own: it was run on outputs and assertions of every deterministic kind, and what it said
//! was written down (`reference/make.py`).

use std::fs;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Options, load};
use pcs_grading::{Check, Subject};

/// How far a score may be from theirs: they round some.
const SCORE_TOLERANCE: f64 = 0.01;

#[derive(Deserialize)]
struct Said {
    output: String,
    assert: Value,
    pass: bool,
    score: f64,
}

/// Where we say something else on purpose, and why.
fn is_different_here(said: &Said) -> Option<&'static str> {
    let kind = said.assert["type"].as_str().unwrap_or_default();
    let value = said.assert["value"].as_str().unwrap_or_default();
    match kind {
        "javascript" if value.starts_with("const ") => Some("a line that is a body with `return` runs here"),
        "is-refusal" if said.output.trim().is_empty() => Some("they pass it with a score of 0"),
        "contains-json" if said.output == "{a: 1}" => Some("they take YAML for JSON there"),
        _ => None,
    }
}

#[test]
fn our_verdicts_are_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("promptfooconfig.json");
    let mut differences = Vec::new();
    for line in include_str!("reference/verdicts.jsonl").lines() {
        let said: Said = serde_json::from_str(line).unwrap();
        let config = json!({ "prompts": ["{{t}}"], "providers": ["echo"], "tests": [{ "vars": { "t": said.output }, "assert": [said.assert] }] });
        fs::write(&path, config.to_string()).unwrap();
        let suite = load(&path, &Options::default()).unwrap().suite;
        let case = &suite.cases[0].draft;
        let variables: Map<String, Value> = case.input.clone();
        let subject = Subject {
            output: &said.output,
            is_value: false,
            tools: &[],
            latency_ms: 1,
            cost_micro_usd: None,
            finish_reason: None,
            variables: &variables,
        };
        let ours = Check::compile(&case.assertions[0]).unwrap().verdict(&subject);
        let is_same = ours.passed == said.pass && (ours.score - said.score).abs() <= SCORE_TOLERANCE;
        if !is_same && is_different_here(&said).is_none() {
            differences.push(format!(
                "{} of {:?}: {} {:.3}, and theirs {} {:.3}: {}",
                said.assert, said.output, ours.passed, ours.score, said.pass, said.score, ours.reason
            ));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
