//! People review a run: two of them score its answers blindly, agree or not, and a verdict is overridden, which counts from
//! then on while what was recorded stays.

use pcs_domain::ids::ActorId;
use pcs_tests::system::{Answer, TestSystem};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::program;

/// Runs the program, which succeeds, when every read model has what is in the log; answers what it prints.
async fn ran(system: &TestSystem, arguments: &[&str]) -> String {
    drop(system.read("/reviews").await.expect(200));
    let (code, out, err) = program::ran(system, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

/// A run of four answers, of which the first two pass.
async fn reviewed(system: &TestSystem) -> (String, String) {
    let case = |q: &str| json!({ "input": { "q": q }, "expected_output": q });
    let card = system.card("Words", "{{q}}", ["one", "two", "six", "ten"].map(case).into_iter().collect()).await;
    let demand = json!([{ "type": "contains", "value": "o" }]);
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": demand })).await;
    drop(system.ended(&run).await);
    (card, run)
}

/// Another account with a key.
async fn colleague(system: &TestSystem, name: &str) -> (String, String) {
    let (id, pool) = (Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()), system.store.pool());
    sqlx::query("insert into auth.account (account_id, tenant_id, email, role) values ($1, 1, $2, 'editor')")
        .bind(id)
        .bind(format!("{name}@example.org"))
        .execute(pool)
        .await
        .expect("an account");
    let key = pcs_auth::create_api_key(pool, ActorId(id), name, pcs_auth::Role::Editor).await.expect("a key");
    (id.to_string(), key.text)
}

async fn by(system: &TestSystem, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    TestSystem::send(http.request(method, format!("{}/api/v1{path}", system.url)).bearer_auth(key).json(body)).await
}

fn scores() -> Value {
    json!([{ "name": "right", "kind": "boolean" }, { "name": "helpful", "kind": { "numeric": { "min": 1, "max": 5 } } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_score_the_same_answers_blindly_and_their_agreement_is_counted() {
    let system = TestSystem::start().await;
    let (_, run) = reviewed(&system).await;
    let asked = json!({ "title": "Tone", "scores": scores(), "reviewers_per_item": 2, "blind": true });
    let path = format!("/runs/{run}/review");
    let opened = system.post(&path, &asked).await.expect(201);
    assert_eq!((opened.body["items"].as_i64(), opened.header("location")), (Some(4), &*format!("/api/v1{path}")));
    assert_eq!(system.post(&path, &asked).await.expect(409).code(), "review_already_open");

    let people = [colleague(&system, "ada").await, colleague(&system, "bob").await];
    // Ada finds the recorded verdicts right; Bob finds everything right.
    let mut taken = Vec::new();
    for (nth, (_, key)) in people.iter().enumerate() {
        for _ in 0..4 {
            let next = by(&system, key, Method::POST, &format!("{path}/next"), &json!({})).await.expect(200).body;
            let id = next["next"].as_str().expect("something to score").to_owned();
            let again = by(&system, key, Method::POST, &format!("{path}/next"), &json!({})).await.expect(200).body;
            assert_eq!(again["next"], next["next"], "who has one gets no other");
            let answer = system.read(&format!("/executions/{id}")).await.expect(200).body;
            let right = nth == 1 || answer["success"] == true;
            let given = json!({ "scores": { "right": right, "helpful": 3 }, "comment": "seen" });
            let scored = format!("{path}/items/{id}/scores");
            drop(by(&system, key, Method::PUT, &scored, &given).await.expect(200));
            taken.push(id);
        }
        let none = by(&system, key, Method::POST, &format!("{path}/next"), &json!({})).await.expect(404);
        assert_eq!(none.code(), "nothing_left");
    }
    taken.sort();
    assert_eq!(taken.chunks(2).filter(|pair| pair[0] == pair[1]).count(), 4, "each answer has both");

    let review = system.read(&path).await.expect(200).body;
    let counts = ["items", "done", "scored", "assigned"].map(|name| review[name].as_i64().expect("a count"));
    assert_eq!(counts, [4, 4, 8, 0]);
    // Who has scored nothing sees nobody's scores until the review is closed.
    let items = system.read(&format!("{path}/items")).await.expect(200).body["items"].clone();
    assert_eq!((&items[0]["reviewers"][0]["scores"], &items[0]["reviewers"][0]["comment"]), (&Value::Null, &json!("")));
    let (ada, key) = &people[0];
    let head = system.store.head().await.expect("the log has an end");
    let own =
        by(&system, key, Method::GET, &format!("{path}/items?reviewer={ada}&min_position={head}"), &json!({})).await;
    assert_eq!(own.expect(200).body["items"][0]["reviewers"][1]["scores"]["helpful"], 3.0);

    let agreement = system.read(&format!("{path}/agreement")).await.expect(200).body;
    let right = &agreement["scores"][0];
    assert_eq!((right["items"].as_i64(), &right["pairs"][0]["agreed"]), (Some(4), &json!(2)));
    // One of them says yes to everything: that is no agreement beyond chance.
    assert_eq!(right["pairs"][0]["kappa"], 0.0);
    let of_ada = right["recorded"].as_array().expect("both").iter().find(|of| of["reviewer"] == **ada);
    assert_eq!(of_ada.expect("Ada")["kappa"], 1.0);
    assert_eq!(agreement["scores"][1]["alpha"], Value::Null, "all gave the same number");

    let (_, late) = colleague(&system, "eve").await;
    let scored = format!("{path}/items/{}/scores", taken[0]);
    let given = json!({ "scores": { "right": true, "helpful": 3 } });
    assert_eq!(by(&system, &late, Method::PUT, &scored, &given).await.expect(409).code(), "enough_reviewers");
    let bad = json!({ "scores": { "right": true, "helpful": 9 } });
    let refused = by(&system, key, Method::PUT, &scored, &bad).await.expect(422);
    assert_eq!((refused.code(), &refused.body["errors"][0]["field"]), ("invalid_score", &json!("scores")));
    drop(system.post(&format!("{path}/close"), &json!({})).await.expect(200));
    assert_eq!(by(&system, key, Method::PUT, &scored, &given).await.expect(409).code(), "review_closed");
    let items = system.read(&format!("{path}/items")).await.expect(200).body["items"].clone();
    assert_eq!(items[0]["reviewers"][0]["comment"], "seen");
    assert_eq!(system.read("/reviews?closed=false").await.expect(200).body["items"], json!([]));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overridden_verdict_counts_and_what_was_recorded_stays() {
    let system = TestSystem::start().await;
    let (card, run) = reviewed(&system).await;
    let demand = json!([{ "type": "contains", "value": "o" }]);
    let other = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": demand })).await;
    drop(system.ended(&other).await);
    let failed = system.results(&run).await.into_iter().find(|result| result["success"] == false).expect("one fails");
    let id = failed["execution_id"].as_str().expect("an id");
    let path = format!("/executions/{id}/override");
    let before = system.store.head().await.expect("the log has an end");

    let verdict = json!({ "passed": true, "reason": "it is a word all the same" });
    let put = |body: Value| TestSystem::send(system.request(Method::PUT, &format!("/api/v1{path}")).json(&body));
    assert_eq!(put(json!({ "passed": true, "reason": " " })).await.expect(422).body["errors"][0]["field"], "reason");
    let overridden = put(verdict.clone()).await.expect(200).body;
    assert_eq!((&overridden["passed"], &overridden["recorded"]), (&json!(true), &json!(false)));

    let result = system.read(&format!("/executions/{id}")).await.expect(200).body;
    assert_eq!((&result["status"], &result["success"]), (&json!("failed"), &json!(false)), "what was recorded stays");
    assert_eq!(
        (&result["override"]["passed"], &result["override"]["reason"]),
        (&verdict["passed"], &verdict["reason"])
    );
    let shown = system.read(&format!("/runs/{run}")).await.expect(200).body;
    assert_eq!(shown["overrides"], json!({ "to_passed": 1, "to_failed": 0 }));
    assert_eq!(shown["totals"]["passed"], 2);

    // It counts where runs are compared, and not as of the time before.
    let comparison = |as_of: String| format!("/runs/{run}/comparison?baseline={other}{as_of}");
    let now = system.read(&comparison(String::new())).await.expect(200).body;
    let improved = &now["comparisons"][0]["improvements"][0];
    assert_eq!((&improved["case_id"], &improved["cause"]), (&failed["case_id"], &json!("review")), "{now:#}");
    let then = system.get(&comparison(format!("&as_of={before}"))).await.expect(200).body;
    assert_eq!(then["comparisons"][0]["improvements"], json!([]));
    let then = system.get(&format!("/executions/{id}?as_of={before}")).await.expect(200).body;
    assert_eq!(then["override"], Value::Null);
    let then = system.get(&format!("/runs/{run}?as_of={before}")).await.expect(200).body;
    assert_eq!(then["overrides"]["to_passed"], 0);

    let withdraw = || TestSystem::send(system.request(Method::DELETE, &format!("/api/v1{path}")).json(&json!({})));
    assert_eq!(withdraw().await.expect(200).body["passed"], false);
    assert_eq!(withdraw().await.expect(404).code(), "not_overridden");
    let result = system.read(&format!("/executions/{id}")).await.expect(200).body;
    assert_eq!(result["override"], Value::Null);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_done_from_the_command_line() {
    let system = TestSystem::start().await;
    let (_, run) = reviewed(&system).await;
    let opened = ran(&system, &["review", "open", "last", "--score", "right=yes|no", "--only", "failed"]).await;
    assert_eq!(opened, format!("the review of run {run} is open, with 2 answers\n"));
    let shown = ran(&system, &["review", "next", &run]).await;
    assert!(shown.contains(", version 1\n") && shown.ends_with("recorded: failed\n"), "{shown}");
    let next: Value = serde_json::from_str(&ran(&system, &["review", "next", &run, "--json"]).await).expect("JSON");
    let id = next["execution_id"].as_str().expect("an id");
    ran(&system, &["review", "score", &run, id, "right=no", "--comment", "so it is"]).await;
    let shown = ran(&system, &["review", "show", &run]).await;
    assert!(shown.contains("1 of 2 answers done by 1 each: 1 scores given"), "{shown}");
    assert!(ran(&system, &["review", "list", "--open"]).await.contains(&run));
    let agreement = ran(&system, &["review", "agreement", &run]).await;
    assert!(agreement.contains("recorded verdicts        1       1"), "{agreement}");
    let said = ran(&system, &["review", "override", id, "passed", "--reason", "near enough"]).await;
    assert_eq!(said, format!("execution {id} counts as passed; recorded is failed\n"));
    ran(&system, &["review", "override", id, "--withdraw"]).await;
    assert!(ran(&system, &["review", "close", &run]).await.contains("is closed"));
    system.stop().await;
}
