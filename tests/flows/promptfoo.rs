//! A configuration of promptfoo's, run by the real program on the whole system.

use pcs_tests::system::TestSystem;
use serde_json::Value;

use crate::program::ran;

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_runs_as_it_is() {
    let system = TestSystem::start().await;
    let arguments = ["run", "examples/promptfoo", "--provider-map", "openai:*=echo", "--json", "--results"];
    let (code, out, err) = ran(&system, &arguments).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    // Two prompts, one model, two rows of a table and two values of a list.
    assert_eq!(report["totals"]["executions"], 8, "{out}");
    assert_eq!(report["totals"]["passed"], 8, "{out}");
    let results = report["results"].as_array().expect("results");
    let chats = results.iter().filter(|result| result["output"].as_str().expect("an output").starts_with('['));
    assert_eq!(chats.count(), 4);
    assert!(results.iter().all(|result| result["verdicts"][0]["type"] == "javascript"), "{out}");
    // Again, the prompts are there already.
    let cards = system.get("/cards?title=Capitals,%20from%20promptfoo").await.expect(200).body;
    let before = cards["items"][0]["version"].clone();
    assert_eq!(ran(&system, &arguments).await.0, 0);
    let cards = system.get("/cards?title=Capitals,%20from%20promptfoo").await.expect(200).body;
    assert_eq!((&cards["items"][0]["version"], &before), (&Value::from(2), &Value::from(2)));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_is_told_with_its_line() {
    let system = TestSystem::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("promptfooconfig.yaml");
    let text =
        "prompts: ['{{q}}']\nproviders: [echo]\ntests:\n  - vars: {q: a}\n    assert: [{type: ruby, value: 'true'}]\n";
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    for arguments in [vec!["run", &path], vec!["run", &path, "--allow-unsupported"], vec!["suite", "check", &path]] {
        let (code, out, err) = ran(&system, &arguments).await;
        assert_eq!(code, 2, "{out}{err}");
        assert!(err.contains(&format!("{path}:5:")) && err.contains("ruby"), "{err}");
    }
    let written = folder.path().join("results.jsonl");
    let with_output =
        format!("outputPath: results.jsonl\n{}", text.replace("ruby, value: 'true'", "contains, value: a"));
    std::fs::write(&file, with_output).expect("a file");
    assert_eq!(ran(&system, &["run", &path]).await.0, 0);
    let results = std::fs::read_to_string(&written).expect("the results are where `outputPath` says");
    assert_eq!(results.lines().count(), 1, "{results}");
    std::fs::write(
        &file,
        text.replace("ruby, value: 'true'", "contains, value: a").replace("echo]", "echo, 'bedrock:x']"),
    )
    .expect("a file");
    let (code, out, _) = ran(&system, &["suite", "check", &path]).await;
    assert!(code == 1 && out.contains("unsupported") && out.contains("1 items can't be done here"), "{out}");
    assert_eq!(ran(&system, &["run", &path]).await.0, 2);
    assert_eq!(ran(&system, &["run", &path, "--allow-unsupported"]).await.0, 0);
    system.stop().await;
}

const RESTRICTED: &str = "
description: Restricted
prompts:
  - { id: plain, label: short, raw: 'Say {{q}}' }
  - { label: polite, raw: 'Please say {{q}}' }
providers:
  - echo
  - { id: 'scripted', label: second, prompts: [polite] }
defaultTest: { assert: [{ type: contains, value: '{{q}}', metric: said }] }
tests:
  - { vars: { q: one } }
  - { vars: { q: two }, providers: ['sec*'], prompts: [polite] }
  - { vars: { q: three }, options: { repeat: 3 }, providers: [echo] }
derivedMetrics: [{ name: share, value: 'said / __count' }]
";

#[tokio::test(flavor = "multi_thread")]
async fn tests_meet_the_prompts_and_models_that_they_name_and_metrics_are_derived() {
    let system = TestSystem::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("promptfooconfig.yaml");
    std::fs::write(&file, RESTRICTED).expect("a file");
    let path = file.display().to_string();
    let (code, out, err) = ran(&system, &["run", &path, "--json", "--results"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    // one: both prompts with echo, the polite one with the second; two: that one; three: both prompts, three times.
    assert_eq!(report["totals"]["executions"], 3 + 1 + 6, "{out}");
    assert_eq!(report["status"], "completed");
    let mut cells: Vec<(String, String)> = Vec::new();
    for result in report["results"].as_array().expect("results") {
        cells
            .push((result["model"].as_str().expect("a model").into(), result["output"].as_str().expect("text").into()));
    }
    cells.sort();
    cells.dedup();
    let cell = |model: &str, output: &str| (model.to_owned(), output.to_owned());
    let expected = [
        cell("echo", "Please say one"),
        cell("echo", "Please say three"),
        cell("echo", "Say one"),
        cell("echo", "Say three"),
        cell("second", "Please say one"),
        cell("second", "Please say two"),
    ];
    assert_eq!(cells, expected);
    let metrics = report["metrics"].as_array().expect("metrics");
    assert!(metrics.iter().any(|metric| metric["name"] == "share" && metric["value"] == 1.0), "{out}");
    // What is left out is not there to be run again either.
    let run = report["run_id"].as_str().expect("an id");
    let shown = system.read(&format!("/runs/{run}")).await.expect(200).body;
    assert_eq!(shown["totals"]["planned"], 10);
    let retried = system.post(&format!("/runs/{run}/retry"), &serde_json::json!({})).await;
    assert_eq!(retried.expect(409).code(), "nothing_to_retry");
    system.stop().await;
}
