//! Runs from the request to the last result, with models that answer, fail, and are slow.

use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

fn cases(count: usize) -> Value {
    (0..count).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() })).collect()
}

/// Every execution has exactly one terminal event, and the summary equals the fold over them.
async fn assert_one_result_each(system: &TestSystem, run: &str, summary: &Value) {
    let rows: Vec<(String, i64, Option<bool>)> = sqlx::query_as(
        "select t.name, count(*), bool_and((e.payload::jsonb ->> 'passed')::bool)
         from es.event e join es.event_type t using (type_id)
         where e.category = 3 and e.payload::jsonb ->> 'run_id' = $1 and t.name not in ('execution.attempt_failed', 'execution.snoozed')
         group by e.stream_id, t.name",
    )
    .bind(run)
    .fetch_all(system.store.pool())
    .await
    .expect("the log can be folded");
    assert!(rows.iter().all(|(_, count, _)| *count == 1), "an execution has more than one result");
    let count = |name: &str, passed: Option<bool>| {
        rows.iter().filter(|(kind, _, ok)| kind == name && passed.is_none_or(|passed| *ok == Some(passed))).count()
    };
    let totals = &summary["totals"];
    assert_eq!(totals["executions"], rows.len());
    assert_eq!(totals["passed"], count("execution.finished", Some(true)));
    assert_eq!(totals["failed"], count("execution.finished", Some(false)));
    assert_eq!(totals["errors"], count("execution.dead_lettered", None));
}

