//! The document is whole: every route, every schema, and the fields that answers really have.

mod comparison;
mod jobs;
mod langfuse;
mod regrades;
mod reviews;

use std::collections::BTreeSet;

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, ExecutionId, JobId, PromptCardId, ScheduleId, TestCaseId, TestRunId};
use pcs_domain::test_run::Lane;
use pcs_projections::card_detail::{CaseRow, VersionRow};
use pcs_projections::card_list::CardRow;
use pcs_projections::execution_results::{Attempt, Override, ResultError, ResultRow, ResultStatus};
use pcs_projections::run_summary::{Latency, ModelSummary, Overrides, Run, RunStatus, Tokens, Totals, VersionUsage};
use pcs_projections::{Failure, ProjectionState, Status};
use serde_json::{Value, json};
use uuid::Uuid;

use super::document;
use crate::routes::lint::{Kind, LintRemark, Linted, Severity};
use crate::routes::prompts::Prompt;
use crate::routes::usage::{ScheduleUsage, Usage};
use crate::routes::{case_schema, playground};

/// The contract: every route there shall be.
const ROUTES: &[(&str, &[&str])] = &[
    ("/api/v1/cards", &["get", "post"]),
    ("/api/v1/cards/{card_id}", &["get", "patch"]),
    ("/api/v1/cards/{card_id}/archive", &["post"]),
    ("/api/v1/cards/{card_id}/restore", &["post"]),
    ("/api/v1/cards/{card_id}/publish", &["post"]),
    ("/api/v1/cards/{card_id}/unpublish", &["post"]),
    ("/api/v1/cards/{card_id}/versions", &["get"]),
    ("/api/v1/cards/{card_id}/versions/{version}", &["get"]),
    ("/api/v1/cards/{card_id}/versions/{version}/lint", &["get"]),
    ("/api/v1/cards/{card_id}/diff", &["get"]),
    ("/api/v1/cards/{card_id}/labels/{label}", &["delete", "put"]),
    ("/api/v1/cards/{card_id}/labels/{label}/protection", &["delete", "put"]),
    ("/api/v1/cards/{card_id}/usage", &["get"]),
    ("/api/v1/prompts/{name}", &["get"]),
    ("/api/v1/cards/{card_id}/cases", &["get", "post"]),
    ("/api/v1/cards/{card_id}/schema", &["get", "put"]),
    ("/api/v1/cards/{card_id}/cases/{case_id}", &["delete", "patch"]),
    ("/api/v1/runs", &["get", "post"]),
    ("/api/v1/runs/{run_id}", &["get"]),
    ("/api/v1/runs/{run_id}/cancel", &["post"]),
    ("/api/v1/runs/{run_id}/retry", &["post"]),
    ("/api/v1/runs/{run_id}/results", &["get"]),
    ("/api/v1/runs/{run_id}/comparison", &["get"]),
    ("/api/v1/runs/{run_id}/repeats", &["get"]),
    ("/api/v1/runs/{run_id}/metrics", &["get"]),
    ("/api/v1/runs/{run_id}/regrades", &["get", "post"]),
    ("/api/v1/runs/{run_id}/certificate", &["get"]),
    ("/api/v1/certificate-key", &["get"]),
    ("/api/v1/regrades/{regrade_id}", &["get"]),
    ("/api/v1/regrades/{regrade_id}/results", &["get"]),
    ("/api/v1/runs/{run_id}/review", &["get", "post"]),
    ("/api/v1/runs/{run_id}/review/items", &["get", "post"]),
    ("/api/v1/runs/{run_id}/review/items/{execution_id}/scores", &["put"]),
    ("/api/v1/runs/{run_id}/review/assignments", &["post"]),
    ("/api/v1/runs/{run_id}/review/next", &["post"]),
    ("/api/v1/runs/{run_id}/review/close", &["post"]),
    ("/api/v1/runs/{run_id}/review/reopen", &["post"]),
    ("/api/v1/runs/{run_id}/review/agreement", &["get"]),
    ("/api/v1/reviews", &["get"]),
    ("/api/v1/executions/{execution_id}/override", &["delete", "put"]),
    ("/api/v1/playground", &["post"]),
    ("/api/v1/executions/{execution_id}", &["get"]),
    ("/api/v1/queues", &["get"]),
    ("/api/v1/queues/pause", &["post"]),
    ("/api/v1/queues/resume", &["post"]),
    ("/api/v1/queues/weight", &["put"]),
    ("/api/v1/limits", &["get"]),
    ("/api/v1/limits/{key}", &["delete", "put"]),
    ("/api/v1/fleet", &["get"]),
    ("/api/v1/dead-letters", &["get"]),
    ("/api/v1/dead-letters/redrive", &["post"]),
    ("/api/v1/dead-letters/dismiss", &["post"]),
    ("/api/v1/jobs", &["get", "post"]),
    ("/api/v1/jobs/{job_id}", &["get"]),
    ("/api/v1/jobs/{job_id}/cancel", &["post"]),
    ("/api/v1/jobs/{job_id}/redrive", &["post"]),
    ("/api/v1/schedules", &["get", "post"]),
    ("/api/v1/schedules/{schedule_id}", &["delete", "get"]),
    ("/api/v1/schedules/{schedule_id}/pause", &["post"]),
    ("/api/v1/schedules/{schedule_id}/resume", &["post"]),
    ("/api/v1/projections", &["get"]),
    ("/api/v1/projections/{name}", &["get"]),
    ("/api/v1/subjects/{subject}", &["delete"]),
    ("/api/v1/openapi.json", &["get"]),
    ("/api/public/v2/prompts", &["get"]),
    ("/api/public/v2/prompts/{prompt_name}", &["get"]),
    ("/api/public/health", &["get"]),
    ("/", &["get"]),
    ("/healthz", &["get"]),
    ("/readyz", &["get"]),
    ("/metrics", &["get"]),
];

