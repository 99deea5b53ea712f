//! Comparisons of runs: real answers of two models, judged as one would by hand, and what can't be compared.

use std::collections::BTreeMap;

use pcs_tests::repository;
use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::ran;

const FINETUNED: &str = "recorded:gsm8k/175b_finetuning";
const VERIFIED: &str = "recorded:gsm8k/175b_verification";
/// Problems that are asked.
const PROBLEMS: usize = 200;

fn problems() -> Value {
    let text = std::fs::read_to_string(repository().join("examples/gsm8k/problems.jsonl")).expect("they are there");
    text.lines().take(PROBLEMS).map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect()
}

fn asked(card: &str, models: &[&str]) -> Value {
    let models: Vec<Value> = models.iter().map(|id| json!({ "id": id })).collect();
    let assertions = json!([{ "type": "numeric", "value": "{{expected_output}}", "metric": "right" }]);
    json!({ "card_id": card, "models": models, "assertions": assertions })
}

/// McNemar's exact test, as the textbook has it: the two-sided binomial of the cases that changed.
fn mcnemar(up: u32, down: u32) -> f64 {
    let all = up + down;
    let choose = |k: u32| (0..k).fold(1.0_f64, |product, nth| product * f64::from(all - nth) / f64::from(nth + 1));
    let tail: f64 = (0..=up.min(down)).map(choose).sum();
    (2.0 * tail / 2.0_f64.powf(f64::from(all))).min(1.0)
}

/// Whether each case passed.
async fn passes(system: &TestSystem, run: &str) -> BTreeMap<String, bool> {
    let results = system.results(run).await;
    let pass = |result: &Value| (result["case_id"].as_str().unwrap_or_default().to_owned(), result["success"] == true);
    results.iter().map(pass).collect()
}

#[tokio::test]
async fn two_models_are_compared_as_by_hand() {
    let system = TestSystem::start().await;
    let card = system.card("GSM8K", "{{question}}", problems()).await;
    let baseline = system.run(&asked(&card, &[FINETUNED])).await;
    let candidate = system.run(&asked(&card, &[VERIFIED])).await;
    for run in [&baseline, &candidate] {
        assert_eq!(system.ended(run).await["status"], "completed");
    }
    let (before, now) = (passes(&system, &baseline).await, passes(&system, &candidate).await);
    let count = |was: bool, is: bool| {
        u32::try_from(before.iter().filter(|(case, pass)| **pass == was && now[*case] == is).count()).unwrap()
    };
    let (up, down) = (count(false, true), count(true, false));
    let compared = system.read(&format!("/runs/{candidate}/comparison?baseline={baseline}")).await.expect(200).body;
    assert_eq!((&compared["final_results"], &compared["level"]), (&json!(true), &json!(0.05)));
    let arm = &compared["comparisons"][0];
    assert_eq!(arm["cases"]["compared"], PROBLEMS, "{arm:#}");
    let pass = &arm["metrics"][0];
    assert_eq!((&pass["name"], &pass["test"]), (&json!("pass"), &json!("sign")));
    assert_eq!((pass["better_cases"].as_u64(), pass["worse_cases"].as_u64()), (Some(up.into()), Some(down.into())));
    let p_value = pass["p_value"].as_f64().unwrap();
    let by_hand = mcnemar(up, down);
    assert!(
        (p_value - by_hand).abs() < by_hand * 1e-9 && by_hand < 0.01,
        "{p_value} and {by_hand}, {up} up, {down} down"
    );
    assert_eq!(arm["verdict"], json!({ "is": "improved", "more_repeats": null }));
    assert_eq!(arm["metrics"].as_array().unwrap().iter().filter(|one| one["name"] == "metric:right").count(), 1);
    let list = |key: &str| u32::try_from(arm[key].as_array().unwrap().len()).unwrap();
    assert_eq!((list("improvements"), list("regressions")), (up.min(100), down.min(100)));
    // The other way round it is worse by as much.
    let turned = system.read(&format!("/runs/{baseline}/comparison?baseline={candidate}")).await.expect(200).body;
    assert_eq!(turned["comparisons"][0]["verdict"]["is"], "regressed");
    assert_eq!(turned["comparisons"][0]["metrics"][0]["p_value"], pass["p_value"]);
    system.stop().await;
}

