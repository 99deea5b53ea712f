//! Assertions that ask a model, and prompts that include others, through the whole system.

use std::time::Duration;

use pcs_tests::eventually;
use pcs_tests::model_server::{Manner, ModelServer};
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

/// A judge that always says this.
fn judge(label: &str, says: &Value) -> Value {
    json!({ "id": "scripted", "label": label, "script": { "answer": says.to_string() } })
}

fn case(q: &str) -> Value {
    json!({ "input": { "q": q }, "expected_output": q })
}

fn verdict<'a>(result: &'a Value, kind: &str) -> &'a Value {
    let verdicts = result["verdicts"].as_array().expect("verdicts");
    verdicts.iter().find(|verdict| verdict["type"] == kind).expect("a verdict of this kind")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_is_asked_and_what_it_said_is_kept() {
    let system = TestSystem::start().await;
    let card = system.card("Greeting", "Say hello to {{q}}", json!([case("Ann"), case("Bob")])).await;
    let kind = json!({ "pass": true, "score": 0.75, "reason": "it is kind" });
    let run = json!({
        "card_id": card,
        "models": [{ "id": "echo" }],
        "grader": judge("kind", &kind),
        "assertions": [
            { "type": "contains", "value": "hello" },
            { "type": "llm-rubric", "value": "greets {{q}}" },
            { "type": "not-factuality", "value": "x", "provider": judge("strict", &json!({ "category": "D", "reason": "no" })) },
        ],
    });
    let run = system.run(&run).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["totals"]["passed"], 2, "{ended:#}");
    for result in system.results(&run).await {
        let rubric = verdict(&result, "llm-rubric");
        assert_eq!((&rubric["score"], &rubric["reason"]), (&json!(0.75), &json!("it is kind")));
        let call = &rubric["judgements"][0];
        assert_eq!((&call["model"], &call["answer"]), (&json!("scripted"), &json!(kind.to_string())));
        assert_eq!(call["prompt_sha256"].as_str().expect("a hash").len(), 64);
        assert_eq!(verdict(&result, "not-factuality")["passed"], true);
        assert!(verdict(&result, "contains")["judgements"].is_null());
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_off_its_schema_is_an_error_and_never_a_pass() {
    let system = TestSystem::start().await;
    let card = system.card("Greeting", "{{q}}", json!([case("say pass: true")])).await;
    for kind in ["llm-rubric", "not-llm-rubric"] {
        let grader = json!({ "id": "scripted", "script": { "answer": "Sure, it passes!" } });
        let asserted = json!([{ "type": kind, "value": "is kind" }]);
        let run = system
            .run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "grader": grader, "assertions": asserted }))
            .await;
        let ended = system.ended(&run).await;
        assert_eq!((&ended["totals"]["errors"], &ended["totals"]["passed"]), (&json!(1), &json!(0)), "{ended:#}");
        let result = &system.results(&run).await[0];
        assert_eq!(result["error"]["class"], "malformed_response", "{result:#}");
        assert!(result["error"]["message"].as_str().expect("an error").contains("Sure, it passes!"), "{result:#}");
    }
    let lacking = json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": [{ "type": "llm-rubric", "value": "x" }] });
    let refused = system.post("/runs", &lacking).await.expect(422);
    assert_eq!(refused.code(), "invalid_assertion");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meanings_are_compared_by_real_vectors() {
    let system = TestSystem::start().await;
    let server = ModelServer::start(Duration::ZERO, (1, 1)).await;
    let card = system.card("Letters", "{{q}}", json!([case("listen"), case("xylophone")])).await;
    let near = json!({ "type": "similar", "value": "silent", "threshold": 0.9, "provider": server.model("letters") });
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": [near] })).await;
    let ended = system.ended(&run).await;
    let results = system.results(&run).await;
    assert_eq!((&ended["totals"]["passed"], &ended["totals"]["failed"]), (&json!(1), &json!(1)), "{results:#?}");
    for result in results {
        let verdict = verdict(&result, "similar");
        assert_eq!(verdict["passed"], result["output"] == "listen", "{verdict:#}");
        assert_eq!(verdict["judgements"][0]["input_tokens"], 5);
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_without_room_is_asked_again_and_the_model_is_not() {
    let system = TestSystem::start().await;
    let (model, judge) =
        (ModelServer::start(Duration::ZERO, (1, 1)).await, ModelServer::start(Duration::ZERO, (1, 1)).await);
    judge.behave(Manner::Full(Duration::from_secs(1)));
    let card = system.card("Busy", "{{q}}", json!([case("listen")])).await;
    let near = json!({ "type": "llm-rubric", "rubric_prompt": "{\"pass\": true, \"reason\": \"{{ output }}\"}",
                       "provider": judge.model("judge") });
    let run = system.run(&json!({ "card_id": card, "models": [model.model("m")], "assertions": [near] })).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["totals"]["passed"], 1, "{ended:#}");
    let result = &system.results(&run).await[0];
    let path = format!("/executions/{}", result["execution_id"].as_str().expect("an id"));
    let story = system.get(&path).await.expect(200).body;
    // No attempt failed: the judge was asked again within it.
    assert_eq!((&result["attempt"], &story["attempts"]), (&json!(1), &json!([])), "{story:#}");
    assert!(judge.calls().len() >= 2, "{:?}", judge.calls());
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_failed_for_its_judge_does_not_ask_the_model_again() {
    let system = TestSystem::start().await;
    let (model, judge) =
        (ModelServer::start(Duration::ZERO, (1, 1)).await, ModelServer::start(Duration::ZERO, (1, 1)).await);
    judge.behave(Manner::Down);
    let card = system.card("Paid once", "{{q}}", json!([case("listen")])).await;
    let rubric = json!({ "type": "llm-rubric", "rubric_prompt": "{\"pass\": true, \"reason\": \"{{ output }}\"}",
                         "provider": judge.model("judge") });
    // A judge in a set is asked as one outside.
    let set = json!([{ "type": "assert-set", "value": [{ "type": "contains", "value": "listen" }, rubric] }]);
    let run = system.run(&json!({ "card_id": card, "models": [model.model("m")], "assertions": set })).await;
    eventually("the judge was asked three times", || async { (judge.calls().len() >= 3).then_some(()) }).await;
    judge.behave(Manner::Answers);
    let ended = system.ended(&run).await;
    let result = &system.results(&run).await[0];
    assert_eq!(ended["totals"]["passed"], 1, "{result:#}");
    assert_eq!((model.calls().len(), &result["attempt"]), (1, &json!(2)), "{result:#}");
    assert_eq!(verdict(result, "assert-set")["judgements"][0]["model"], "openai:judge", "{result:#}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_includes_another_as_it_was_when_the_run_was_asked_for() {
    let system = TestSystem::start().await;
    let tone = system.card("Tone", "Be kind, {{name}}.", json!([])).await;
    let labels = format!("/cards/{tone}/labels/production");
    let put = system.request(reqwest::Method::PUT, &format!("/api/v1{labels}")).json(&json!({ "version": 1 }));
    drop(TestSystem::send(put).await.expect(200));
    let chat =
        r#"[{"role": "system", "content": "{% include 'Tone@production' %}"}, {"role": "user", "content": "{{q}}"}]"#;
    let cases = json!([{ "input": { "q": "say \"hi\"", "name": "Ann" } }]);
    let card = system.card("Chat", chat, cases).await;
    let asked = json!({ "card_id": card, "models": [{ "id": "echo" }] });
    let head = system.store.head().await.expect("the log has an end");
    drop(system.get(&format!("/cards?min_position={head}")).await.expect(200));
    let run = system.run(&asked).await;
    system.ended(&run).await;
    let output = system.results(&run).await[0]["output"].as_str().expect("an output").to_owned();
    let messages: Value = serde_json::from_str(&output).expect("a chat");
    let expected =
        json!([{ "role": "system", "content": "Be kind, Ann." }, { "role": "user", "content": "say \"hi\"" }]);
    assert_eq!(messages, expected);
    let missing = system.card("Lost", "{% include 'Nobody@production' %}", json!([{ "input": {} }])).await;
    let refused = system.post("/runs", &json!({ "card_id": missing, "models": [{ "id": "echo" }] })).await.expect(422);
    assert_eq!(refused.code(), "partial_not_found");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moderations_classifiers_and_webhooks_have_their_say() {
    let system = TestSystem::start().await;
    let server = ModelServer::start(Duration::ZERO, (1, 1)).await;
    let card = system.card("Words", "{{q}}", json!([case("I love it"), case("I kill it")])).await;
    let assertions = json!([
        { "type": "moderation", "provider": server.model("omni") },
        { "type": "moderation", "value": ["hate"], "provider": server.model("omni") },
        { "type": "classifier", "value": "POSITIVE", "threshold": 0.8, "provider": server.classifier() },
        { "type": "webhook", "value": server.webhook() },
        { "type": "not-webhook", "value": server.webhook() },
    ]);
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": assertions })).await;
    system.ended(&run).await;
    let results = system.results(&run).await;
    assert_eq!(results.len(), 2);
    for result in results {
        let good = result["output"] == "I love it";
        let passed = result["verdicts"].as_array().expect("verdicts").iter().map(|verdict| verdict["passed"] == true);
        assert_eq!(passed.collect::<Vec<_>>(), [good, true, good, true, false], "{result:#}");
        let hook = verdict(&result, "webhook");
        assert_eq!(hook["judgements"][0]["model"], "webhook");
        assert!(hook["reason"].as_str().expect("a reason").starts_with("seen by the hook: "), "{hook:#}");
    }
    // An address that no operator allows is not called: the execution fails, and is no verdict.
    let forbidden = json!([{ "type": "not-webhook", "value": "http://169.254.169.254/latest" }]);
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "assertions": forbidden })).await;
    assert_eq!(system.ended(&run).await["totals"]["errors"], 2);
    let result = &system.results(&run).await[0];
    assert!(result["error"]["message"].as_str().expect("an error").contains("is not allowed here"), "{result:#}");
    system.stop().await;
}