#[test]
fn every_route_of_the_contract_is_described_and_no_other() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let described: BTreeSet<(String, BTreeSet<String>)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect()))
        .collect();
    let contract = ROUTES
        .iter()
        .map(|(path, methods)| ((*path).to_owned(), methods.iter().map(|method| (*method).to_owned()).collect()));
    assert_eq!(described, contract.collect());
}

#[test]
fn every_gated_route_needs_a_key_and_tells_its_problems() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let gated = path.starts_with("/api/v1/") && !path.ends_with("/openapi.json");
            let langfuse = path.starts_with("/api/public/v2/");
            assert_eq!(operation.get("security").is_some(), gated || langfuse, "{method} {path}");
            assert!(operation["responses"].get("default").is_some(), "{method} {path}");
            if gated {
                for status in ["401", "403", "422", "503"] {
                    let media = &operation["responses"][status]["content"]["application/problem+json"];
                    assert_eq!(media["schema"]["$ref"], "#/components/schemas/Problem", "{method} {path} {status}");
                }
                let parameters = operation["parameters"].as_array().unwrap();
                let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
                assert_eq!(has("Idempotency-Key"), method != "get", "{method} {path}");
                assert!(has("min_position") || method != "get", "{method} {path}");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
                Some(target) if key == "$ref" => drop(found.insert(target)),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => (),
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for target in found {
        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
    }
    let model = &document["components"]["schemas"]["ModelSpec"];
    assert!(model["properties"]["base_url"].is_object() && model["additionalProperties"] == json!(false), "{model}");
}

fn moment() -> Timestamp {
    Timestamp::EPOCH
}

