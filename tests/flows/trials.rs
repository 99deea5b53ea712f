//! What broke a case, and which of two versions is better, found by runs that the program asks for.

use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

use crate::program::ran;

/// A card whose versions 1 to 7 say this, and the id of its only case.
async fn card(system: &TestSystem, prompts: &[&str]) -> (String, String) {
    let demand = json!([{ "type": "contains", "value": "please" }]);
    let card = system.card("Asker", prompts[0], json!([{ "input": { "q": "x" }, "assertions": demand }])).await;
    for (nth, prompt) in prompts.iter().enumerate().skip(1) {
        let message = format!("change {}", nth + 1);
        let path = format!("/api/v1/cards/{card}");
        let head = system.store.head().await.expect("the log has an end");
        let shown = system.get(&format!("/cards/{card}?min_position={head}")).await.expect(200).body;
        let revision = shown["revision"].as_i64().expect("a revision");
        let change = system.request(reqwest::Method::PATCH, &path).header("If-Match", format!("\"{revision}\""));
        drop(TestSystem::send(change.json(&json!({ "prompt": prompt, "message": message }))).await.expect(200));
    }
    let head = system.store.head().await.expect("the log has an end");
    let cases = system.get(&format!("/cards/{card}/cases?min_position={head}")).await.expect(200).body;
    (card, cases["items"][0]["id"].as_str().expect("a case").to_owned())
}

async fn run(system: &TestSystem, card: &str, version: u32, model: &Value) -> String {
    let run = system.run(&json!({ "card_id": card, "versions": [version], "models": [model] })).await;
    system.ended(&run).await;
    let head = system.store.head().await.expect("the log has an end");
    drop(system.get(&format!("/runs/{run}/results?min_position={head}")).await.expect(200));
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_broke_a_case_is_found() {
    let system = TestSystem::start().await;
    let prompts =
        ["please {{q}}", "a please {{q}}", "b please {{q}}", "c please {{q}}", "no {{q}}", "d {{q}}", "e {{q}}"];
    let (card, case) = card(&system, &prompts).await;
    let echo = json!({ "id": "echo" });
    let (good, bad) = (run(&system, &card, 1, &echo).await, run(&system, &card, 7, &echo).await);
    let (code, out, err) = ran(&system, &["runs", "bisect", &good, &bad, "--case", &case, "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    let result = &found["result"];
    assert_eq!(
        (&result["cause"], &result["version"], &result["before"]),
        (&json!("version"), &json!(5), &json!(4)),
        "{out}"
    );
    assert_eq!(result["message"], "change 5");
    assert!(result["diff"].as_str().expect("a diff").contains("-c please {{q}}"), "{out}");
    // Two ends, and 4, 5 or 6 between them by halves.
    let steps = found["steps"].as_array().expect("steps");
    assert!(steps.len() <= 5, "{out}");
    assert!(
        steps.iter().all(|step| step["side"] == if step["version"].as_u64() < Some(5) { "good" } else { "bad" }),
        "{out}"
    );
    assert!(err.contains("version 4 with echo: 3 of 3 passed"), "{err}");
    // Once more, nobody is asked who was asked before.
    let (code, out, _) = ran(&system, &["runs", "bisect", &good, &bad, "--case", &case]).await;
    assert!(code == 0 && out.contains("version 5 broke it; version 4 was good"), "{out}");
    assert!(
        out.lines().filter(|line| line.contains("  echo  ")).all(|line| line.contains("       3       3  ")),
        "{out}"
    );

    // Another model is the cause where the old version fails with it too.
    let rude = json!({ "id": "scripted:rude", "script": { "answer": "no" } });
    let other = run(&system, &card, 4, &rude).await;
    let (_, out, _) = ran(&system, &["runs", "bisect", &good, &other, "--case", &case]).await;
    assert!(out.contains("the model broke it: scripted:rude instead of echo"), "{out}");
    let (code, _, err) = ran(&system, &["runs", "bisect", &bad, &good, "--case", &case]).await;
    assert!(code == 2 && err.contains("never passed in the run"), "{err}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_end_when_two_versions_are_decided() {
    let system = TestSystem::start().await;
    let (card, _) = card(&system, &["please {{q}}", "no {{q}}", "no more {{q}}"]).await;
    let line = |baseline: &'static str, candidate: &'static str| {
        ["runs", "decide", "Asker", "--baseline", baseline, "--candidate", candidate, "--model", "echo"]
    };
    let (code, out, err) = ran(&system, &[&line("1", "2")[..], &["--fail-on", "regressed"]].concat()).await;
    assert!(
        code == 1 && out.starts_with("version 2 against version 1: regressed (it is decided: 7 rounds"),
        "{out}{err}"
    );
    assert!(err.contains("round 7: 1 cases; better 0, worse 7; evidence 26.8 of 20"), "{err}");
    // Where both fail alike there is nothing to be decided, and no third round.
    let (code, out, err) = ran(&system, &line("2", "3")).await;
    assert!(code == 0 && out.contains("no evidence (every case is settled: 2 rounds, 4 executions"), "{out}{err}");
    let (_, out, _) = ran(&system, &[&line("2", "1")[..], &["--rounds-max", "3", "--json"]].concat()).await;
    let seen: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&seen["verdict"], &seen["seen"]["better"]), (&json!("no evidence"), &json!(3)), "{out}");
    // The rounds are runs like any other.
    let head = system.store.head().await.expect("the log has an end");
    let runs = system.get(&format!("/runs?card_id={card}&limit=100&min_position={head}")).await.expect(200).body;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(12), "{runs:#}");
    let same = ran(&system, &line("2", "2")).await;
    assert!(same.0 == 2 && same.2.contains("are the same version 2"), "{same:?}");
    system.stop().await;
}
