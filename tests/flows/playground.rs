//! Drafts of prompts, tried out through the whole system before anything is saved, and cases kept from what was executed.

use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

use crate::program::ran;

async fn ended(system: &TestSystem, cell: &Value) -> Value {
    let path = format!("/jobs/{}", cell["job_id"].as_str().expect("a job"));
    eventually("the job is over", || async {
        let job = system.get(&path).await;
        (job.status == 200 && job.body["status"] != "waiting").then_some(job.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_tried_out_and_nothing_is_saved() {
    let system = TestSystem::start().await;
    let own = json!([{ "type": "contains", "value": "Ann" }]);
    let card = system.card("Greeter", "Hello {{q}}", json!([{ "input": { "q": "Ann" }, "assertions": own }])).await;
    let head = system.store.head().await.expect("the log has an end");
    let cases = system.get(&format!("/cards/{card}/cases?min_position={head}")).await.expect(200).body;
    let case = &cases["items"][0]["id"];
    let judge =
        json!({ "id": "scripted", "script": { "answer": "{\"pass\": true, \"score\": 0.5, \"reason\": \"kind\"}" } });
    let draft = json!({
        "prompt": "Good day, {{q}}!",
        "card_id": card,
        "case_ids": [case],
        "inputs": [{ "input": { "q": "Bob" }, "assertions": [{ "type": "equals", "value": "Good day, Bob!" }] }],
        "models": [{ "id": "echo" }, { "id": "scripted:down", "script": { "refusals_per_mille": 1000 } }],
        "assertions": [{ "type": "llm-rubric", "value": "polite" }],
        "grader": judge,
    });
    let asked = system.post("/playground", &draft).await.expect(202).body;
    let cells = asked["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 4, "{asked:#}");
    for cell in cells {
        let job = ended(&system, cell).await;
        if cell["model"] == "echo" {
            let name = if cell["case_id"].is_null() { "Bob" } else { "Ann" };
            assert_eq!(job["output"]["output"], format!("Good day, {name}!"), "{job:#}");
            assert_eq!((&job["output"]["passed"], &job["output"]["score"]), (&json!(true), &json!(0.75)), "{job:#}");
        } else {
            // One model that fails hides no answer of the others.
            assert_eq!((&job["status"], &job["error_class"]), (&json!("dead"), &json!("content_filtered")), "{job:#}");
        }
    }
    let shown = system.get(&format!("/cards/{card}")).await.expect(200).body;
    assert_eq!(shown["version"], 1, "{shown:#}");

    for (change, code) in [
        (json!({ "models": [] }), "missing_field"),
        (json!({ "prompt": "{{nobody}}" }), "missing_variable"),
        (json!({ "prompt": "{{ q" }), "invalid_template"),
        (json!({ "case_ids": [card] }), "case_not_found"),
        (json!({ "card_id": null }), "missing_field"),
        (json!({ "assertions": [{ "type": "contians", "value": "x" }] }), "invalid_assertion"),
        (json!({ "models": [{ "id": "nobody:x" }] }), "invalid_model"),
        (json!({ "inputs": vec![json!({ "input": { "q": "x" } }); 50] }), "too_many_items"),
    ] {
        let mut body = draft.clone();
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let refused = system.post("/playground", &body).await.expect(422);
        assert_eq!(refused.code(), code, "{:#}", refused.body);
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_out_is_saved_when_it_passes() {
    let system = TestSystem::start().await;
    let card = system.card("Greeter", "Hello {{q}}", json!([{ "input": { "q": "Ann" }, "name": "first" }])).await;
    let head = system.store.head().await.expect("the log has an end");
    drop(system.get(&format!("/cards/{card}/cases?min_position={head}")).await.expect(200));
    let line = |expect: &'static str| {
        ["playground", "Greeter", "--prompt", "Hi {{q}}", "--model", "echo", "--case", "first", "--input", "q=Bob"]
            .into_iter()
            .chain(["--expect", expect, "--save-version", "shorter", "--save-case"])
            .collect::<Vec<_>>()
    };
    let (code, out, err) = ran(&system, &line("contains: Hello")).await;
    assert!(code == 1 && err.contains("is not saved") && out.contains("input with echo: contains"), "{out}{err}");
    let (code, out, err) = ran(&system, &line("contains: Hi")).await;
    assert!(code == 0 && err.contains("saved as version 2"), "{out}{err}");
    let head = system.store.head().await.expect("the log has an end");
    let shown = system.get(&format!("/cards/{card}?min_position={head}")).await.expect(200).body;
    assert_eq!((&shown["version"], &shown["prompt"]), (&json!(2), &json!("Hi {{q}}")));
    assert_eq!(shown["case_count"], 2, "{shown:#}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_kept_from_what_was_executed() {
    let system = TestSystem::start().await;
    let inputs =
        json!([{ "input": { "q": "Ann" } }, { "input": { "q": "Bob" } }, { "input": { "q": "x" }, "subject": "p-1" }]);
    let seen = system.card("Seen", "Hello {{q}}", inputs).await;
    let demand = json!([{ "type": "contains", "value": "Ann" }]);
    let run = system.run(&json!({ "card_id": seen, "models": [{ "id": "echo" }], "assertions": demand })).await;
    system.ended(&run).await;
    let own = json!([{ "input": { "q": "Ann" }, "assertions": demand }]);
    let card = system.card("Kept", "Hi {{q}}", own).await;
    let head = system.store.head().await.expect("the log has an end");
    drop(system.get(&format!("/runs/{run}/results?min_position={head}")).await.expect(200));
    drop(system.get(&format!("/cards/{card}/cases?min_position={head}")).await.expect(200));
    let all = ["card", "cases", "Kept", "--from-run", &run, "--with-answer", "--tag", "seen"];
    let (code, out, err) = ran(&system, &[&all[..], &["--only", "failed", "--preview"]].concat()).await;
    assert!(code == 0 && out.contains("Hello Bob") && out.contains("nothing was sent"), "{out}{err}");
    let (code, out, err) = ran(&system, &all).await;
    assert!(code == 0 && out.starts_with("1 added, 1 there already"), "{out}{err}");
    assert!(err.contains("1 results are made of a person's data"), "{err}");
    let head = system.store.head().await.expect("the log has an end");
    let cases = system.get(&format!("/cards/{card}/cases?min_position={head}")).await.expect(200).body;
    let bob = cases["items"].as_array().expect("cases").iter().find(|case| case["input"]["q"] == "Bob").expect("Bob");
    assert_eq!((&bob["expected_output"], &bob["tags"]), (&json!("Hello Bob"), &json!(["seen"])), "{bob:#}");
    let ann = cases["items"].as_array().expect("cases").iter().find(|case| case["input"]["q"] == "Ann").expect("Ann");
    assert_eq!(ann["assertions"], demand, "what the card has stays as it is");
    let (_, out, _) = ran(&system, &all).await;
    assert!(out.starts_with("0 added, 2 there already"), "{out}");
    let none = ran(&system, &[&all[..], &["--execution", &card]].concat()).await;
    assert!(none.0 == 2 && none.2.contains("has no execution"), "{none:?}");
    system.stop().await;
}
