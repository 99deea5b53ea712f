//! Code of users in assertions and in models' transforms, through the whole system.

use std::time::Duration;

use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

/// A run of `echo` with this transform over the cases Ann and Bob, which has ended.
async fn ended(system: &TestSystem, transform: Option<&str>, assertions: Value) -> (String, Value) {
    let cases = json!([{ "input": { "q": "Ann" } }, { "input": { "q": "Bob" } }]);
    let card = system.card("Greeting", "Hello {{q}}", cases).await;
    let model = json!({ "id": "echo", "transform": transform });
    let run = system.run(&json!({ "card_id": card, "models": [model], "assertions": assertions })).await;
    let ended = system.ended(&run).await;
    (run, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn code_judges_outputs_and_what_a_transform_makes_of_them() {
    let system = TestSystem::start().await;
    let assertions = json!([
        { "type": "javascript", "value": "output === 'HELLO ' + context.vars.q.toUpperCase()" },
        { "type": "javascript", "value": "({ pass: true, score: 0.5, reason: `${output.length} letters` })" },
        { "type": "equals", "value": "Hello", "transform": "output[0] + output.slice(1, 5).toLowerCase()" },
        { "type": "assert-set", "value": [{ "type": "contains", "value": "ANN" }, { "type": "contains", "value": "H" }], "threshold": 0.5 },
        { "type": "llm-rubric", "value": "shouts", "provider": { "id": "scripted", "script": { "answer": "{\"pass\": true, \"reason\": \"it does\"}" } } },
        { "type": "python", "value": "output.startswith('HELLO') and len(context['vars']['q']) == 3" },
        { "type": "python", "value": "score = len(output) / 10\nreturn {'pass': True, 'score': score, 'reason': 'by Python'}" },
        { "type": "not-python", "value": "import os\nreturn 'HOME' in os.environ" },
    ]);
    let (run, totals) = ended(&system, Some("output.toUpperCase()"), assertions).await;
    assert_eq!(totals["totals"]["passed"], 2, "{totals:#}");
    for result in system.results(&run).await {
        assert_eq!(result["verdicts"][1]["reason"], "9 letters");
        let python = &result["verdicts"][6];
        assert_eq!((&python["reason"], &python["score"]), (&json!("by Python"), &json!(0.9)), "{result:#}");
        // What the model said is kept as it said it.
        assert!(result["output"].as_str().expect("an output").starts_with("Hello "), "{result:#}");
    }

    // Code sees the object that a transform made, and a text its JSON.
    let seen = json!([
        { "type": "javascript", "value": "output.text.startsWith('Hello')" },
        { "type": "python", "value": "output['text'].startswith('Hello')" },
        { "type": "contains", "value": "\"text\":\"Hello" },
    ]);
    let (_, made) = ended(&system, Some("({ text: output })"), seen).await;
    assert_eq!(made["totals"]["passed"], 2, "{made:#}");

    // What is graded anew is transformed as well.
    let body = json!({ "assertions": [{ "type": "equals", "value": "HELLO BOB" }] });
    let asked = system.post(&format!("/runs/{run}/regrades"), &body).await.expect(202);
    let regrade = eventually("the regrade is complete", || async {
        let regrade = system.get(&format!("/regrades/{}", asked.id())).await;
        (regrade.status == 200 && regrade.body["status"] == "completed").then_some(regrade.body)
    })
    .await;
    assert_eq!((&regrade["passed"], &regrade["failed"]), (&json!(1), &json!(1)), "{regrade:#}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_fails_is_a_failed_verdict_and_a_transform_that_fails_is_an_error() {
    let system = TestSystem::start().await;
    let broken = json!([{ "type": "not-javascript", "value": "output.x.y" }, { "type": "javascript", "value": "while (1); return 1" }]);
    let (run, totals) = ended(&system, None, broken).await;
    assert_eq!(totals["totals"]["failed"], 2, "{totals:#}");
    for result in system.results(&run).await {
        let reason = |nth: usize| result["verdicts"][nth]["reason"].as_str().expect("a reason").to_owned();
        assert!(reason(0).contains("line 1: it threw cannot read property 'y'"), "{result:#}");
        assert!(reason(1).contains("took more than 1000 ms"), "{result:#}");
    }

    let begin = std::time::Instant::now();
    let (run, totals) = ended(&system, Some("output.x.y"), json!([{ "type": "contains", "value": "Hello" }])).await;
    assert_eq!(totals["totals"]["errors"], 2, "{totals:#}");
    for result in system.results(&run).await {
        assert_eq!(result["error"]["class"], "grading", "{result:#}");
        assert!(
            result["error"]["message"].as_str().expect("why").contains("the transform failed: line 1: it threw"),
            "{result:#}"
        );
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "what fails alike each time is not tried again");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_would_end_or_hold_its_process_fails_its_own_verdict_only() {
    let system = TestSystem::start().await;
    let hostile = [
        "async (output) => true",
        "new Array(4294967295).sort()",
        "const all = []; while (true) { all.push('x'.repeat(1e6) + all.length) }; return 1",
        "(function f() { return f() + 1 })()",
    ];
    let mut assertions: Vec<Value> =
        hostile.iter().map(|code| json!({ "type": "javascript", "value": code })).collect();
    assertions.push(json!({ "type": "is-sql", "value": { "databaseType": "PostgreSQL" }, "transform": format!("'SELECT ' + '1+'.repeat(900) + '1'") }));
    assertions.push(json!({ "type": "javascript", "value": "output.startsWith('Hello')" }));
    let (run, _) = ended(&system, None, json!(assertions)).await;
    for result in system.results(&run).await {
        let passed: Vec<_> = (0..6).map(|nth| result["verdicts"][nth]["passed"].clone()).collect();
        assert_eq!(passed, [true, false, false, false, true, true].map(Value::from), "{result:#}");
        assert_eq!(result["attempt"], 1, "no attempt was lost with its worker: {result:#}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_can_not_be_read_is_refused_before_anything_runs() {
    let system = TestSystem::start().await;
    let card = system.card("Greeting", "Hello {{q}}", json!([{ "input": { "q": "Ann" } }])).await;
    let run = |model: Value, assertion: Value| json!({ "card_id": card, "models": [model], "assertions": [assertion] });
    for (body, code, why) in [
        (
            run(json!({ "id": "echo" }), json!({ "type": "javascript", "value": "output >" })),
            "invalid_assertion",
            "line 1: it is no JavaScript",
        ),
        (
            run(
                json!({ "id": "echo" }),
                json!({ "type": "assert-set", "value": [{ "type": "llm-rubric", "value": "x" }] }),
            ),
            "invalid_assertion",
            "asks a judge",
        ),
        (
            run(json!({ "id": "echo", "transform": "output." }), json!({ "type": "is-json" })),
            "invalid_model",
            "its transform can't be used",
        ),
    ] {
        let refused = system.post("/runs", &body).await.expect(422).body;
        assert_eq!(refused["code"], code, "{refused:#}");
        assert!(refused["errors"][0]["message"].as_str().expect("why").contains(why), "{refused:#}");
    }
    system.stop().await;
}
