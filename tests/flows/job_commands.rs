//! The commands of the job system, by the real program.

use std::process::Command;

use pcs_tests::eventually;
use pcs_tests::process::program;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

/// Runs the program; answers what it prints.
async fn ran(system: &TestSystem, arguments: &[&str]) -> String {
    ended(system, arguments, 0).await
}

/// Runs the program, which ends with a code; answers what it prints. Not in this thread, which the system needs.
async fn ended(system: &TestSystem, arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(program());
    command.args(arguments).env("PCS_URL", &system.url).env("PCS_API_KEY", &system.api_key);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is run").expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    out.into_owned()
}

/// The id that a command says it made: the second word.
fn made(text: &str) -> String {
    text.lines().next().and_then(|line| line.split(' ').nth(1)).expect("it says which").to_owned()
}

#[tokio::test]
async fn the_job_system_is_looked_at_and_steered_from_the_command_line() {
    let system = TestSystem::start().await;
    let cases: Value = (0..4).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": "x" })).collect();
    let card = system.card("Commanded", "{{q}}", cases).await;
    assert_eq!(ran(&system, &["jobs", "pause", "--lane", "bulk", "--reason", "night"]).await, "paused: lane bulk\n");
    let refusing = json!({ "id": "scripted:no", "script": { "refusals_per_mille": 1000 } });
    let run = system.run(&json!({ "card_id": card, "models": [refusing], "lane": "bulk" })).await;
    eventually("it is on the desk and held", || async {
        let shown = ran(&system, &["jobs", "queues"]).await;
        (shown.contains("bulk  scripted:no     1        4") && shown.contains("night")).then_some(())
    })
    .await;
    assert_eq!(ran(&system, &["jobs", "resume", "--lane", "bulk"]).await, "nothing is paused\n");
    assert_eq!(system.ended(&run).await["totals"]["errors"], 4);

    ran(&system, &["jobs", "limit", "scripted:no", "--concurrency", "2"]).await;
    assert!(ran(&system, &["jobs", "limits"]).await.contains("scripted:no"));
    ran(&system, &["jobs", "unlimit", "scripted:no"]).await;
    assert_eq!(ran(&system, &["jobs", "weight", "3"]).await, "weight 3\n");

    let dead = ran(&system, &["jobs", "dead", "--run", &run, "--json"]).await;
    let dead: Value = serde_json::from_str(&dead).expect("it is JSON");
    let one = dead["items"][0]["execution_id"].as_str().expect("a dead letter").to_owned();
    assert!(ran(&system, &["jobs", "dead", "--class", "content_filtered"]).await.contains(&one));
    assert!(ran(&system, &["jobs", "attempts", &one]).await.contains("content_filtered"));
    assert_eq!(ran(&system, &["jobs", "dismiss", &one]).await, "1 dead letters are dismissed\n");
    let two = dead["items"][1]["execution_id"].as_str().expect("another one");
    let redriven = ran(&system, &["jobs", "redrive", two]).await;
    assert!(redriven.ends_with("1 executions are run again\n"), "{redriven}");
    let retried = ran(&system, &["runs", "retry", &run, "--only", "errors"]).await;
    assert!(retried.ends_with("with 2 executions\n"), "{retried}");
    assert_eq!(system.ended(&made(&retried)).await["totals"]["errors"], 2);
    eventually("the fleet is known", || async {
        let shown = ran(&system, &["jobs", "fleet"]).await;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let scaling = shown.lines().any(|line| words(line) == ["test_execution", "0", "32", "0", "0.0"]);
        (shown.contains("broker up: yes") && scaling).then_some(())
    })
    .await;
    on_request(&system).await;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nightly.yaml");
    let nightly = format!(
        "name: nightly\ncron: 0 3 * * *\ntime_zone: Europe/Berlin\nrun:\n  card_id: {card}\n  models: [{{ id: echo }}]\n"
    );
    std::fs::write(&file, nightly).expect("it can be written");
    let schedule = made(&ran(&system, &["schedules", "create", &file.display().to_string()]).await);
    eventually("it is listed", || async {
        ran(&system, &["schedules", "list"]).await.contains(&schedule).then_some(())
    })
    .await;
    assert_eq!(ran(&system, &["schedules", "pause", &schedule]).await, format!("paused {schedule}\n"));
    assert_eq!(ran(&system, &["schedules", "delete", &schedule]).await, format!("deleted {schedule}\n"));
    system.stop().await;
}

async fn on_request(system: &TestSystem) {
    let input =
        r#"{"role": "assistant", "instructions": "Say it.", "model": {"id": "echo"}, "input": {"it": "hello"}}"#;
    let done = ran(system, &["jobs", "request", "swarm_agent", "--input", input, "--wait"]).await;
    assert!(done.starts_with("swarm_agent ") && done.contains(" finished\n") && done.contains("hello"), "{done}");
    let unknown = input.replace("assistant", "x");
    let lost = ended(system, &["jobs", "request", "swarm_agent", "--wait", "--input", &unknown], 1).await;
    assert!(lost.contains(" dead\n") && lost.contains("there is no agent of the role"), "{lost}");
    let listed = ran(system, &["jobs", "list", "--kind", "swarm_agent", "--status", "dead"]).await;
    let job = listed.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a dead job").to_owned();
    assert!(ran(system, &["jobs", "show", &job]).await.contains("bad_request"));
    assert_eq!(ran(system, &["jobs", "again", &job]).await, format!("job {job} is waiting\n"));
    let later = ["jobs", "request", "swarm_agent", "--input", input, "--not-before", "2126-01-01T00:00:00Z"];
    let asked = ran(system, &later).await;
    let later = asked.split_whitespace().nth(1).expect("its id").to_owned();
    assert_eq!(ran(system, &["jobs", "cancel", &later]).await, format!("job {later} is cancelled\n"));
}