#[tokio::test]
async fn a_run_over_versions_models_cases_and_repeats_completes() {
    let system = TestSystem::start().await;
    let card = system.card("Echo", "say {{q}}", cases(5)).await;
    let patch = system.request(reqwest::Method::PATCH, &format!("/api/v1/cards/{card}"));
    let patch = patch.header("if-match", "\"2\"").json(&json!({ "prompt": "please say {{q}}!" }));
    drop(TestSystem::send(patch).await.expect(200));
    let request = json!({
        "card_id": card,
        "versions": [1, 2],
        "models": [{ "id": "echo" }, { "id": "scripted:fixed", "label": "fixed", "script": { "answer": "say 3" } }],
        "repeats": 2,
        "assertions": [{ "type": "equals", "value": "say {{expected_output}}" }],
    });
    let run = system.run(&request).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["totals"]["planned"], 2 * 2 * 5 * 2);
    let by_model = |name: &str| {
        let rows = ended["by_model"].as_array().expect("rows");
        rows.iter().find(|row| row["model"] == name).cloned().expect("the model")
    };
    // Echo is right in version 1 only; the fixed answer is right for one case, whatever the version.
    assert_eq!(by_model("echo")["passed"], 10);
    assert_eq!(by_model("fixed")["passed"], 4);
    let results = system.results(&run).await;
    assert_eq!(results.len(), 40);
    let passed = results.iter().find(|result| result["success"] == true).expect("one passed");
    assert_eq!(passed["verdicts"][0]["type"], "equals");
    assert!(passed["verdicts"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let execution = passed["execution_id"].as_str().expect("an id");
    let detail = system.get(&format!("/executions/{execution}")).await.expect(200).body;
    assert_eq!(detail["input"], passed["input"]);
    assert_one_result_each(&system, &run, &ended).await;
    system.stop().await;
}

#[tokio::test]
async fn errors_are_tried_again_and_end_as_dead_letters() {
    let system = TestSystem::start().await;
    let card = system.card("Flaky", "{{q}}", cases(40)).await;
    let request = json!({
        "card_id": card,
        "models": [
            { "id": "scripted:flaky", "script": { "errors_per_mille": 300, "rate_limits_per_mille": 100,
                                                  "retry_after_ms": 50 } },
            { "id": "scripted:refusing", "script": { "refusals_per_mille": 1000 } },
        ],
    });
    let run = system.run(&request).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["totals"]["executions"], 80);
    assert_eq!(ended["by_model"][1]["errors"], 40, "a refusal is not tried again, and is an error");
    let results = system.results(&run).await;
    let retried = results.iter().find(|r| r["attempt"].as_u64() > Some(1) && r["status"] == "passed");
    let execution = retried.expect("some succeed at a later attempt")["execution_id"].as_str().unwrap_or_default();
    let detail = system.get(&format!("/executions/{execution}")).await.expect(200).body;
    assert!(detail["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty()), "{detail:#}");
    let dead = results.iter().find(|result| result["status"] == "error").expect("a dead letter");
    assert!(dead["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert_one_result_each(&system, &run, &ended).await;
    system.stop().await;
}

#[tokio::test]
async fn a_small_run_does_not_wait_behind_a_large_one() {
    let system = TestSystem::start().await;
    let card = system.card("Slow", "{{q}}", cases(300)).await;
    let model = json!({ "id": "scripted:slow", "script": { "latency_ms": 50 } });
    let large = system.run(&json!({ "card_id": card, "models": [model], "repeats": 4 })).await;
    let done = async |run: &str| {
        // None is found before the read model has it.
        let running = system.get(&format!("/runs/{run}")).await;
        running.body["totals"]["executions"].as_u64().unwrap_or_default()
    };
    eventually("the large run is on its way", || async { (done(&large).await > 0).then_some(()) }).await;
    let one = system.card("One", "{{q}}", cases(1)).await;
    let small = system.run(&json!({ "card_id": one, "models": [model] })).await;
    assert_eq!(system.ended(&small).await["status"], "completed");
    // Slots for 32 at once: of 1,200 executions of 50 ms, many are still to come.
    let meanwhile = done(&large).await;
    assert!(meanwhile < 800, "the large run was at {meanwhile} of 1,200");
    assert_eq!(system.ended(&large).await["totals"]["executions"], 1_200);
    system.stop().await;
}

#[tokio::test]
async fn a_cancelled_run_stops_at_once_and_for_good() {
    let system = TestSystem::start().await;
    let card = system.card("Slow", "{{q}}", cases(300)).await;
    let request = json!({ "card_id": card, "models": [{ "id": "scripted:slow", "script": { "latency_ms": 400 } }] });
    let run = system.run(&request).await;
    eventually("some results are there", || async {
        let running = system.get(&format!("/runs/{run}")).await;
        (running.body["totals"]["executions"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let cancelled = system.post(&format!("/runs/{run}/cancel"), &json!({ "reason": "wrong model" })).await.expect(202);
    assert_eq!(cancelled.body["status"], "cancelled");
    let ended = system.ended(&run).await;
    assert_eq!(ended["status"], "cancelled");
    eventually("no ticket of it is left", || async {
        let left: i64 =
            sqlx::query_scalar("select count(*) from jobs.execution").fetch_one(system.store.pool()).await.ok()?;
        (left == 0).then_some(())
    })
    .await;
    // What the workers had in hand may still arrive within the time that a run's state is believed; then no more.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let count = |answer: pcs_tests::system::Answer| answer.body["totals"]["executions"].as_u64();
    let settled = count(system.get(&format!("/runs/{run}")).await);
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    assert_eq!(count(system.get(&format!("/runs/{run}")).await), settled);
    assert!(settled < Some(300));
    let again = system.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    assert_eq!(again.expect(202).body["status"], "cancelled", "cancelling twice is cancelling once");
    system.stop().await;
}

#[tokio::test]
async fn a_run_that_could_not_succeed_is_refused_before_anything_is_written() {
    let system = TestSystem::start().await;
    let gaps = system.card("Gaps", "{{q}} {{missing}}", cases(3)).await;
    let card = system.card("Whole", "{{q}}", cases(3)).await;
    let head = system.store.head().await.expect("a head");
    let refused = |change: Value| {
        let mut request = json!({ "card_id": card, "models": [{ "id": "echo" }] });
        for (key, value) in change.as_object().cloned().unwrap_or_default() {
            request[key] = value;
        }
        let system = &system;
        async move { system.post("/runs", &request).await }
    };
    let missing = refused(json!({ "card_id": gaps })).await.expect(422);
    assert_eq!(missing.code(), "missing_variable");
    assert!(missing.body["errors"].to_string().contains("missing"), "{:#}", missing.body);
    assert_eq!(refused(json!({ "models": [] })).await.expect(422).code(), "no_model");
    assert_eq!(refused(json!({ "versions": [7] })).await.expect(422).code(), "version_not_found");
    let unknown = refused(json!({ "assertions": [{ "type": "contians", "value": "x" }] })).await.expect(422);
    assert_eq!(unknown.code(), "invalid_assertion");
    assert!(unknown.body.to_string().contains("contains"), "the nearest name is told: {:#}", unknown.body);
    assert_eq!(system.store.head().await.expect("a head"), head, "nothing was written");
    system.stop().await;
}
