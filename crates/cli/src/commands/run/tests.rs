//! `pcs run` from the suite to the exit code, against a server that plays its part.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::interrupt::Interrupts;
use super::{RunArgs, select};
use crate::client::fake_server::{Asked, FakeServer, Reply};
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::tests::captured;
use crate::suite::Suite;

const SUITE: &str = "name: Demo
card: { title: Demo card, prompt: 'Say {{word}}' }
models:
  - { id: 'recorded:a', label: a }
  - { id: 'recorded:b', label: b }
cases:
  - { input: { word: x } }
  - { input: { word: y }, name: second }
";
const RUN: &str = "0192aaaa-0000-7000-8000-000000000001";
const BEFORE: &str = "0192aaaa-0000-7000-8000-000000000000";

fn model(name: &str, passed: u64, executions: u64, cost: Value) -> Value {
    json!({
        "model": name, "executions": executions, "passed": passed, "failed": executions - passed, "errors": 0,
        "pass_rate": 0.1, "latency_ms": { "p50": 12, "p95": 3456 }, "tokens": { "input": 10, "output": 3 }, "cost_usd": cost,
    })
}

fn run(status: &str) -> Value {
    json!({
        "id": RUN, "name": "Demo", "status": status, "card_id": "c1", "versions": [1], "ended_at": null,
        "totals": { "planned": 2638, "executions": 2638, "passed": 744, "failed": 1894, "errors": 0 },
        "by_model": [model("a", 286, 1319, json!(0.25)), model("b", 458, 1319, json!(null))],
    })
}

fn regressed() -> Value {
    let cases = json!({ "compared": 2, "only_in_baseline": 0, "only_in_candidate": 0, "changed": 0, "unanswered": 0 });
    let arm = json!({ "run_id": RUN, "baseline": { "version": 1, "model": "a" }, "candidate": { "version": 2, "model": "a" }, "cases": cases,
        "verdict": { "is": "regressed", "more_repeats": null }, "metrics": [], "regressions": [], "improvements": [] });
    json!({ "run_id": RUN, "baseline_run_id": BEFORE, "final_results": true, "comparisons": [arm] })
}

/// A server whose card is as said, and whose run is running at the first look and then as said.
fn server(card: Option<Value>, case_count: u64, ends: &'static str) -> FakeServer {
    let mut looks = 0;
    let known = json!({ "id": "c1", "title": "Demo card", "prompt": "Say {{word}}", "version": 1, "revision": 4 });
    FakeServer::start(Box::new(move |asked: &Asked| {
        let (method, path) = asked.line.split_once(" /api/v1/").unwrap();
        match (method, path.split('?').next().unwrap()) {
            ("GET", "cards") => {
                Reply::json(200, json!({ "items": card.iter().collect::<Vec<_>>(), "next_cursor": null }))
            }
            ("GET", "cards/c1") => Reply::json(200, card.clone().unwrap()),
            ("POST", "cards") => Reply::json(201, known.clone()).with("pcs-position", "5"),
            ("PATCH", "cards/c1") => {
                Reply::json(200, json!({ "id": "c1", "title": "Demo card", "version": 2, "revision": 5 }))
            }
            ("POST", "cards/c1/cases") => {
                Reply::json(200, json!({ "added": 2, "case_ids": ["i1", "i2"], "case_count": case_count }))
                    .with("pcs-position", "7")
            }
            ("POST", "runs") => Reply::json(202, run("running")).with("pcs-position", "9"),
            ("POST", _) => Reply::json(202, run("cancelled")).with("pcs-position", "11"),
            // A card that was there before has a run.
            ("GET", "runs") => {
                let before: Vec<Value> = card.iter().map(|_| json!({ "id": BEFORE, "versions": [1] })).collect();
                Reply::json(200, json!({ "items": before, "next_cursor": null }))
            }
            ("GET", path) if path.ends_with("/comparison") => Reply::json(200, regressed()),
            ("GET", path) if path.ends_with("/results") => {
                let results = vec![
                    json!({ "case_name": "case 1", "model": "a", "status": "passed", "success": true, "score": 1.0, "hidden": 7 });
                    2638
                ];
                Reply::json(200, json!({ "items": results, "next_cursor": null }))
            }
            _ => {
                looks += 1;
                Reply::json(200, run(if looks == 1 { "running" } else { ends }))
            }
        }
    }))
}

