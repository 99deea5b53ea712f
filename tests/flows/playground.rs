//! Drafts of prompts, tried out through the whole system before anything is saved.

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
    let shown = system.get(&format!("/cards/{card}")).await.expect(200).body;
    assert_eq!((&shown["version"], &shown["prompt"]), (&json!(2), &json!("Hi {{q}}")));
    assert_eq!(shown["case_count"], 2, "{shown:#}");
    system.stop().await;
}
