//! Deliveries that should not be: twice, late, unreadable; and handlers that panic or work for a run that is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pcs_bus::{Disposition, Job, JobHandler, JobMetrics, WorkerConfig, run_worker};
use pcs_domain::jobs::{JobKind, test_execution};
use pcs_tests::broker::TestBroker;
use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const RUN: &str = "00000000000000000000000000000007";

/// The broker with every right.
async fn broker(url: &str) -> jetstream::Context {
    jetstream::new(client(url).await)
}

async fn client(url: &str) -> async_nats::Client {
    let server: async_nats::ServerAddr = url.parse().expect("an address");
    let (user, password) = (server.username().unwrap_or_default(), server.password().unwrap_or_default());
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    options.connect(server).await.expect("it answers")
}

async fn publish(broker: &jetstream::Context, id: &str, payload: Bytes) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let subject = format!("pcs.job.std.llm.test_execution.{RUN}");
    let confirmed = broker.publish_with_headers(subject, headers, payload).await.expect("it is sent");
    confirmed.await.expect("the broker has it");
}

async fn tickets(broker: &jetstream::Context) -> u64 {
    broker.get_stream("PCS_JOBS").await.expect("the stream is there").cached_info().state.messages
}

#[tokio::test]
async fn j15_an_unreadable_ticket_is_set_aside_once_and_its_neighbours_are_done() {
    let system = TestSystem::start().await;
    let broker = broker(system.broker.url()).await;
    let card = system.card("Garbage", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "1" }])).await;
    let request = json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": 20 });
    let before = system.run(&request).await;
    publish(&broker, "garbage", Bytes::from_static(b"{ this is no ticket")).await;
    let after = system.run(&request).await;
    for run in [before, after] {
        assert_eq!(system.ended(&run).await["totals"]["passed"], 20);
    }
    let letters = eventually("it is set aside", || async {
        let letters = broker.get_stream("PCS_DLQ").await.ok()?.cached_info().state.messages;
        (letters > 0 && tickets(&broker).await == 0).then_some(letters)
    })
    .await;
    assert_eq!(letters, 1);
    system.stop().await;
}

#[tokio::test]
async fn j31_j32_j33_a_ticket_that_comes_twice_or_late_is_worked_off_once() {
    let system = TestSystem::start().await;
    let broker = broker(system.broker.url()).await;
    let card = system.card("Twice", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "1" }])).await;
    let slow = json!({ "id": "scripted:m", "script": { "latency_ms": 700 } });
    let run = system.run(&json!({ "card_id": card, "models": [slow], "repeats": 10 })).await;
    let stream = broker.get_stream("PCS_JOBS").await.expect("the stream is there");
    let mut copies = Vec::new();
    // The tickets that are worked on at the moment, each published once more.
    for sequence in 1..=10 {
        let message = eventually("the ticket is there", || async { stream.direct_get(sequence).await.ok() }).await;
        copies.push(message.payload.clone());
        publish(&broker, &format!("copy-{sequence}"), message.payload).await;
    }
    assert_eq!(system.ended(&run).await["totals"]["passed"], 10);
    eventually("the copies are done with", || async { (tickets(&broker).await == 0).then_some(()) }).await;
    // And long after its run is over.
    for (nth, copy) in copies.into_iter().enumerate() {
        publish(&broker, &format!("late-{nth}"), copy).await;
    }
    eventually("the late ones are done with", || async { (tickets(&broker).await == 0).then_some(()) }).await;
    let events: i64 = sqlx::query_scalar("select count(*) from es.event where category = 3")
        .fetch_one(system.store.pool())
        .await
        .expect("the log can be read");
    assert_eq!(events, 10, "one result each");
    system.stop().await;
}

/// A handler that panics on one ticket, never ends on another, and is told that its run is over.
#[derive(Default)]
struct Awkward {
    done: AtomicUsize,
    panics: AtomicUsize,
    endless_was_dropped: Arc<AtomicBool>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl JobHandler for Awkward {
    fn kind(&self) -> JobKind {
        test_execution::KIND
    }

    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            match job.ticket.as_ref() {
                b"panic" => panic!("as it was told"),
                b"endless" => {
                    let _dropped = Dropped(Arc::clone(&self.endless_was_dropped));
                    std::future::pending::<()>().await;
                }
                _ => drop(self.done.fetch_add(1, Ordering::SeqCst)),
            }
            Disposition::Done
        })
    }

    fn panicked(&self, _: Bytes, _: String) -> BoxFuture<'_, Disposition> {
        self.panics.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Disposition::Done })
    }

    fn hand_back(&self, _: Bytes) -> BoxFuture<'_, Disposition> {
        Box::pin(async { Disposition::Redeliver })
    }

    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>> {
        // Only when the others are done, so that the cancellation has a job in hand.
        let is_late = self.done.load(Ordering::SeqCst) == 40;
        Box::pin(async move { if is_late { vec![RUN.to_owned()] } else { Vec::new() } })
    }
}

