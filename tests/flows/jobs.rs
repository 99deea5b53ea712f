//! The job system through its API: pauses, limits, budgets, times, dead letters, retries and schedules.

use std::time::{Duration, Instant};

use pcs_domain::ports::{Clock, System};
use pcs_tests::eventually;
use pcs_tests::system::{Answer, TestSystem};
use reqwest::Method;
use serde_json::{Value, json};

fn cases(count: usize) -> Value {
    (0..count).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() })).collect()
}

/// A scripted model of this name.
fn model(name: &str, script: &Value) -> Value {
    json!({ "id": format!("scripted:{name}"), "script": script })
}

async fn put(system: &TestSystem, path: &str, body: &Value) -> Answer {
    TestSystem::send(system.request(Method::PUT, &format!("/api/v1{path}")).json(body)).await
}

/// Waits until the scheduler has come to the end of the log.
async fn queues(system: &TestSystem) -> Value {
    let head = system.store.head().await.expect("the log has an end");
    system.get(&format!("/queues?min_position={head}")).await.expect(200).body
}

async fn started(system: &TestSystem, run: &str) -> u64 {
    let path = format!("/runs/{run}");
    system.read(&path).await.expect(200).body["totals"]["executions"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn j52_a_pause_holds_back_what_it_names_and_nothing_else() {
    let system = TestSystem::start().await;
    let card = system.card("Paused", "{{q}}", cases(10)).await;
    let pause = json!({ "model": "scripted:held", "reason": "too dear" });
    drop(system.post("/queues/pause", &pause).await.expect(200));
    let models = json!([model("held", &json!({})), model("free", &json!({}))]);
    let run = system.run(&json!({ "card_id": card, "models": models })).await;
    eventually("the free half is done", || async { (started(&system, &run).await == 10).then_some(()) }).await;
    let shown = queues(&system).await;
    assert_eq!(shown["holds"][0]["reason"], "too dear");
    let held = shown["queues"].as_array().expect("rows").iter().find(|row| row["model"] == "scripted:held").cloned();
    let held = held.expect("the held queue");
    assert_eq!((held["held"].clone(), held["waiting"].clone()), (json!(true), json!(10)), "{held}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(started(&system, &run).await, 10, "nothing of it began");
    drop(system.post("/queues/resume", &json!({ "model": "scripted:held" })).await.expect(200));
    assert_eq!(system.ended(&run).await["totals"]["executions"], 20);
    let vague = system.post("/queues/pause", &json!({ "lane": "hi", "model": "x" })).await.expect(422);
    assert_eq!(vague.code(), "invalid_scope");
    system.stop().await;
}

#[tokio::test]
async fn j44_a_limit_of_requests_is_kept_and_used() {
    let system = TestSystem::start().await;
    // 20 a second.
    drop(put(&system, "/limits/scripted", &json!({ "requests_per_minute": 1_200 })).await.expect(200));
    let card = system.card("Limited", "{{q}}", cases(100)).await;
    drop(queues(&system).await);
    let run = system.run(&json!({ "card_id": card, "models": [model("m", &json!({}))] })).await;
    assert_eq!(system.ended(&run).await["totals"]["executions"], 100);
    let moments: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from recorded_at)::float8 from es.event where category = 3 order by 1",
    )
    .fetch_all(system.store.pool())
    .await
    .expect("the log can be read");
    let (first, last) = (moments[0], moments[99]);
    // 99 intervals of 50 ms. Used by more than nine tenths; that it is not exceeded is seen in every second.
    assert!(last - first > 4.5, "the limit was exceeded: 100 calls in {:.2} s", last - first);
    assert!(last - first < 99.0 * 0.05 / 0.9 + 2.0, "the limit was not used: 100 calls in {:.2} s", last - first);
    let in_a_second = |from: f64| moments.iter().filter(|at| (from..from + 1.0).contains(*at)).count();
    let most = moments.iter().map(|from| in_a_second(*from)).max().unwrap_or_default();
    // More than 21: the moments are those of the records, which a busy machine may make in bunches, not of the calls.
    assert!(most <= 36, "{most} calls within a second");
    let limits = system.get("/limits").await.expect(200).body;
    assert_eq!(
        (limits["items"][0]["key"].clone(), limits["items"][0]["in_flight"].clone()),
        (json!("scripted"), json!(0))
    );
    system.stop().await;
}

#[tokio::test]
async fn j47_a_limit_of_one_at_a_time_is_kept() {
    let system = TestSystem::start().await;
    drop(put(&system, "/limits/scripted:one", &json!({ "concurrency": 1 })).await.expect(200));
    let card = system.card("One", "{{q}}", cases(12)).await;
    drop(queues(&system).await);
    let began = Instant::now();
    let run = system.run(&json!({ "card_id": card, "models": [model("one", &json!({ "latency_ms": 100 }))] })).await;
    let most = async {
        let mut most = 0_i64;
        loop {
            let now: i64 = sqlx::query_scalar("select count(*) from jobs.reservation")
                .fetch_one(system.store.pool())
                .await
                .expect("the desk answers");
            most = most.max(now);
            if system.get(&format!("/runs/{run}")).await.body["status"] == "completed" {
                return most;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(most.await, 1);
    assert!(began.elapsed() >= Duration::from_millis(1_200), "they overlapped: {:?}", began.elapsed());
    system.stop().await;
}

#[tokio::test]
async fn j45_a_provider_without_room_is_left_alone_and_that_costs_no_attempt() {
    let system = TestSystem::start().await;
    let card = system.card("Busy", "{{q}}", cases(60)).await;
    // A job's own pause doubles each time: with 150 of 1,000 none of 60 is refused so often that it takes a minute.
    let busy = model("busy", &json!({ "rate_limits_per_mille": 150, "retry_after_ms": 400 }));
    let run = system.run(&json!({ "card_id": card, "models": [busy, model("calm", &json!({}))] })).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["totals"]["passed"], 120, "{ended:#}");
    let results = system.results(&run).await;
    assert!(results.iter().all(|result| result["attempt"] == 1), "no attempt was used up");
    let snoozed: i64 = sqlx::query_scalar(
        "select count(*) from es.event e join es.event_type t using (type_id) where t.name = 'execution.snoozed'",
    )
    .fetch_one(system.store.pool())
    .await
    .expect("the log can be read");
    assert!(snoozed > 0, "some met the limit");
    system.stop().await;
}

#[tokio::test]
async fn a_run_stops_when_its_budget_is_used_up() {
    let system = TestSystem::start().await;
    let card = system.card("Dear", "{{q}}", cases(400)).await;
    // Two tokens each: one of the prompt, one of the answer.
    let request = json!({ "card_id": card, "models": [model("m", &json!({ "latency_ms": 20 }))],
                          "budget": { "tokens": 200 } });
    let run = system.run(&request).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["status"], "cancelled");
    let done = started(&system, &run).await;
    assert!((100..=116).contains(&done), "{done} executions of 2 tokens, for 200 tokens");
    let cause: String = sqlx::query_scalar(
        "select e.payload::jsonb ->> 'cause' from es.event e join es.event_type t using (type_id)
         where t.name = 'test_run.cancelled'",
    )
    .fetch_one(system.store.pool())
    .await
    .expect("it was cancelled");
    assert_eq!(cause, "token_budget");
    let slow = json!({ "card_id": card, "models": [model("slow", &json!({ "latency_ms": 3_000 }))],
                       "budget": { "seconds": 1 } });
    let run = system.run(&slow).await;
    assert_eq!(system.ended(&run).await["status"], "cancelled");
    system.stop().await;
}

#[tokio::test]
async fn j14_what_is_not_begun_in_time_expires_and_what_is_delayed_waits() {
    let system = TestSystem::start().await;
    let card = system.card("Timed", "{{q}}", cases(5)).await;
    drop(system.post("/queues/pause", &json!({ "everything": true })).await.expect(200));
    drop(queues(&system).await);
    let models = json!([model("m", &json!({}))]);
    let late = system.run(&json!({ "card_id": card, "models": models, "start_within_seconds": 1 })).await;
    let ended = system.ended(&late).await;
    assert_eq!((ended["status"].clone(), ended["totals"]["errors"].clone()), (json!("completed"), json!(5)));
    assert!(system.results(&late).await.iter().all(|result| result["error"]["class"] == "expired"));
    drop(system.post("/queues/resume", &json!({ "everything": true })).await.expect(200));
    let at = System.now().plus(Duration::from_secs(2)).to_string();
    let began = Instant::now();
    let delayed = system.run(&json!({ "card_id": card, "models": models, "not_before": at })).await;
    assert_eq!(system.ended(&delayed).await["totals"]["passed"], 5);
    assert!(began.elapsed() >= Duration::from_millis(1_900), "it began after {:?}", began.elapsed());
    system.stop().await;
}

#[tokio::test]
async fn the_same_question_is_asked_once_where_a_run_allows_it() {
    let system = TestSystem::start().await;
    let card = system.card("Cached", "{{q}}", cases(20)).await;
    let request = json!({ "card_id": card, "models": [model("m", &json!({ "latency_ms": 50 }))], "cache": true });
    let first = system.run(&request).await;
    assert_eq!(system.ended(&first).await["totals"]["passed"], 20);
    let second = system.run(&request).await;
    assert_eq!(system.ended(&second).await["totals"]["passed"], 20);
    let cached: Vec<(String, i64)> = sqlx::query_as(
        "select e.payload::jsonb ->> 'run_id', count(*) filter (where (e.payload::jsonb ->> 'cached')::bool)
         from es.event e join es.event_type t using (type_id) where t.name = 'execution.finished' group by 1",
    )
    .fetch_all(system.store.pool())
    .await
    .expect("the log can be read");
    let of = |run: &str| cached.iter().find(|(id, _)| id == run).map(|(_, count)| *count);
    assert_eq!((of(&first), of(&second)), (Some(0), Some(20)));
    // Another repeat is another question.
    let repeated = json!({ "card_id": card, "models": request["models"], "cache": true, "repeats": 2 });
    let third = system.run(&repeated).await;
    assert_eq!(system.ended(&third).await["totals"]["passed"], 40);
    system.stop().await;
}

#[tokio::test]
async fn dead_letters_are_listed_run_again_and_dismissed() {
    let system = TestSystem::start().await;
    let card = system.card("Refusing", "{{q}}", cases(6)).await;
    let refusing = model("refusing", &json!({ "refusals_per_mille": 1000 }));
    let run = system.run(&json!({ "card_id": card, "models": [refusing, model("calm", &json!({}))] })).await;
    assert_eq!(system.ended(&run).await["totals"]["errors"], 6);
    drop(queues(&system).await);
    let page = system.get(&format!("/dead-letters?run_id={run}&limit=4")).await.expect(200).body;
    let items = page["items"].as_array().expect("rows").clone();
    assert_eq!((items.len(), items[0]["class"].clone()), (4, json!("content_filtered")), "{page:#}");
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest = system.get(&format!("/dead-letters?run_id={run}&limit=4&cursor={cursor}")).await.expect(200).body;
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
    // One is dismissed: it stays an error of its run, and is no dead letter any more.
    let one = items[0]["execution_id"].clone();
    let dismissed = system.post("/dead-letters/dismiss", &json!({ "execution_ids": [one], "reason": "known" })).await;
    assert_eq!(dismissed.expect(200).body["executions"], 1);
    // One by name, and the rest with its run.
    let two = json!({ "execution_ids": [items[1]["execution_id"]] });
    let redriven = system.post("/dead-letters/redrive", &two).await.expect(202).body;
    let new = redriven["runs"][&run].as_str().expect("a new run").to_owned();
    let again = system.ended(&new).await;
    assert_eq!((again["totals"]["executions"].clone(), again["totals"]["errors"].clone()), (json!(1), json!(1)));
    let retry = system.post(&format!("/runs/{run}/retry"), &json!({})).await.expect(202);
    let again = system.ended(&retry.id()).await;
    assert_eq!((again["status"].clone(), again["totals"]["planned"].clone()), (json!("completed"), json!(4)));
    let nothing = system.post(&format!("/runs/{run}/retry"), &json!({})).await.expect(409);
    assert_eq!(nothing.code(), "nothing_to_retry");
    // What was run again and failed again is a dead letter of the new runs.
    drop(queues(&system).await);
    let all = system.get("/dead-letters").await.expect(200).body;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(5), "{all:#}");
    let vague = system.post("/dead-letters/redrive", &json!({})).await.expect(422);
    assert_eq!(vague.code(), "nothing_chosen");
    system.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_is_taken_up_where_it_was() {
    let system = TestSystem::start().await;
    let card = system.card("Slow", "{{q}}", cases(200)).await;
    let run = system.run(&json!({ "card_id": card, "models": [model("m", &json!({ "latency_ms": 150 }))] })).await;
    eventually("some results are there", || async { (started(&system, &run).await > 0).then_some(()) }).await;
    let running = system.post(&format!("/runs/{run}/retry"), &json!({})).await.expect(409);
    assert_eq!(running.code(), "run_is_running");
    drop(system.post(&format!("/runs/{run}/cancel"), &json!({})).await.expect(202));
    // What the workers had in hand may still come in.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let done = started(&system, &run).await;
    let new = system.post(&format!("/runs/{run}/retry"), &json!({})).await.expect(202).id();
    let again = system.ended(&new).await;
    assert_eq!(again["status"], "completed");
    assert_eq!(again["totals"]["executions"].as_u64().unwrap_or_default() + done, 200, "each cell once");
    system.stop().await;
}

#[tokio::test]
async fn j48_a_schedule_requests_one_run_for_a_time_whoever_leads_and_makes_up_for_missed_ones() {
    let system = TestSystem::start().await;
    // A second relay: whichever leads, there is one run for each time.
    let stop = tokio_util::sync::CancellationToken::new();
    let second = pcs_relay::run(system.store.clone(), system.broker.bus().await, stop.clone());
    let tester = async {
        let card = system.card("Nightly", "{{q}}", cases(2)).await;
        let new = json!({ "name": "nightly", "cron": "*/5 * * * *", "time_zone": "Europe/Berlin",
                          "run": { "card_id": card, "labels": ["latest"], "models": [{ "id": "echo" }] } });
        let schedule = system.post("/schedules", &new).await.expect(201).id();
        drop(queues(&system).await);
        let shown = system.get(&format!("/schedules/{schedule}")).await.expect(200).body;
        assert!(shown["due_at"].is_string(), "{shown}");
        // An hour in which nobody was there: twelve times were missed, and the latest is made up for.
        sqlx::query("update jobs.schedule set due_at = due_at - interval '1 hour'")
            .execute(system.store.pool())
            .await
            .expect("the desk answers");
        let run = eventually("its run is requested", || async {
            let shown = system.get(&format!("/schedules/{schedule}")).await.expect(200).body;
            shown["last_run_id"].as_str().map(str::to_owned)
        })
        .await;
        assert_eq!(system.ended(&run).await["totals"]["passed"], 2);
        assert_eq!(system.read("/runs").await.expect(200).body["items"].as_array().map(Vec::len), Some(1));
        let wrong = json!({ "name": "x", "cron": "never", "run": new["run"] });
        assert_eq!(system.post("/schedules", &wrong).await.expect(422).code(), "invalid_cron");
        drop(system.post(&format!("/schedules/{schedule}/pause"), &json!({})).await.expect(200));
        drop(queues(&system).await);
        assert_eq!(system.get(&format!("/schedules/{schedule}")).await.expect(200).body["paused"], true);
        let delete = system.request(Method::DELETE, &format!("/api/v1/schedules/{schedule}"));
        drop(TestSystem::send(delete).await.expect(200));
        drop(queues(&system).await);
        assert_eq!(system.get(&format!("/schedules/{schedule}")).await.expect(404).code(), "schedule_not_found");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(second, tester);
    ended.expect("the second relay stops when it is told to");
    system.stop().await;
}

#[tokio::test]
async fn the_fleet_is_known() {
    let system = TestSystem::start().await;
    let fleet = eventually("the workers of all kinds are known", || async {
        let fleet = system.get("/fleet").await.expect(200).body;
        (fleet["workers"].as_array().map(Vec::len) == Some(3)).then_some(fleet)
    })
    .await;
    assert_eq!(fleet["leader"]["led"], true, "{fleet:#}");
    let of_kind = |list: &str| {
        let rows = fleet[list].as_array().expect("a list");
        rows.iter().find(|row| row["kind"] == "test_execution").cloned().expect("one of tests")
    };
    assert_eq!((of_kind("workers")["slots"].clone(), of_kind("scaling")["slots"].clone()), (json!(32), json!(32)));
    assert_eq!(of_kind("scaling")["load"], 0.0);
    let metrics = TestSystem::text(system.request(Method::GET, "/metrics")).await;
    let slots = "job_worker_slots{kind=\"test_execution\"} 32";
    for line in [slots, "job_scheduler_led 1", "job_scheduler_broker_up 1", "job_dead_letters 0"] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    system.stop().await;
}

#[tokio::test]
async fn j30_without_the_broker_runs_are_accepted_and_done_in_their_order_afterwards() {
    let mut system = TestSystem::start().await;
    let card = system.card("Patient", "{{q}}", cases(200)).await;
    let ready = async |system: &TestSystem| TestSystem::send(system.request(Method::GET, "/readyz")).await;
    system.broker.stack.nats.as_mut().expect("it is ours").kill9().await;
    eventually("it is seen", || async { (ready(&system).await.body["degraded"] == true).then_some(()) }).await;
    assert_eq!(ready(&system).await.expect(200).body["ready"], true, "commands are accepted");
    let slow = model("m", &json!({ "latency_ms": 30 }));
    let bulk = system.run(&json!({ "card_id": card, "models": [slow], "lane": "bulk" })).await;
    let urgent = system.run(&json!({ "card_id": card, "models": [slow], "lane": "hi" })).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(started(&system, &urgent).await, 0);
    system.broker.stack.nats.as_mut().expect("it is ours").restart().await.expect("it comes back");
    assert_eq!(system.ended(&urgent).await["totals"]["passed"], 200);
    assert_eq!(system.ended(&bulk).await["totals"]["passed"], 200);
    let before: i64 = sqlx::query_scalar(
        "select count(*) from es.event where category = 3 and payload::jsonb ->> 'run_id' = $1
             and position < (select max(position) from es.event
                             where category = 3 and payload::jsonb ->> 'run_id' = $2)",
    )
    .bind(&bulk)
    .bind(&urgent)
    .fetch_one(system.store.pool())
    .await
    .expect("the log can be read");
    // An eighth of the places goes to whoever waits longest, and the window's last places to whoever is left.
    assert!(before < 110, "{before} of 200 of the bulk run were done before the urgent one ended");
    eventually("all is well", || async { (ready(&system).await.body["degraded"] == false).then_some(()) }).await;
    system.stop().await;
}
