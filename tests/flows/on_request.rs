//! Jobs on request: agents' tasks and maintenance, from the command to the one result.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pcs_tests::eventually;
use pcs_tests::process::Process;
use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};

/// A task of the assistant, with a scripted model.
fn task(name: &str, script: &Value) -> Value {
    let model = json!({ "id": format!("scripted:{name}"), "script": script });
    json!({ "role": "assistant", "instructions": "Sum up.", "model": model, "input": { "text": "a b c" } })
}

async fn ask_for(system: &TestSystem, kind: &str, input: &Value) -> String {
    system.post("/jobs", &json!({ "kind": kind, "input": input })).await.expect(202).id()
}

async fn shown(system: &TestSystem, job: &str) -> Value {
    system.read(&format!("/jobs/{job}")).await.expect(200).body
}

async fn over(system: &TestSystem, job: &str) -> Value {
    eventually("the job is over", || async {
        let job = shown(system, job).await;
        (job["status"] != "waiting").then_some(job)
    })
    .await
}

fn worker(system: &TestSystem, kinds: &str, log: &std::path::Path) -> Process {
    let arguments = ["work", "--slots", "4", "--drain-seconds", "1", "--kinds", kinds];
    Process::start(&arguments, &[("NATS_URL", &system.broker.worker_url())], log)
}

/// Calls that have their place.
async fn places(system: &TestSystem) -> i64 {
    let count = sqlx::query_scalar("select count(*) from jobs.reservation").fetch_one(system.store.pool()).await;
    count.expect("the desk answers")
}

/// Results of a job in the log, of whichever sort.
async fn results(system: &TestSystem, job: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from es.event e join es.event_type t using (type_id)
         where t.name in ('job.finished', 'job.dead_lettered') and e.stream_id = $1::uuid",
    )
    .bind(job)
    .fetch_one(system.store.pool())
    .await
    .expect("the log can be read")
}

#[tokio::test]
async fn an_agents_task_is_done_once_and_its_answer_kept() {
    let system = TestSystem::start().await;
    let request = || {
        let body = json!({ "kind": "swarm_agent", "input": task("m", &json!({ "answer": "It says {{text}}." })) });
        system.request(Method::POST, "/api/v1/jobs").header("Idempotency-Key", "sum").json(&body)
    };
    let job = TestSystem::send(request()).await.expect(202).id();
    let done = over(&system, &job).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("finished"), &json!(1)), "{done}");
    assert_eq!(done["output"]["text"], "It says a b c.");
    // Sending it again is the first one again.
    let again = TestSystem::send(request()).await.expect(202);
    assert_eq!((again.id(), again.headers.contains_key("idempotency-replayed")), (job.clone(), true));
    assert_eq!(results(&system, &job).await, 1);
    let listed = system.read("/jobs?kind=swarm_agent&status=finished").await.expect(200).body;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    system.stop().await;
}

#[tokio::test]
async fn what_no_kind_understands_is_refused_at_the_door() {
    let system = TestSystem::start().await;
    for (kind, input, code, field) in [
        ("dishes", json!({}), "unknown_job_kind", "kind"),
        ("test_execution", json!({}), "unknown_job_kind", "kind"),
        ("swarm_agent", json!({ "role": "assistant" }), "invalid_job_input", "input"),
        ("maintenance", json!({ "task": "juggle" }), "invalid_job_input", "input"),
    ] {
        let refused = system.post("/jobs", &json!({ "kind": kind, "input": input })).await.expect(422);
        assert_eq!((refused.code(), &refused.body["errors"][0]["field"]), (code, &json!(field)), "{:?}", refused.body);
    }
    let nobody = uuid::Uuid::new_v4();
    assert_eq!(system.post(&format!("/jobs/{nobody}/cancel"), &json!({})).await.expect(404).code(), "job_not_found");
    assert_eq!(system.get(&format!("/jobs/{nobody}")).await.expect(404).code(), "job_not_found");
    system.stop().await;
}