#[tokio::test]
async fn versions_of_one_run_are_compared_and_repeats_are_looked_at_together() {
    let system = TestSystem::start().await;
    let cases: Value =
        (0..10).map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() })).collect();
    let card = system.card("Two versions", "{{q}}", cases).await;
    let patch = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", "\"2\"");
    drop(TestSystem::send(patch.json(&json!({ "prompt": "no {{q}}" }))).await.expect(200));
    let assertions = json!([{ "type": "equals", "value": "{{expected_output}}" }]);
    let models = json!([{ "id": "echo" }]);
    let request =
        json!({ "card_id": card, "versions": [1, 2], "models": models, "repeats": 3, "assertions": assertions });
    let run = system.run(&request).await;
    assert_eq!(system.ended(&run).await["totals"]["passed"], 30);
    let itself = format!("/runs/{run}/comparison?baseline={run}");
    assert_eq!(system.read(&itself).await.expect(422).code(), "not_comparable");
    let compared = system.read(&format!("{itself}&baseline_version=1")).await.expect(200).body;
    let arm = &compared["comparisons"][0];
    assert_eq!((&arm["baseline"]["version"], &arm["candidate"]["version"]), (&json!(1), &json!(2)));
    assert_eq!((&arm["verdict"]["is"], &arm["cases"]["compared"]), (&json!("regressed"), &json!(10)));
    assert_eq!(arm["regressions"][0]["baseline"], json!({ "answered": 3, "passed": 3, "errors": 0 }));
    let same = system.read(&format!("{itself}&baseline_version=1&version=1")).await.expect(422);
    assert_eq!(same.code(), "not_comparable");
    let repeats = system.read(&format!("/runs/{run}/repeats")).await.expect(200).body;
    assert_eq!((&repeats["k"], repeats["arms"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    let arm = &repeats["arms"][0];
    assert_eq!((&arm["pass_at_k"], &arm["pass_hat_k"], &arm["flaky_cases"]), (&json!(1.0), &json!(1.0), &json!(0)));
    assert_eq!(repeats["arms"][1]["pass_at_k"], 0.0);
    assert_eq!(
        system.read(&format!("/runs/{run}/repeats?k=4")).await.expect(200).body["arms"][0]["pass_at_k"],
        Value::Null
    );
    system.stop().await;
}

#[tokio::test]
async fn what_can_not_be_compared_is_refused_with_the_reason() {
    let system = TestSystem::start().await;
    let cases = || json!([{ "input": { "q": "1" }, "expected_output": "1" }]);
    let (one, other) = (system.card("One", "{{q}}", cases()).await, system.card("Other", "{{q}}", cases()).await);
    let run = |card: &str, model: &str| json!({ "card_id": card, "models": [{ "id": "echo", "label": model }] });
    let (run_of_one, run_of_other) = (system.run(&run(&one, "a")).await, system.run(&run(&other, "a")).await);
    let two_models =
        json!({ "card_id": one, "models": [{ "id": "echo", "label": "b" }, { "id": "echo", "label": "c" }] });
    let another = system.run(&two_models).await;
    for run in [&run_of_one, &run_of_other, &another] {
        system.ended(run).await;
    }
    let compare = |query: String| format!("/runs/{run_of_one}/comparison?{query}");
    let of_another_card = system.read(&compare(format!("baseline={run_of_other}"))).await.expect(422);
    assert_eq!(of_another_card.body["errors"][0]["field"], "baseline");
    let no_model = system.read(&compare(format!("baseline={another}"))).await.expect(422);
    assert_eq!((no_model.code(), &no_model.body["errors"][0]["field"]), ("not_comparable", &json!("model")));
    let chosen = system.read(&compare(format!("baseline={another}&baseline_model=c"))).await.expect(200).body;
    assert_eq!(chosen["comparisons"][0]["verdict"]["is"], "no_evidence");
    let none = system.read(&compare(format!("baseline={another}&version=7"))).await.expect(422);
    assert_eq!(none.code(), "not_comparable");
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(system.read(&compare(format!("baseline={unknown}"))).await.expect(404).code(), "run_not_found");
    assert_eq!(system.read(&format!("/runs/{unknown}/repeats")).await.expect(404).code(), "run_not_found");
    for level in ["0", "0.6", "NaN", "-1"] {
        drop(system.read(&compare(format!("baseline={another}&level={level}"))).await.expect(422));
    }
    drop(system.read(&compare(String::new())).await.expect(422));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_know_their_branch_and_answers_that_were_used_again() {
    let system = TestSystem::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let suite = folder.path().join("suite.yaml");
    let text = "name: Branches\ncard: { title: Branches, prompt: 'Hello {{q}}' }\nmodels: [echo]\n\
                cases: [{ input: { q: Ann }, assertions: [{ type: contains, value: Hello }] }]\n";
    std::fs::write(&suite, text).expect("a file");
    let path = suite.display().to_string();
    let on = |branch: &'static str| ["run", &path, "--branch", branch].map(str::to_owned).to_vec();
    let of_branch = |branch: &'static str, more: &[&str]| {
        let mut line = on(branch);
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    };
    let run = async |line: Vec<String>| ran(&system, &line.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(run(of_branch("main", &[])).await.0, 0);
    assert_eq!(run(of_branch("feature", &[])).await.0, 0);
    let (code, out, err) = run(of_branch("feature", &["--baseline", "branch:main", "--fail-on", "regressed"])).await;
    assert!(code == 0 && out.contains("version 1 with echo against version 1 with echo: no evidence"), "{out}{err}");
    let head = system.store.head().await.expect("the log has an end");
    let runs = system.get(&format!("/runs?min_position={head}")).await.expect(200).body;
    let branches: Vec<&str> =
        runs["items"].as_array().expect("runs").iter().filter_map(|run| run["branch"].as_str()).collect();
    assert_eq!(branches, ["feature", "feature", "main"]);
    let newest = runs["items"][0]["id"].as_str().expect("an id").to_owned();
    let main = runs["items"][2]["id"].as_str().expect("an id").to_owned();
    let (_, out, _) =
        run(["runs", "compare", &newest, "--baseline", "branch:main", "--json"].map(str::to_owned).to_vec()).await;
    let compared: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(compared["baseline_run_id"], main.as_str());
    let lost = run(["runs", "compare", &newest, "--baseline", "branch:nobody"].map(str::to_owned).to_vec()).await;
    assert!(lost.0 == 2 && lost.2.contains("no run of the branch \"nobody\""), "{lost:?}");

    let card = runs["items"][0]["card_id"].clone();
    let asked = json!({ "card_id": card, "models": [{ "id": "echo" }], "cache": true });
    for cached in [false, true] {
        let again = system.run(&asked).await;
        system.ended(&again).await;
        assert_eq!(system.results(&again).await[0]["cached"], cached);
    }
    let source = json!({ "card_id": card, "models": [{ "id": "echo" }], "source": { "branch": "" } });
    assert_eq!(system.post("/runs", &source).await.expect(422).code(), "invalid_text");
    system.stop().await;
}