#[tokio::test]
async fn j12_j51_a_panic_touches_nobody_else_and_a_cancellation_comes_without_its_message() {
    let server = TestBroker::new().await;
    server.bus().await.ensure_topology().await.expect("the streams are declared");
    let (broker, handler) = (broker(server.url()).await, Arc::new(Awkward::default()));
    let stop = CancellationToken::new();
    let config = WorkerConfig {
        name: "awkward".to_owned(),
        slots: 8,
        drain: Duration::from_secs(1),
        build: "test".to_owned(),
        metrics: JobMetrics::default(),
    };
    let worker = run_worker(server.worker_bus().await, config, Arc::<Awkward>::clone(&handler), stop.clone());
    let tester = async {
        publish(&broker, "endless", Bytes::from_static(b"endless")).await;
        for nth in 0..40 {
            let payload: &[u8] = if nth % 10 == 0 { b"panic" } else { b"work" };
            publish(&broker, &format!("job-{nth}"), Bytes::copy_from_slice(payload)).await;
        }
        for nth in 0..4 {
            publish(&broker, &format!("more-{nth}"), Bytes::from_static(b"work")).await;
        }
        eventually("the others are done", || async { (handler.done.load(Ordering::SeqCst) == 40).then_some(()) }).await;
        assert_eq!(handler.panics.load(Ordering::SeqCst), 4);
        let asked = std::time::Instant::now();
        eventually("the endless one is stopped", || async {
            handler.endless_was_dropped.load(Ordering::SeqCst).then_some(())
        })
        .await;
        assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
        eventually("nothing is left", || async { (tickets(&broker).await == 0).then_some(()) }).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(worker, tester);
    ended.expect("the worker ends well");
}

#[tokio::test]
async fn j39_a_place_is_one_however_often_it_is_asked_for_and_ends_with_its_time() {
    let system = TestSystem::start().await;
    let pool = system.store.pool();
    let limit = json!({ "concurrency": 1 });
    let put = system.request(reqwest::Method::PUT, "/api/v1/limits/m").json(&limit);
    drop(TestSystem::send(put).await.expect(200));
    let head = system.store.head().await.expect("the log has an end");
    drop(system.get(&format!("/limits?min_position={head}")).await.expect(200));
    let reserve = async |dispatch: u128, call_ms: i64| -> i64 {
        sqlx::query_scalar(
            "select jobs.reserve(1, gen_random_uuid(), 'm', 'm:x', 'std', 'test_execution', $1, 'w', null, 10, 10, $2, 2000, 5)",
        )
        .bind(uuid::Uuid::from_u128(dispatch))
        .bind(call_ms)
        .fetch_one(pool)
        .await
        .expect("it answers")
    };
    assert_eq!(reserve(1, 300).await, 0);
    assert_eq!(reserve(1, 300).await, 0, "the answer may have been lost");
    assert!(reserve(2, 300).await < 0, "there is one place");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(reserve(2, 60_000).await, 0, "its time is over");
    let kept: Value = sqlx::query_scalar("select to_jsonb(count(*)) from jobs.reservation where dispatch_id <> $1")
        .bind(uuid::Uuid::from_u128(1))
        .fetch_one(pool)
        .await
        .expect("it answers");
    assert_eq!(kept, json!(1));
    sqlx::query("delete from jobs.reservation").execute(pool).await.expect("it answers");
    system.stop().await;
}

#[tokio::test]
async fn a_result_that_can_not_be_read_keeps_no_other_from_its_receipt() {
    let system = TestSystem::start().await;
    let client = client(system.broker.url()).await;
    let cell = json!({ "run_id": RUN, "card_id": RUN, "version": 1, "case_id": RUN, "model": "m", "repeat": 0 });
    let failure = json!({ "failed": { "failure": { "class": "timeout", "error": "none" }, "retry_after_ms": null } });
    let readable = json!({ "tenant": 1, "dispatch_id": RUN, "cell": cell, "input": {}, "attempt": 1,
        "worker": "test", "outcome": failure });
    let results = json!([{ "of": "another version" }, readable]);
    let asked =
        client.request("pcs.result.test_execution", results.to_string().into()).await.expect("the relay answers");
    let receipts: Value = serde_json::from_slice(&asked.payload).expect("JSON");
    assert!(receipts[0]["unavailable"]["message"].is_string(), "{receipts}");
    assert_eq!(receipts[1], json!({ "refused": { "code": "run_not_found" } }));
    system.stop().await;
}
