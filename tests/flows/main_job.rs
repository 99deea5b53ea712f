//! The main job on real input: GSM8K through the real program, as the README shows it.

use std::process::{Command, Output};

use pcs_tests::process::{Process, processes_naming, program};
use pcs_tests::{eventually, repository};
use serde_json::Value;

/// What the data set's own flags say: model, right answers of 1,319.
const EXPECTED: [(&str, u64); 4] =
    [("6b_finetuning", 286), ("6b_verification", 515), ("175b_finetuning", 458), ("175b_verification", 742)];

fn pcs(local: &std::path::Path, arguments: &[&str]) -> Output {
    let credentials = std::fs::read_to_string(local.join("credentials.json")).expect("the credentials are kept");
    let credentials: Value = serde_json::from_str(&credentials).expect("they are JSON");
    Command::new(program())
        .args(arguments)
        .current_dir(repository())
        .env("PCS_URL", credentials["url"].as_str().expect("an address"))
        .env("PCS_API_KEY", credentials["api_key"].as_str().expect("a key"))
        .output()
        .expect("the program runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn gsm8k_passes_as_often_as_its_flags_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (local, log) = (folder.path().join("local"), folder.path().join("up.log"));
    let local_dir = local.display().to_string();
    let cache = pcs_tests::cache_dir().display().to_string();
    let arguments = ["up", "--no-demo", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
    let mut up = Process::start(&arguments, &[("PCS_CACHE_DIR", &cache)], &log);
    let read_log = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("pcs up is ready", || {
        assert!(up.is_running(), "pcs up ended:\n{}", read_log());
        let ready = read_log().contains("ready at");
        async move { ready.then_some(()) }
    })
    .await;

    let report_file = folder.path().join("report.json").display().to_string();
    let output = pcs(&local, &["run", "examples/gsm8k/suite.yaml", "--json", "--output", &report_file]);
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), read_log());
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert_eq!(report["status"], "completed");
    assert_eq!(report["totals"]["executions"], 5_276);
    let passed: Vec<(String, u64)> = report["by_model"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (row["model"].as_str().unwrap_or_default().to_owned(), row["passed"].as_u64().unwrap_or_default()))
        .collect();
    assert_eq!(passed, EXPECTED.map(|(model, count)| (model.to_owned(), count)));
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&report_file).expect("a report")).expect("JSON");
    assert_eq!(written["results"].as_array().map(Vec::len), Some(5_276));

    let gate = pcs(&local, &["run", "examples/gsm8k/suite.yaml", "--model", "6b_finetuning", "--fail-below", "0.9"]);
    assert_eq!(gate.status.code(), Some(1), "the gate fails");
    let table = String::from_utf8_lossy(&gate.stdout).into_owned();
    assert!(table.contains("286") && table.contains("21.68"), "{table}");

    up.signal(nix::sys::signal::Signal::SIGTERM);
    let status = up.wait();
    assert!(status.success(), "{status}: {}", read_log());
    assert_eq!(processes_naming(&local_dir), Vec::<String>::new(), "processes are left");
}

#[tokio::test]
async fn bad_suites_end_with_2_and_say_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = folder.path().join("suite.yaml");
    let run = |text: &str| {
        std::fs::write(&suite, text).expect("the suite is written");
        let output = Command::new(program())
            .args(["run", &suite.display().to_string()])
            .current_dir(folder.path())
            .env_remove("PCS_URL")
            .output()
            .expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let good = "name: n\ncard:\n  title: t\n  prompt: 'hello {{x}}'\nmodels: [echo]\ncases:\n- input: {x: 1}\n";
    for (text, place) in [
        (format!("{good}modles: []\n"), "suite.yaml:8"),
        (good.replace("{x: 1}", "{y: 1}"), "x"),
        (good.replace("models: [echo]", "models: []"), "suite.yaml:5"),
        (good.replace("models: [echo]", "models: 7"), "suite.yaml:5"),
        ("name: [".to_owned(), "suite.yaml"),
    ] {
        let (code, message) = run(&text);
        assert_eq!(code, Some(2), "{text}\n{message}");
        assert!(message.contains(place), "{text}\n{message}");
    }
    let (code, message) = run(good);
    assert_eq!(code, Some(2), "no server is known: {message}");
    assert!(message.contains("pcs up"), "{message}");
}