fn rows() -> Vec<(&'static str, Value)> {
    let card = CardRow {
        id: PromptCardId(Uuid::nil()),
        title: String::new(),
        description: String::new(),
        prompt: String::new(),
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        created_by: ActorId(Uuid::nil()),
        created_at: moment(),
        updated_at: moment(),
        version: 1,
        is_public: false,
        archived: false,
        labels: std::collections::BTreeMap::new(),
        protected_labels: BTreeSet::new(),
        case_count: 0,
        revision: 1,
    };
    let version = VersionRow {
        version: 1,
        prompt: String::new(),
        model: None,
        message: String::new(),
        author: ActorId(Uuid::nil()),
        created_at: moment(),
    };
    let case = CaseRow {
        tags: vec!["dev".to_owned()],
        metadata: serde_json::Map::new(),
        id: TestCaseId(Uuid::nil()),
        name: String::new(),
        input: serde_json::Map::new(),
        expected_output: None,
        assertions: Vec::new(),
        threshold: None,
        subject: Some(subject()),
        created_at: moment(),
    };
    let prompt = Prompt {
        name: String::new(),
        card_id: PromptCardId(Uuid::nil()),
        version: 1,
        prompt: String::new(),
        model: None,
        labels: Vec::new(),
        message: String::new(),
        created_at: moment(),
    };
    let attempt = Attempt {
        attempt: 1,
        worker: String::new(),
        class: String::new(),
        error: String::new(),
        retry_at: None,
        at: moment(),
        subject: None,
    };
    vec![
        ("Card", serde_json::to_value(card).unwrap()),
        ("Version", serde_json::to_value(version).unwrap()),
        ("Case", serde_json::to_value(case).unwrap()),
        ("Prompt", serde_json::to_value(prompt).unwrap()),
        ("Lint", serde_json::to_value(lint()).unwrap()),
        ("Usage", serde_json::to_value(usage()).unwrap()),
        ("Attempt", serde_json::to_value(attempt).unwrap()),
        ("Run", serde_json::to_value(run()).unwrap()),
        ("Result", serde_json::to_value(result()).unwrap()),
        ("Projection", serde_json::to_value(projection()).unwrap()),
    ]
}

fn lint() -> Linted {
    let remark = LintRemark {
        severity: Severity::Warning,
        kind: Kind::NoCases,
        variable: None,
        cases: 0,
        example: None,
        message: String::new(),
    };
    let (variables, remarks) = (Vec::new(), vec![remark]);
    Linted { version: 1, variables, cases: 0, cases_checked: 0, has_errors: false, remarks }
}

fn usage() -> Usage {
    let last_run_id = TestRunId(Uuid::nil());
    let version = VersionUsage { version: 1, runs: 1, running: 0, last_run_id, last_requested_at: moment() };
    let (id, name, versions) = (ScheduleId(Uuid::nil()), String::new(), vec![1]);
    let schedule = ScheduleUsage { id, name, paused: false, last_run_id, versions };
    Usage { versions: vec![version], schedules: vec![schedule] }
}

fn projection() -> ProjectionState {
    let failure = Failure {
        position: 1,
        stream_id: Uuid::nil(),
        version: 1,
        event_type: String::new(),
        error: String::new(),
        at: None,
    };
    ProjectionState {
        name: String::new(),
        generation: String::new(),
        status: Status::Stopped,
        position: 0,
        lag_events: 0,
        lag_seconds: 0.0,
        updated_at: None,
        passed_over: 0,
        failures: 1,
        parked: 0,
        skipped: 0,
        policy: String::new(),
        owner: None,
        epoch: 1,
        failure: Some(failure),
    }
}

fn subject() -> pcs_domain::data_subject::Subject {
    pcs_domain::data_subject::Subject::open(pcs_domain::ids::SubjectId(Uuid::nil()))
}