#[tokio::test]
async fn a_dead_letter_shows_why_and_is_tried_again() {
    let system = TestSystem::start().await;
    let job =
        ask_for(&system, "swarm_agent", &json!({ "role": "juggler", "instructions": "", "model": { "id": "echo" } }))
            .await;
    let dead = over(&system, &job).await;
    assert_eq!((&dead["status"], &dead["error_class"]), (&json!("dead"), &json!("bad_request")), "{dead}");
    assert!(
        dead["error"].as_str().is_some_and(|error| error.contains("juggler") && error.contains("assistant")),
        "{dead}"
    );
    let again = system.post(&format!("/jobs/{job}/redrive"), &json!({})).await.expect(202);
    assert_eq!(again.body["status"], "waiting");
    let dead = eventually("it is dead again", || async {
        let job = shown(&system, &job).await;
        (job["status"] == "dead" && job["attempts"] == 2).then_some(job)
    })
    .await;
    assert_eq!(dead["failed_attempts"].as_array().map(Vec::len), Some(2), "{dead}");
    let cancelled = system.post(&format!("/jobs/{job}/cancel"), &json!({ "reason": "late" })).await.expect(409);
    assert_eq!(cancelled.code(), "job_over");
    system.stop().await;
}

#[tokio::test]
async fn what_is_cancelled_stops_and_its_slot_is_free_again() {
    let system = TestSystem::start().await;
    let job = ask_for(&system, "swarm_agent", &task("slow", &json!({ "latency_ms": 600_000 }))).await;
    let in_flight = || async {
        let fleet = system.get("/fleet").await.expect(200).body;
        let workers = fleet["workers"].as_array().cloned().unwrap_or_default();
        workers.iter().find(|w| w["kind"] == "swarm_agent").map(|w| w["in_flight"].clone())
    };
    eventually("it is worked on", || async { (in_flight().await == Some(json!(1))).then_some(()) }).await;
    let cancelled = system.post(&format!("/jobs/{job}/cancel"), &json!({ "reason": "no need" })).await.expect(200);
    assert_eq!(cancelled.body["status"], "cancelled");
    let told = Instant::now();
    eventually("the slot is free", || async { (in_flight().await == Some(json!(0))).then_some(()) }).await;
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    // Long before the time that the call might have taken.
    eventually("its place is free", || async { (places(&system).await == 0).then_some(()) }).await;
    assert_eq!((shown(&system, &job).await["status"].clone(), results(&system, &job).await), (json!("cancelled"), 0));
    system.stop().await;
}

#[tokio::test]
async fn limits_and_pauses_hold_for_agents_too() {
    let system = TestSystem::start().await;
    let limit = json!({ "concurrency": 1 });
    let put = system.request(Method::PUT, "/api/v1/limits/scripted:one").json(&limit);
    drop(TestSystem::send(put).await.expect(200));
    drop(system.post("/queues/pause", &json!({ "kind": "swarm_agent", "reason": "not yet" })).await.expect(200));
    let input = task("one", &json!({ "latency_ms": 300 }));
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(ask_for(&system, "swarm_agent", &input).await);
    }
    let head = system.store.head().await.expect("the log has an end");
    let queues = system.get(&format!("/queues?min_position={head}")).await.expect(200).body;
    let row = queues["queues"].as_array().expect("rows").iter().find(|row| row["kind"] == "swarm_agent").cloned();
    let row = row.expect("its queue");
    assert_eq!((&row["held"], &row["waiting"]), (&json!(true), &json!(4)), "{row}");
    drop(system.post("/queues/resume", &json!({ "kind": "swarm_agent" })).await.expect(200));
    let began = Instant::now();
    for job in &jobs {
        assert_eq!(over(&system, job).await["status"], "finished");
    }
    assert!(began.elapsed() >= Duration::from_millis(1_200), "they overlapped: {:?}", began.elapsed());
    assert_eq!(places(&system).await, 0, "a place is left");
    system.stop().await;
}

#[tokio::test]
async fn a_provider_without_room_costs_an_agent_no_attempt() {
    let system = TestSystem::start().await;
    let busy = json!({ "rate_limits_per_mille": 600, "retry_after_ms": 100 });
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(ask_for(&system, "swarm_agent", &task("busy", &busy)).await);
    }
    for job in &jobs {
        let done = over(&system, job).await;
        assert_eq!((&done["status"], &done["attempts"]), (&json!("finished"), &json!(1)), "{done}");
    }
    system.stop().await;
}