fn args() -> RunArgs {
    RunArgs {
        provider_map: Vec::new(),
        require_passes: None,
        tags: Vec::new(),
        sample: None,
        sample_seed: 0,
        allow_unsupported: false,
        suite: PathBuf::new(),
        models: Vec::new(),
        repeat: None,
        case: None,
        name: None,
        lane: None,
        branch: None,
        baseline: None,
        fail_on: Vec::new(),
        fail_below: None,
        timeout: None,
        json: false,
        results: false,
        summary: None,
        output: None,
    }
}

fn suite(args: &RunArgs) -> Result<Suite, CliError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, SUITE).unwrap();
    select::apply(Suite::load(&path).unwrap(), args)
}

/// Runs it; gives the exit status, stdout and stderr.
async fn ran(server: &FakeServer, args: &RunArgs) -> (Result<ExitStatus, CliError>, String, String) {
    let (mut output, out, err) = captured();
    let (_told, never) = mpsc::unbounded_channel();
    let suite = suite(args).unwrap();
    let ended = args.against(&server.api(), &suite, &mut output, &mut Interrupts::Told(never)).await;
    (ended, out.text(), err.text())
}

#[tokio::test]
async fn a_first_run_makes_the_card_and_prints_the_table() {
    let server = server(None, 2, "completed");
    let (ended, out, err) = ran(&server, &args()).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    assert_eq!(err, "created the card \"Demo card\" (c1)\ncases: 2 added, 0 changed\n");
    let (table, time) = out.rsplit_once("2638 executions in ").unwrap();
    assert!(time.ends_with(" s\n"), "{time}");
    assert_eq!(
        table,
        format!(
            "Demo: run {RUN} completed\n\n\
             model    passed  pass rate  failed  errors    p50     p95  tokens in/out     cost\n\
             a      286/1319    21.68 %    1033       0  12 ms  3.46 s           10/3  $0.2500\n\
             b      458/1319    34.72 %     861       0  12 ms  3.46 s           10/3        -\n\
             total  744/2638    28.20 %    1894       0                          20/6        -\n\n"
        )
    );
    let asked = server.asked();
    let position = |line: &str| line.split_once("min_position=").map(|(_, position)| position.to_owned());
    let looks: Vec<_> = asked.iter().filter(|asked| asked.line.starts_with("GET /api/v1/runs/")).collect();
    assert_eq!(looks.len(), 2);
    assert_eq!(position(&looks[0].line).as_deref(), Some("9"));
    let mut request = asked.iter().find(|asked| asked.line == "POST /api/v1/runs").unwrap().json();
    // Where these tests run, there may be a repository or none.
    drop(request.as_object_mut().unwrap().remove("source"));
    assert_eq!(
        request,
        json!({
            "card_id": "c1", "name": "Demo", "versions": [1], "repeats": 1, "lane": "std", "assertions": [],
            "models": [{ "id": "recorded:a", "label": "a" }, { "id": "recorded:b", "label": "b" }],
        })
    );
}

#[tokio::test]
async fn a_changed_prompt_is_a_revision_and_other_cases_of_the_card_do_not_run() {
    let card = json!({ "id": "c1", "title": "Demo card", "prompt": "old", "version": 1, "revision": 4 });
    let server = server(Some(card), 3, "completed");
    let (ended, _, err) = ran(&server, &args()).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    assert!(err.starts_with("revised the card \"Demo card\": version 2\n"), "{err}");
    let asked = server.asked();
    let change = asked.iter().find(|asked| asked.line.starts_with("PATCH")).unwrap();
    assert_eq!(change.headers["if-match"], "\"4\"");
    assert_eq!(change.json()["prompt"], "Say {{word}}");
    assert!(change.json()["message"].as_str().unwrap().starts_with("from suite "));
    let request = asked.iter().find(|asked| asked.line == "POST /api/v1/runs").unwrap().json();
    assert_eq!((&request["versions"], &request["case_ids"]), (&json!([2]), &json!(["i1", "i2"])));
}