fn run() -> Run {
    let model = ModelSummary {
        model: String::new(),
        executions: 0,
        passed: 0,
        failed: 0,
        errors: 0,
        pass_rate: None,
        latency_ms: Latency::default(),
        tokens: Tokens::default(),
        cost_usd: None,
    };
    Run {
        id: TestRunId(Uuid::nil()),
        name: String::new(),
        status: RunStatus::Running,
        card_id: PromptCardId(Uuid::nil()),
        card_revision: 1,
        versions: vec![1],
        models: Vec::new(),
        repeats: 1,
        cases: 1,
        lane: Lane::Std,
        requested_by: ActorId(Uuid::nil()),
        requested_at: moment(),
        ended_at: None,
        revision: 1,
        branch: None,
        commit: None,
        totals: Totals::default(),
        overrides: Overrides { to_passed: 0, to_failed: 0 },
        by_model: vec![model],
    }
}

fn result() -> ResultRow {
    ResultRow {
        grader: None,
        cached: false,
        execution_id: ExecutionId(Uuid::nil()),
        run_id: TestRunId(Uuid::nil()),
        card_id: PromptCardId(Uuid::nil()),
        version: 1,
        case_id: TestCaseId(Uuid::nil()),
        case_name: None,
        model: String::new(),
        repeat: 0,
        status: ResultStatus::Error,
        success: false,
        score: None,
        input: serde_json::Map::new(),
        output: None,
        verdicts: Vec::new(),
        latency_ms: None,
        input_tokens: None,
        output_tokens: None,
        cost_usd: None,
        error: Some(ResultError { class: String::new(), message: String::new() }),
        subject: Some(subject()),
        attempt: 1,
        worker: String::new(),
        executed_at: moment(),
        position: 1,
        overridden: Some(Override { passed: true, reason: String::new(), by: ActorId(Uuid::nil()), at: moment() }),
    }
}

fn playground_rows() -> Vec<(&'static str, Value)> {
    let cell = playground::Cell { job_id: JobId(Uuid::nil()), model: String::new(), case_id: None, input: None };
    let tried = json!(playground::TriedOut { cells: vec![cell] });
    let schemas = json!(case_schema::Schemas::default());
    vec![("Schemas", schemas), ("PlaygroundCell", tried["cells"][0].clone()), ("Playground", tried)]
}

#[test]
fn the_schemas_have_the_fields_that_answers_have() {
    let document = document();
    let mut compared = rows();
    compared.extend(jobs::rows());
    compared.extend(comparison::rows());
    compared.extend(regrades::rows());
    compared.extend(reviews::rows());
    compared.extend(langfuse::rows());
    compared.extend(playground_rows());
    let run = compared.iter().find(|(name, _)| *name == "Run").unwrap().1.clone();
    let projection = compared.iter().find(|(name, _)| *name == "Projection").unwrap().1.clone();
    let lint = compared.iter().find(|(name, _)| *name == "Lint").unwrap().1.clone();
    let usage = compared.iter().find(|(name, _)| *name == "Usage").unwrap().1.clone();
    compared.push(("VersionUsage", usage["versions"][0].clone()));
    compared.push(("ScheduleUsage", usage["schedules"][0].clone()));
    compared.push(("LintRemark", lint["remarks"][0].clone()));
    compared.push(("ProjectionFailure", projection["failure"].clone()));
    let result = compared.iter().find(|(name, _)| *name == "Result").unwrap().1.clone();
    compared.push(("Override", result["override"].clone()));
    compared.push(("Overrides", run["overrides"].clone()));
    compared.push(("Totals", run["totals"].clone()));
    compared.push(("ModelSummary", run["by_model"][0].clone()));
    compared.push(("Latency", run["by_model"][0]["latency_ms"].clone()));
    compared.push(("Tokens", run["by_model"][0]["tokens"].clone()));
    for (name, row) in compared {
        let schema = &document["components"]["schemas"][name];
        let described: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let real: BTreeSet<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(described, real, "{name}");
        let required: BTreeSet<String> = serde_json::from_value(schema["required"].clone()).unwrap();
        assert_eq!(required.iter().collect::<BTreeSet<_>>(), real, "required of {name}: answers leave nothing out");
    }
}