#[tokio::test]
async fn j16_a_kind_that_no_worker_does_waits_for_one_that_does() {
    let system = TestSystem::start_without_worker().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let _tests_only = worker(&system, "test_execution", &log);
    let job = ask_for(&system, "swarm_agent", &task("m", &json!({}))).await;
    eventually("the ticket is out", || async {
        let row = system.get("/queues").await.expect(200).body["queues"][0].clone();
        (row["kind"] == "swarm_agent" && row["handed_out"] == 1).then_some(())
    })
    .await;
    assert_eq!(shown(&system, &job).await["status"], "waiting");
    let _agents = worker(&system, "swarm_agent", &log);
    let done = over(&system, &job).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("finished"), &json!(1)), "{done}");
    system.stop().await;
}

#[tokio::test]
async fn a_killed_workers_job_is_done_by_another_and_a_stopped_one_hands_it_back() {
    let system = TestSystem::start_without_worker().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let killed = worker(&system, "swarm_agent", &log);
    let job = ask_for(&system, "swarm_agent", &task("slow", &json!({ "latency_ms": 3_000 }))).await;
    let working = || async {
        let fleet = system.get("/fleet").await.expect(200).body;
        let workers = fleet["workers"].as_array().cloned().unwrap_or_default();
        workers.iter().any(|w| w["kind"] == "swarm_agent" && w["in_flight"] == 1).then_some(())
    };
    eventually("it is worked on", working).await;
    // In its place is soon the next: one that is told to stop in the midst of it, and hands it back.
    killed.signal(Signal::SIGKILL);
    let stopped = worker(&system, "swarm_agent", &log);
    eventually("the other one has it", || async {
        let redelivered: Option<bool> =
            sqlx::query_scalar("select claimed_by is not null from jobs.execution where execution_id = $1::uuid")
                .bind(&job)
                .fetch_optional(system.store.pool())
                .await
                .expect("the desk answers");
        (redelivered == Some(true)).then_some(())
    })
    .await;
    stopped.signal(Signal::SIGTERM);
    let _third = worker(&system, "swarm_agent", &log);
    let done = over(&system, &job).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("finished"), &json!(1)), "{done}");
    assert_eq!(results(&system, &job).await, 1);
    system.stop().await;
}

#[tokio::test]
async fn the_days_maintenance_is_asked_for_once_and_forgets_what_is_old() {
    let system = TestSystem::start().await;
    // Whoever leads asks, and one that took over asks again.
    let asked =
        tokio::join!(pcs_relay::ask_for_maintenance(&system.store), pcs_relay::ask_for_maintenance(&system.store));
    assert!(asked.0.is_ok() && asked.1.is_ok(), "{asked:?}");
    let daily = eventually("the day's retention is done", || async {
        let list = system.get("/jobs?kind=maintenance&status=finished").await.expect(200).body;
        list["items"].as_array().and_then(|jobs| jobs.first().cloned())
    })
    .await;
    assert_eq!((&daily["requested_by"], &daily["output"]["answers"]), (&Value::Null, &json!(0)), "{daily}");
    sqlx::query(
        "insert into jobs.answer (tenant_id, content, answer, at)
         select 1, 'c' || day, '{}', clock_timestamp() - make_interval(days => day) from generate_series(0, 1500) day",
    )
    .execute(system.store.pool())
    .await
    .expect("the desk takes it");
    let job = ask_for(&system, "maintenance", &json!({ "task": "retention", "answers_days": 10 })).await;
    let done = over(&system, &job).await;
    assert_eq!(done["output"], json!({ "answers": 1_491, "unfinished": 0 }), "{done}");
    let no_archive = ask_for(&system, "maintenance", &json!({ "task": "archive" })).await;
    let dead = over(&system, &no_archive).await;
    assert!(dead["error"].as_str().is_some_and(|error| error.contains("--archive-url")), "{dead}");
    let list = system.get("/jobs?kind=maintenance").await.expect(200).body;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "{list}");
    system.stop().await;
}
