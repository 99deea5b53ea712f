//! Relays as processes of their own: one leads, and another one follows when it is gone or frozen.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pcs_domain::ports::{Clock, System};
use pcs_tests::database::MASTER_KEYS;
use pcs_tests::eventually;
use pcs_tests::process::Process;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

/// The longest time without a scheduler that is allowed.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);

fn start(system: &TestSystem, arguments: &[&str], folder: &std::path::Path) -> Process {
    let environment =
        [("DATABASE_URL", system.database_url.as_str()), ("NATS_URL", system.broker.url()), ("PCS_KEYS", MASTER_KEYS)];
    Process::start(arguments, &environment, &folder.join("log"))
}

async fn term(system: &TestSystem) -> i64 {
    sqlx::query_scalar("select case when expires_at > clock_timestamp() then term else 0 end from jobs.leader")
        .fetch_one(system.store.pool())
        .await
        .expect("the desk answers")
}

/// Waits for another term than this one; answers it.
async fn next_term(system: &TestSystem, after: i64) -> i64 {
    eventually("somebody leads", || async {
        let now = term(system).await;
        (now > after).then_some(now)
    })
    .await
}

async fn run(system: &TestSystem, executions: usize) -> String {
    let cases: Value =
        (0..executions).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() })).collect();
    let card = system.card("Work", "{{q}}", cases).await;
    let model = json!({ "id": "scripted:m", "script": { "latency_ms": 20 } });
    system.run(&json!({ "card_id": card, "models": [model] })).await
}

#[tokio::test]
async fn j56_a_leader_that_is_frozen_is_followed_within_five_seconds_and_refused_when_it_wakes() {
    let system = TestSystem::start_without_relay().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(&system, &["relay"], folder.path());
    let _worker = start(&system, &["work", "--slots", "4"], folder.path());
    let led = next_term(&system, 0).await;
    let _second = start(&system, &["relay"], folder.path());
    let running = run(&system, 400).await;
    eventually("it is on its way", || async {
        let shown = system.get(&format!("/runs/{running}")).await.body;
        (shown["totals"]["executions"].as_u64() > Some(0)).then_some(())
    })
    .await;
    first.signal(Signal::SIGSTOP);
    let frozen = Instant::now();
    let followed = next_term(&system, led).await;
    assert!(frozen.elapsed() < TAKEOVER_MAX, "it took {:?}", frozen.elapsed());
    // Half of the requests of workers go to the frozen one, and are sent again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.signal(Signal::SIGCONT);
    assert_eq!(system.ended(&running).await["totals"]["passed"], 400);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(term(&system).await, followed, "the one that woke up did not take over again");
    system.stop().await;
}

#[tokio::test]
async fn j49_a_killed_leader_is_followed_and_what_was_delayed_begins_once() {
    let system = TestSystem::start_without_relay().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = start(&system, &["relay"], folder.path());
    let _worker = start(&system, &["work", "--slots", "4"], folder.path());
    let led = next_term(&system, 0).await;
    let _second = start(&system, &["relay"], folder.path());
    let at = System.now().plus(Duration::from_secs(2)).to_string();
    let card = system.card("Delayed", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "1" }])).await;
    let request = json!({ "card_id": card, "models": [{ "id": "echo" }], "not_before": at, "repeats": 20 });
    let running = system.run(&request).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    first.kill();
    let killed = Instant::now();
    next_term(&system, led).await;
    assert!(killed.elapsed() < TAKEOVER_MAX, "it took {:?}", killed.elapsed());
    assert_eq!(system.ended(&running).await["totals"]["passed"], 20);
    system.stop().await;
}
