//! Whole configurations beside promptfoo itself: it ran each folder of `conformance` with its `echo`, and what it said of
//! every prompt and assertion was written down (`conformance/make.py`, promptfoo 0.123.1).

use std::fs;
use std::path::Path;

use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{CaseDraft, TestCase};
use pcs_grading::template::Partials;
use pcs_grading::{Check, Seen, Subject, Template, Transform, conclude, variables};
use serde::Deserialize;
use serde_json::Value;

use super::{Options, load};
use crate::suite::Suite;

/// How far a score may be from theirs: they round some.
const SCORE_TOLERANCE: f64 = 0.01;

#[derive(Debug, Deserialize)]
struct Said {
    prompt: String,
    pass: bool,
    score: f64,
    /// Of each assertion; those of a set are told with it.
    parts: Vec<(bool, f64)>,
}

fn case(draft: &CaseDraft) -> TestCase {
    TestCase {
        id: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        name: draft.name.clone(),
        subject: None,
        input: draft.input.clone(),
        expected_output: draft.expected_output.clone(),
        assertions: draft.assertions.clone(),
        threshold: draft.threshold,
        tags: Vec::new(),
        metadata: draft.metadata.clone(),
    }
}

/// What a worker would say of `echo`.
fn graded(suite: &Suite, model: &ModelSpec, case: &TestCase, prompt: &str) -> Said {
    let template = Template::parse_prompt(prompt, &Partials::new()).unwrap();
    let prompt = template.render(&case.input).unwrap();
    let transform = model.transform.as_deref().map(|code| Transform::compile(code).unwrap());
    let said = Seen::text(&prompt);
    let seen = transform.map_or(said.clone(), |transform| transform.apply(said, &case.input).unwrap());
    let variables = variables(case);
    let subject = Subject {
        output: &seen.text,
        is_value: seen.is_value,
        tools: &[],
        latency_ms: 1,
        cost_micro_usd: None,
        finish_reason: None,
        variables: &variables,
    };
    let checks = suite.assertions.iter().chain(&case.assertions).map(|assertion| Check::compile(assertion).unwrap());
    let verdicts: Vec<_> = checks.map(|check| check.verdict(&subject)).collect();
    // They say of what does not count that it passed.
    let parts = verdicts.iter().map(|verdict| (verdict.passed || verdict.weight == 0.0, verdict.score)).collect();
    let grade = conclude(case, suite.threshold, verdicts);
    Said { prompt, pass: grade.passed, score: grade.score, parts }
}

fn differences(folder: &Path) -> Vec<String> {
    let theirs: Vec<Said> = serde_json::from_str(&fs::read_to_string(folder.join("said.json")).unwrap()).unwrap();
    let suite =
        load(&folder.join("promptfooconfig.yaml"), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let suite = suite.suite;
    let mut ours = Vec::new();
    for draft in &suite.cases {
        let case = case(&draft.draft);
        for model in &suite.models {
            ours.extend(suite.prompts.iter().map(|prompt| graded(&suite, model, &case, prompt)));
        }
    }
    // A chat is the same however it is spaced.
    let key = |said: &Said| {
        serde_json::from_str::<Value>(&said.prompt).map_or_else(|_| said.prompt.clone(), |chat| chat.to_string())
    };
    ours.sort_by_key(key);
    let mut theirs = theirs;
    theirs.sort_by_key(key);
    // They tell of the members of a set as well.
    let has_sets = suite.cases.iter().any(|case| case.draft.assertions.iter().any(|each| each.kind == "assert-set"));
    let mut found = Vec::new();
    if ours.len() != theirs.len() {
        found.push(format!("{} results, and theirs are {}", ours.len(), theirs.len()));
    }
    for (our, their) in ours.iter().zip(&theirs) {
        let near = |one: f64, other: f64| (one - other).abs() <= SCORE_TOLERANCE;
        let same_parts = has_sets
            || our.parts.len() == their.parts.len()
                && our.parts.iter().zip(&their.parts).all(|(one, other)| one.0 == other.0 && near(one.1, other.1));
        if key(our) != key(their) || our.pass != their.pass || !near(our.score, their.score) || !same_parts {
            found.push(format!("{our:?}, and theirs {their:?}"));
        }
    }
    found
}

#[test]
fn whole_configurations_have_their_results() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/promptfoo/conformance");
    let mut seen = 0;
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            seen += 1;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            all.extend(differences(&path).into_iter().map(|difference| format!("{name}: {difference}")));
        }
    }
    assert!(seen >= 10, "{seen} configurations");
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}