#[tokio::test]
async fn a_run_that_is_worse_than_its_baseline_fails_the_gate_that_was_asked_for() {
    let card = json!({ "id": "c1", "title": "Demo card", "prompt": "old", "version": 1, "revision": 4 });
    let against = |fail_on: &[&str]| RunArgs {
        baseline: Some("last".to_owned()),
        fail_on: fail_on.iter().map(|what| (*what).to_owned()).collect(),
        ..args()
    };
    let server = server(Some(card), 2, "completed");
    let (ended, out, err) = ran(&server, &against(&["regressed"])).await;
    assert_eq!(ended.unwrap(), ExitStatus::GateFailed);
    assert!(out.contains("version 2 with a against version 1 with a: regressed\n2 cases compared\n"), "{out}");
    assert!(err.ends_with(&format!("gate failed: worse than run {BEFORE}, or not to be compared with it\n")), "{err}");
    let asked: Vec<String> = server.lines();
    assert!(
        asked.contains(&format!("GET /api/v1/runs/{RUN}/comparison?baseline={BEFORE}&level=0.05&min_position=9")),
        "{asked:?}"
    );
    // The baseline is known before the run is asked for: a mistake in it costs nothing.
    let place = |wanted: &str| asked.iter().position(|line| line.starts_with(wanted)).unwrap();
    assert!(place("GET /api/v1/runs?") < place("POST /api/v1/runs"));
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    let told = RunArgs { summary: Some(summary.clone()), ..against(&["cost"]) };
    assert_eq!(ran(&server, &told).await.0.unwrap(), ExitStatus::Success);
    let summary = std::fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("before\n### Demo: completed\n\n| model | passed |"), "{summary}");
    assert!(summary.contains("### \u{274c} version 2 with a against version 1 with a: regressed\n"), "{summary}");
    assert_eq!(ran(&server, &against(&[])).await.0.unwrap(), ExitStatus::Success);
}

#[tokio::test]
async fn a_first_run_has_nothing_to_be_compared_with() {
    let server = server(None, 2, "completed");
    let gated = RunArgs { baseline: Some("last".to_owned()), fail_on: vec!["regressed".to_owned()], ..args() };
    let (ended, _, err) = ran(&server, &gated).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    assert!(err.contains("there is nothing to compare it with"), "{err}");
    let mistaken = RunArgs { baseline: Some("yesterday".to_owned()), ..args() };
    assert_eq!(ran(&server, &mistaken).await.0.unwrap_err().exit_status(), ExitStatus::WrongUse);
}

#[tokio::test]
async fn json_is_one_object_and_nothing_else() {
    let server = server(None, 2, "completed");
    let (ended, out, _) = ran(&server, &RunArgs { json: true, ..args() }).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        report,
        json!({
            "run_id": RUN, "status": "completed",
            "totals": { "executions": 2638, "passed": 744, "failed": 1894, "errors": 0 },
            "by_model": [
                { "model": "a", "executions": 1319, "passed": 286, "failed": 1033, "errors": 0, "pass_rate": 0.2168,
                  "latency_ms": { "p50": 12, "p95": 3456 }, "tokens": { "input": 10, "output": 3 }, "cost": 0.25 },
                { "model": "b", "executions": 1319, "passed": 458, "failed": 861, "errors": 0, "pass_rate": 0.3472,
                  "latency_ms": { "p50": 12, "p95": 3456 }, "tokens": { "input": 10, "output": 3 }, "cost": null },
            ],
        })
    );
}

#[tokio::test]
async fn results_go_into_the_json_and_the_file_as_the_server_has_them() {
    let server = server(None, 2, "completed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let asked = RunArgs { json: true, results: true, output: Some(file.clone()), ..args() };
    let (ended, out, _) = ran(&server, &asked).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["results"].as_array().unwrap().len(), 2638);
    assert_eq!((&report["results"][0]["hidden"], &report["results"][0]["score"]), (&json!(7), &json!(1.0)));
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap(), report);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_gate_decides_the_exit_code() {
    for (least, expected) in [(0.28, ExitStatus::Success), (0.283, ExitStatus::GateFailed)] {
        let server = server(None, 2, "completed");
        let (ended, _, err) = ran(&server, &RunArgs { fail_below: Some(least), ..args() }).await;
        assert_eq!(ended.unwrap(), expected);
        let said = err.contains("gate failed: 28.20 % passed, and at least 28.30 % were demanded\n");
        assert_eq!(said, expected == ExitStatus::GateFailed, "{err}");
    }
}

