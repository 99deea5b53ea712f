//! Recorded answers, graded once more: no model is asked, nothing that was recorded changes, and a data subject's words
//! stay sealed.

use std::time::Duration;

use pcs_tests::eventually;
use pcs_tests::model_server::ModelServer;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

fn case(q: &str) -> Value {
    json!({ "input": { "q": q }, "expected_output": q })
}

/// A run of `echo`, or of another model, that has ended.
async fn ended(system: &TestSystem, card: &str, model: Value, assertions: Value) -> String {
    let run = system.run(&json!({ "card_id": card, "models": [model], "assertions": assertions })).await;
    drop(system.ended(&run).await);
    run
}

async fn regraded(system: &TestSystem, run: &str, body: Value) -> Value {
    let asked = system.post(&format!("/runs/{run}/regrades"), &body).await.expect(202);
    let path = format!("/regrades/{}", asked.id());
    eventually("the regrade is complete", || async {
        let regrade = system.get(&path).await;
        (regrade.status == 200 && regrade.body["status"] == "completed").then(|| regrade.body.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_graded_again_and_no_model_is_asked() {
    let system = TestSystem::start().await;
    let model = ModelServer::start(Duration::ZERO, (1, 1)).await;
    let card = system.card("Words", "{{q}}", json!([case("one"), case("two"), case("three")])).await;
    let judge = json!({ "type": "llm-rubric", "value": "is a word",
        "provider": { "id": "scripted", "script": { "answer": "{\"pass\": true, \"score\": 0.5, \"reason\": \"it is\"}" } } });
    let run = ended(&system, &card, model.model("m"), json!([{ "type": "contains", "value": "o" }, judge])).await;
    let calls = model.calls().len();
    let before = system.results(&run).await;
    assert_eq!(before.iter().filter(|result| result["success"] == true).count(), 2);

    let stricter = json!({ "name": "no w", "assertions": [{ "type": "not-contains", "value": "w" }, judge] });
    let regrade = regraded(&system, &run, stricter).await;
    let counts = ["answers", "passed", "failed", "turned_to_passed", "turned_to_failed", "verdicts"]
        .map(|count| regrade[count].as_i64().expect("a count"));
    assert_eq!(counts, [3, 2, 1, 1, 1, 6], "{regrade:#}");
    let id = regrade["id"].as_str().expect("an id");
    let turned = system.get(&format!("/regrades/{id}/results?turned=true")).await.expect(200).body;
    let items = turned["items"].as_array().expect("items");
    assert_eq!(items.len(), 2, "{turned:#}");
    let verdict = &items[0]["verdicts"][1];
    assert_eq!((&verdict["reason"], &verdict["judgements"][0]["model"]), (&json!("it is"), &json!("scripted")));
    assert_ne!(items[0]["grader"], Value::Null);
    // Nothing was asked, and nothing that was recorded has changed.
    assert_eq!(model.calls().len(), calls);
    assert_eq!(system.results(&run).await, before);
    let list = system.get(&format!("/runs/{run}/regrades")).await.expect(200).body;
    assert_eq!(list["items"][0]["id"], regrade["id"]);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_demands_of_now_may_count_and_a_new_judge_may_not() {
    let system = TestSystem::start().await;
    let card = system.card("Words", "{{q}}", json!([case("one")])).await;
    let run = ended(&system, &card, json!({ "id": "echo" }), json!([])).await;
    let cases = system.get(&format!("/cards/{card}/cases")).await.expect(200).body;
    let id = cases["items"][0]["id"].as_str().expect("an id");
    let change = system.request(reqwest::Method::PATCH, &format!("/api/v1/cards/{card}/cases/{id}"));
    let demand = json!({ "assertions": [{ "type": "equals", "value": "two" }], "tags": ["b", "a"] });
    drop(TestSystem::send(change.json(&demand)).await.expect(200));
    assert_eq!(regraded(&system, &run, json!({})).await["turned_to_failed"], 0);
    let now = regraded(&system, &run, json!({ "cases": "now" })).await;
    assert_eq!((&now["turned_to_failed"], &now["verdicts"]), (&json!(1), &json!(1)), "{now:#}");

    let judge = json!({ "assertions": [{ "type": "llm-rubric", "value": "x", "provider": { "id": "echo" } }] });
    assert_eq!(system.post(&format!("/runs/{run}/regrades"), &judge).await.expect(422).code(), "invalid_assertion");
    let nobody = uuid::Uuid::nil();
    assert_eq!(system.post(&format!("/runs/{nobody}/regrades"), &json!({})).await.expect(404).code(), "run_not_found");
    let slow = json!({ "id": "scripted", "script": { "latency_ms": 60_000 } });
    let running = system.run(&json!({ "card_id": card, "models": [slow] })).await;
    let refused = system.post(&format!("/runs/{running}/regrades"), &json!({})).await.expect(409);
    assert_eq!(refused.code(), "run_is_running");
    drop(system.post(&format!("/runs/{running}/cancel"), &json!({})).await.expect(202));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_data_subject_said_stays_sealed() {
    let system = TestSystem::start().await;
    let secret = "the-secret-of-customer-7";
    let case = json!({ "input": { "q": secret }, "subject": "customer 7" });
    let card = system.card("Private", "{{q}}", json!([case])).await;
    let run = ended(&system, &card, json!({ "id": "echo" }), json!([])).await;
    let demand = json!({ "assertions": [{ "type": "equals", "value": "nothing of the kind" }] });
    let regrade = regraded(&system, &run, demand.clone()).await;
    let path = format!("/regrades/{}/results", regrade["id"].as_str().expect("an id"));
    let shown = system.get(&path).await.expect(200).body["items"][0]["verdicts"][0]["reason"].clone();
    assert!(shown.as_str().expect("a reason").contains(secret), "{shown}");
    let kept: i64 = sqlx::query_scalar("select count(*) from es.event where payload::text like '%' || $1 || '%'")
        .bind(secret)
        .fetch_one(system.store.pool())
        .await
        .expect("the log can be read");
    assert_eq!(kept, 0, "the log says it in clear");
    let delete = system.request(reqwest::Method::DELETE, "/api/v1/subjects/customer%207");
    drop(TestSystem::send(delete).await);
    let shown = system.get(&path).await.expect(200).body["items"][0]["verdicts"][0]["reason"].clone();
    assert!(!shown.as_str().unwrap_or_default().contains(secret), "{shown}");
    // There is nothing left to be graded.
    assert_eq!(regraded(&system, &run, demand).await["answers"], 0);
    system.stop().await;
}
