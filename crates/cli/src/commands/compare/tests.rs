//! What a comparison looks like, which baseline it is with, and when a gate fails.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::client::fake_server::{FakeServer, Reply};
use crate::commands::output::tests::captured;

const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";
const BEFORE: &str = "0192aaaa-0000-7000-8000-0000000000f1";
const CARD: &str = "0192aaaa-0000-7000-8000-0000000000ca";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    compare: Compare,
}

async fn ran(server: &FakeServer, line: &[&str]) -> (Result<ExitStatus, CliError>, String) {
    let (mut output, out, _) = captured();
    let parsed = Line::try_parse_from(["compare", RUN].iter().chain(line)).unwrap_or_else(|error| panic!("{error}"));
    let ended = parsed.compare.against(&server.api(), &mut output).await;
    (ended, out.text())
}

fn metric(name: &str, numbers: [f64; 3], is: &str) -> Value {
    let [baseline, candidate, difference] = numbers;
    json!({ "name": name, "better": "higher", "test": "sign", "cases": 4, "baseline": baseline, "candidate": candidate,
        "difference": difference, "interval": [difference - 0.1, difference + 0.1], "better_cases": 0, "worse_cases": 2,
        "p_value": 0.01, "p_adjusted": 0.02, "verdict": { "is": is, "more_repeats": null } })
}

fn comparison() -> Value {
    let changed = json!({ "case_id": "c1", "case_name": "a | <b>", "baseline": { "answered": 3, "passed": 3, "errors": 0 },
        "candidate": { "answered": 3, "passed": 0, "errors": 0 } });
    json!({ "run_id": RUN, "baseline_run_id": BEFORE, "final_results": true, "level": 0.05, "comparisons": [{
        "run_id": RUN, "baseline": { "version": 1, "model": "echo" }, "candidate": { "version": 2, "model": "echo" },
        "cases": { "compared": 4, "only_in_baseline": 0, "only_in_candidate": 1, "changed": 0, "unanswered": 0 },
        "verdict": { "is": "regressed", "more_repeats": null },
        "metrics": [metric("pass", [1.0, 0.5, -0.5], "regressed"), metric("cost_usd", [0.1, 0.1, 0.0], "no_evidence")],
        "regressions": [changed], "improvements": [] }] })
}

/// A server with a run, one before it, a later one, and their comparison.
fn server() -> FakeServer {
    FakeServer::start(Box::new(|asked| {
        let run = |id: &str, at: &str| json!({ "id": id, "card_id": CARD, "requested_at": at, "versions": [1, 2] });
        if asked.line.contains("/comparison") {
            return Reply::json(200, comparison());
        }
        if asked.line.contains("/results?") {
            let says = if asked.line.contains(BEFORE) { "one\ntwo\n```\n" } else { "one\nthree\n```\n" };
            let verdict = json!({ "type": "contains", "passed": false, "score": 0.0, "reason": "no two" });
            let result = json!({ "case_id": "c1", "model": "echo", "version": 1, "repeat": 1, "output": says, "verdicts": [verdict] });
            return Reply::json(200, json!({ "items": [result], "next_cursor": null }));
        }
        if asked.line.contains("/runs?") {
            let later = run("0192aaaa-0000-7000-8000-0000000000f9", "2026-01-03T00:00:00Z");
            let items = [later, run(RUN, "2026-01-02T00:00:00Z"), run(BEFORE, "2026-01-01T00:00:00Z")];
            return Reply::json(200, json!({ "items": items, "next_cursor": null }));
        }
        Reply::json(200, run(RUN, "2026-01-02T00:00:00Z"))
    }))
}

#[tokio::test]
async fn a_comparison_is_shown_with_its_verdict() {
    let server = server();
    let (ended, out) = ran(&server, &["--baseline", BEFORE]).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    assert_eq!(
        out,
        "version 2 with echo against version 1 with echo: regressed\n\
         4 cases compared; 1 new\n\
         \n\
         metric    baseline  candidate  difference           95 % interval  better  worse  verdict\n\
         pass      100.00 %    50.00 %    -50.00 %    -60.00 % to -40.00 %       0      2  regressed (p 0.0200)\n\
         cost_usd  0.100000   0.100000    0.000000  -0.100000 to +0.100000       0      2  no evidence (p 0.0200)\n\
         \n\
         worse    baseline  candidate\n\
         a | <b>       3/3        0/3\n\
         and 1 more\n"
    );
    let asked = server.lines();
    assert_eq!(asked.last().unwrap(), &format!("GET /api/v1/runs/{RUN}/comparison?baseline={BEFORE}&level=0.05"));
}

#[tokio::test]
async fn answers_that_changed_are_shown_line_by_line() {
    let (_, out) = ran(&server(), &["--baseline", BEFORE, "--outputs", "2"]).await;
    assert!(out.contains("\na | <b> with echo, repeat 1\nfailed: no two\n--- baseline\n+++ candidate\n"), "{out}");
    assert!(out.contains("\n one\n-two\n+three\n"), "{out}");
    let (_, page) = ran(&server(), &["--baseline", BEFORE, "--outputs", "2", "--markdown"]).await;
    assert!(page.contains("````diff\n--- baseline\n") && page.contains(" ```\n````\n"), "{page}");
    let (_, json) = ran(&server(), &["--baseline", BEFORE, "--outputs", "2", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["outputs"][0]["candidate"], "one\nthree\n```\n");
}

#[tokio::test]
async fn the_run_before_is_the_baseline_where_none_is_named() {
    let server = server();
    assert_eq!(ran(&server, &["--json"]).await.0.unwrap(), ExitStatus::Success);
    assert!(server.lines().last().unwrap().contains(&format!("baseline={BEFORE}")), "{:?}", server.lines());
}

#[tokio::test]
async fn gates_fail_on_what_they_are_told() {
    let server = server();
    assert_eq!(ran(&server, &["--fail-on", "regressed"]).await.0.unwrap(), ExitStatus::GateFailed);
    assert_eq!(ran(&server, &["--fail-on", "cost", "--fail-on", "latency"]).await.0.unwrap(), ExitStatus::Success);
}

#[tokio::test]
async fn a_run_of_which_nothing_can_be_compared_does_not_pass_for_one_that_is_no_worse() {
    let server = FakeServer::start(Box::new(|_| {
        let mut nothing = comparison();
        let arm = &mut nothing["comparisons"][0];
        arm["verdict"] = json!({ "is": "no_evidence", "more_repeats": null });
        arm["cases"]["compared"] = json!(0);
        (arm["metrics"], arm["regressions"]) = (json!([]), json!([]));
        Reply::json(200, nothing)
    }));
    let gated = ran(&server, &["--baseline", BEFORE, "--fail-on", "regressed"]).await;
    assert_eq!(gated.0.unwrap(), ExitStatus::GateFailed);
    assert_eq!(ran(&server, &["--baseline", BEFORE]).await.0.unwrap(), ExitStatus::Success);
}

#[tokio::test]
async fn markdown_has_no_markup_of_somebody_else() {
    let (_, out) = ran(&server(), &["--markdown"]).await;
    assert!(out.starts_with("### \u{274c} version 2 with echo against version 1 with echo: regressed\n"), "{out}");
    assert!(out.contains("| a \\| &lt;b> | 3/3 | 0/3 |\n"), "{out}");
    assert!(out.contains("| pass | 100.00 % | 50.00 % | -50.00 % |"), "{out}");
}
