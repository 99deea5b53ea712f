//! The broker as it ships: what each role may do, and a cluster that loses a node.

use std::time::Duration;

use pcs_tests::broker::TestBroker;
use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

const JOB: &str = "pcs.job.std.llm.test_execution.0";

async fn connect(url: &str) -> (async_nats::Client, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (told, errors) = tokio::sync::mpsc::unbounded_channel();
    let server: async_nats::ServerAddr = url.parse().expect("an address");
    let (user, password) = (server.username().unwrap_or_default(), server.password().unwrap_or_default());
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .event_callback(move |event| {
            drop(told.send(event.to_string()));
            async {}
        });
    (options.connect(server).await.expect("it answers"), errors)
}

/// Waits for the server's word that something is not allowed.
async fn refused(errors: &mut tokio::sync::mpsc::UnboundedReceiver<String>, what: &str) {
    let wait = async {
        while let Some(error) = errors.recv().await {
            if error.to_lowercase().contains("permissions violation") {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(), "{what} was allowed");
}

#[tokio::test]
async fn a_worker_has_the_subjects_of_its_kind_and_no_others() {
    let system = TestSystem::start().await;
    // Its rights are enough for its work: the system's own worker has no more.
    let card = system.card("Rights", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "1" }])).await;
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": 50 })).await;
    assert_eq!(system.ended(&run).await["totals"]["passed"], 50);
    let (client, mut errors) = connect(&system.broker.worker_url()).await;
    for subject in [
        JOB,
        "$JS.API.STREAM.INFO.PCS_JOBS",
        "$JS.API.STREAM.PURGE.PCS_JOBS",
        "$JS.API.STREAM.MSG.GET.PCS_JOBS",
        "$JS.API.CONSUMER.DELETE.PCS_JOBS.test_execution",
        "pcs.control.cancel.0",
        "pcs.hint.log",
    ] {
        client.publish(subject, "x".into()).await.expect("it is sent");
        client.flush().await.expect("it is sent");
        refused(&mut errors, subject).await;
    }
    for subject in ["pcs.result.>", "pcs.ask.>", "pcs.job.>", "_INBOX_pcs.>", "_INBOX.>", ">"] {
        let _subscription = client.subscribe(subject).await.expect("it is sent");
        client.flush().await.expect("it is sent");
        refused(&mut errors, subject).await;
    }
    let server = system.broker.stack.nats.as_ref().expect("it is ours").server_url();
    let (client, mut errors) = connect(&server).await;
    for subject in [JOB, "pcs.result.test_execution", "pcs.ask.test_execution"] {
        client.publish(subject, "x".into()).await.expect("it is sent");
        client.flush().await.expect("it is sent");
        refused(&mut errors, subject).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn the_relay_answers_to_inboxes_only() {
    let system = TestSystem::start().await;
    let (client, _errors) = connect(&system.broker.worker_url()).await;
    let operator = connect(system.broker.url()).await.0;
    let mut tickets = operator.subscribe("pcs.job.>").await.expect("it may listen to everything");
    operator.flush().await.expect("it is sent");
    let question = json!({ "ended": { "runs": [] } }).to_string();
    client
        .publish_with_reply("pcs.ask.test_execution", "pcs.job.std.llm.test_execution.forged", question.clone().into())
        .await
        .expect("it is sent");
    let answer = client.request("pcs.ask.test_execution", question.into()).await.expect("an inbox is answered");
    assert!(answer.payload.starts_with(b"{\"ended\""));
    let forged = tokio::time::timeout(Duration::from_millis(300), futures_util::StreamExt::next(&mut tickets)).await;
    assert!(forged.is_err(), "the relay published a ticket for a worker");
    system.stop().await;
}

#[tokio::test]
async fn a_run_goes_on_when_a_node_of_the_cluster_is_killed() {
    let system = TestSystem::start_on(TestBroker::cluster().await, 3).await;
    let mut system = system;
    let cases: Value =
        (0..300).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() })).collect();
    let card = system.card("Cluster", "{{q}}", cases).await;
    let model = json!({ "id": "scripted:m", "script": { "latency_ms": 200 } });
    let run = system.run(&json!({ "card_id": card, "models": [model] })).await;
    eventually("it is on its way", || async {
        let shown = system.get(&format!("/runs/{run}")).await.body;
        (shown["totals"]["executions"].as_u64() > Some(20)).then_some(())
    })
    .await;
    // The leader of the stream: killing it costs most.
    let leader = leader_of_jobs(&system).await;
    let node = system.broker.nodes.iter_mut().find(|node| node.name == leader).expect("the leader is a node");
    node.kill();
    assert_eq!(system.ended(&run).await["totals"]["passed"], 300);
    let results: i64 = sqlx::query_scalar("select count(*) from es.event where category = 3")
        .fetch_one(system.store.pool())
        .await
        .expect("the log can be read");
    assert_eq!(results, 300, "one result each");
    assert_ne!(leader_of_jobs(&system).await, leader);
    system.stop().await;
}

async fn leader_of_jobs(system: &TestSystem) -> String {
    eventually("the stream has a leader", || async {
        let client = async_nats::connect(system.broker.url().split(',').collect::<Vec<_>>()).await.ok()?;
        let stream = async_nats::jetstream::new(client).get_stream("PCS_JOBS").await.ok()?;
        stream.cached_info().cluster.as_ref()?.leader.clone()
    })
    .await
}