#[tokio::test]
async fn a_run_that_somebody_else_cancels_is_a_failure_of_the_system() {
    let (ended, out, err) = ran(&server(None, 2, "cancelled"), &RunArgs { fail_below: Some(0.0), ..args() }).await;
    assert_eq!(ended.unwrap(), ExitStatus::SystemFailed);
    assert!(out.contains("cancelled") && err.ends_with("the run was cancelled before its end\n"), "{err}");
}

#[tokio::test]
async fn a_run_that_takes_too_long_goes_on_without_us() {
    let (ended, _, _) = ran(&server(None, 2, "running"), &RunArgs { timeout: Some(1), ..args() }).await;
    let error = ended.unwrap_err();
    assert_eq!(error.exit_status(), ExitStatus::SystemFailed);
    assert!(
        error.to_string().starts_with(&format!("the run {RUN} has not ended within 1 s\n  mend: it goes on: ")),
        "{error}"
    );
}

#[tokio::test]
async fn ctrl_c_cancels_the_run_on_the_server() {
    let server = server(None, 2, "running");
    let (mut output, _out, err) = captured();
    let (tell, told) = mpsc::unbounded_channel();
    let args = args();
    let (suite, api) = (suite(&args).unwrap(), server.api());
    let mut interrupts = Interrupts::Told(told);
    let ended = args.against(&api, &suite, &mut output, &mut interrupts);
    let pressed = async {
        while !server.lines().contains(&"POST /api/v1/runs".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tell.send(()).unwrap();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! { ended = ended => ended, () = pressed => panic!("it never ends") };
    assert_eq!(ended.unwrap(), ExitStatus::Interrupted);
    assert!(server.lines().contains(&format!("POST /api/v1/runs/{RUN}/cancel")));
    assert!(err.text().contains("cancelling the run; Ctrl-C again to leave at once\n"));
}

#[tokio::test]
async fn an_archived_card_and_several_cards_of_one_title_are_not_guessed_about() {
    let archived = json!({ "id": "c9", "title": "Demo card", "archived": true });
    let mut replies = vec![Reply::json(200, json!({ "items": [], "next_cursor": null }))];
    replies.push(Reply::json(200, json!({ "items": [archived], "next_cursor": null })));
    let (ended, _, _) = ran(&FakeServer::in_order(replies), &args()).await;
    let error = ended.unwrap_err();
    assert_eq!(error.exit_status(), ExitStatus::WrongUse);
    assert_eq!(
        error.to_string(),
        "the card \"Demo card\" (c9) is archived\n  mend: `pcs card restore c9`, or give the suite's card another title"
    );
    let two = json!({ "items": [{ "id": "c1" }, { "id": "c2" }], "next_cursor": null });
    let (ended, _, _) = ran(&FakeServer::in_order(vec![Reply::json(200, two)]), &args()).await;
    assert!(ended.unwrap_err().to_string().starts_with("several cards have the title \"Demo card\": c1, c2\n"));
}

#[test]
fn the_command_line_changes_the_suite() {
    let asked = RunArgs {
        models: vec!["b".to_owned()],
        repeat: Some(3),
        case: Some("sec*".to_owned()),
        name: Some("nightly".to_owned()),
        lane: Some("bulk".to_owned()),
        ..args()
    };
    let changed = suite(&asked).unwrap();
    assert_eq!((changed.executions(), changed.name.as_str(), changed.lane.name()), (3, "nightly", "bulk"));
    let none = suite(&RunArgs { case: Some("x*".to_owned()), ..args() }).unwrap_err();
    assert!(none.to_string().starts_with("none of the 2 cases has a name like \"x*\": the matrix is empty"));
}

#[test]
fn an_output_that_can_not_be_written_is_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("no/such/report.json")] {
        assert_eq!(super::report_file::check(&path).unwrap_err().exit_status(), ExitStatus::WrongUse);
    }
    super::report_file::check(&folder.path().join("report.json")).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_share_is_between_0_and_1() {
    assert_eq!(super::share("0.9"), Ok(0.9));
    for wrong in ["90", "-0.1", "NaN", "x"] {
        assert!(super::share(wrong).is_err(), "{wrong}");
    }
}
