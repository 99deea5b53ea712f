//! The life of a card over HTTP.

use pcs_auth::Role;
use pcs_domain::ids::ActorId;
use pcs_tests::eventually;
use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::ran;

#[tokio::test]
async fn a_card_is_made_revised_labelled_and_archived() {
    let system = TestSystem::start().await;
    let made = system
        .post(
            "/cards",
            &json!({ "title": "Greeter", "prompt": "Hello {{name}}", "category": "demo", "tags": ["b", "a", "b"] }),
        )
        .await
        .expect(201);
    let id = made.id();
    assert_eq!(made.body["tags"], json!(["a", "b"]));
    assert_eq!(made.body["version"], 1);
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(made.header("location"), format!("/api/v1/cards/{id}"));

    let path = format!("/api/v1/cards/{id}");
    let patch = |revision: Option<&str>, body: Value| {
        let request = system.request(Method::PATCH, &path).json(&body);
        TestSystem::send(match revision {
            Some(revision) => request.header("if-match", format!("\"{revision}\"")),
            None => request,
        })
    };
    let change = json!({ "prompt": "Good day {{name}}", "message": "politer", "tags": ["c"], "description": "polite" });
    assert_eq!(patch(None, change.clone()).await.expect(428).code(), "precondition_required");
    let revised = patch(Some("1"), change.clone()).await.expect(200);
    assert_eq!(revised.body["version"], 2);
    assert_eq!(revised.body["description"], "polite");
    assert_eq!(revised.body["tags"], json!(["c"]));
    drop(patch(Some("1"), change).await.expect(412));

    let position = revised.header("pcs-position").to_owned();
    let read = system.get(&format!("/cards/{id}?min_position={position}")).await.expect(200);
    assert_eq!(read.body["prompt"], "Good day {{name}}");
    assert_eq!(read.header("etag"), revised.header("etag"));
    let versions = system.get(&format!("/cards/{id}/versions?min_position={position}")).await.expect(200).body;
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(2));
    let diff = system.get(&format!("/cards/{id}/diff?from=1&to=2")).await.expect(200).body;
    assert!(diff["unified"].as_str().is_some_and(|text| text.contains("-Hello") && text.contains("+Good day")));

    let label = |version: u32| {
        TestSystem::send(
            system.request(Method::PUT, &format!("{path}/labels/production")).json(&json!({ "version": version })),
        )
    };
    assert_eq!(label(9).await.expect(422).code(), "version_not_found");
    assert_eq!(label(1).await.expect(200).body["labels"], json!({ "production": 1 }));

    drop(system.post(&format!("/cards/{id}/archive"), &json!({})).await.expect(200));
    assert_eq!(system.post(&format!("/cards/{id}/publish"), &json!({})).await.expect(409).code(), "card_archived");
    let restored = system.post(&format!("/cards/{id}/restore"), &json!({})).await.expect(200);
    assert_eq!(restored.body["archived"], false);
    system.stop().await;
}

#[tokio::test]
async fn a_protected_label_is_moved_by_an_administrator_only() {
    let system = TestSystem::start().await;
    let card = system.card("Greeter", "Hello {{name}}", json!([{ "input": { "name": "Ada" } }])).await;
    let pool = system.store.pool();
    let account: uuid::Uuid =
        sqlx::query_scalar("select account_id from auth.account").fetch_one(pool).await.expect("there is one account");
    let editor = pcs_auth::create_api_key(pool, ActorId(account), "ci", Role::Editor).await.expect("a key").text;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let send = async |method: Method, key: &str, path: &str, body: Value| {
        let url = format!("{}/api/v1/cards/{card}/labels/{path}", system.url);
        TestSystem::send(http.request(method, url).bearer_auth(key).json(&body)).await
    };
    let (admin, first, none) = (system.api_key.as_str(), json!({ "version": 1 }), json!({}));
    let protection = "production/protection";
    assert_eq!(send(Method::PUT, &editor, protection, none.clone()).await.expect(403).code(), "forbidden");
    let protected = send(Method::PUT, admin, protection, none.clone()).await.expect(200);
    assert_eq!((&protected.body["labels"], &protected.body["protected_labels"]), (&json!({}), &json!(["production"])));

    let refused = send(Method::PUT, &editor, "production", first.clone()).await.expect(403);
    assert_eq!(refused.code(), "label_protected");
    drop(send(Method::PUT, &editor, "staging", first.clone()).await.expect(200));
    drop(send(Method::PUT, admin, "production", first.clone()).await.expect(200));
    assert_eq!(send(Method::DELETE, &editor, "production", none.clone()).await.expect(403).code(), "label_protected");
    // Nor does a detour take it from those who fetch it by the card's title.
    let on_card = async |method: Method, path: &str, revision: &str, body: Value| {
        let request = http.request(method, format!("{}/api/v1/cards/{card}{path}", system.url)).bearer_auth(&editor);
        TestSystem::send(request.header("if-match", revision).json(&body)).await
    };
    let seen = system.read(&format!("/cards/{card}")).await.expect(200).header("etag").to_owned();
    let archived = on_card(Method::POST, "/archive", &seen, none.clone()).await.expect(403);
    let renamed = on_card(Method::PATCH, "", &seen, json!({ "title": "Other" })).await.expect(403);
    assert_eq!((archived.code(), renamed.code()), ("label_protected", "label_protected"));
    // The read model says what the command's own state says.
    let read = system.read(&format!("/cards/{card}")).await.expect(200).body;
    assert_eq!(read["labels"], json!({ "production": 1, "staging": 1 }));
    assert_eq!(read["protected_labels"], json!(["production"]));
    assert_eq!(system.read("/prompts/Greeter").await.expect(200).body["labels"], json!(["production", "staging"]));
    let then = protected.header("pcs-position");
    let past = system.get(&format!("/cards/{card}?as_of={then}")).await.expect(200).body;
    assert_eq!((&past["labels"], &past["protected_labels"]), (&json!({}), &json!(["production"])));

    assert_eq!(send(Method::DELETE, &editor, protection, none.clone()).await.expect(403).code(), "forbidden");
    let freed = send(Method::DELETE, admin, protection, none.clone()).await.expect(200);
    assert_eq!(freed.body["protected_labels"], json!([]));
    drop(send(Method::DELETE, &editor, "production", none).await.expect(200));
    system.stop().await;
}

#[tokio::test]
async fn a_prompt_is_fetched_by_title_and_label() {
    let system = TestSystem::start().await;
    let title = "team a/Greeter?";
    let card = system.card(title, "Hello {{name}}", json!([{ "input": { "name": "Ada" } }])).await;
    let patch = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", "\"2\"");
    drop(TestSystem::send(patch.json(&json!({ "prompt": "Good day {{name}}" }))).await.expect(200));
    let path = "/prompts/team%20a%2FGreeter%3F";
    let label = async |version: u32| {
        let put = system.request(Method::PUT, &format!("/api/v1/cards/{card}/labels/production"));
        TestSystem::send(put.json(&json!({ "version": version }))).await.expect(200).header("pcs-position").to_owned()
    };
    assert_eq!(system.read(path).await.expect(404).code(), "label_not_found");
    let first = label(1).await;
    let fetched = system.read(path).await.expect(200);
    assert_eq!((&fetched.body["name"], &fetched.body["version"]), (&json!(title), &json!(1)));
    assert_eq!((&fetched.body["prompt"], &fetched.body["labels"]), (&json!("Hello {{name}}"), &json!(["production"])));
    assert_eq!(fetched.header("cache-control"), "private, max-age=60");
    let etag = fetched.header("etag").to_owned();
    let again = |etag: String| {
        let head = system.store.head();
        let asked = &system;
        async move {
            let head = head.await.expect("the log has an end");
            let get = asked.request(Method::GET, &format!("/api/v1{path}?min_position={head}"));
            TestSystem::send(get.header("if-none-match", format!("\"other\", W/{etag}"))).await
        }
    };
    let known = again(etag.clone()).await.expect(304);
    assert_eq!((known.header("etag"), &known.body), (etag.as_str(), &Value::Null));
    label(2).await;
    assert_eq!(again(etag).await.expect(200).body["prompt"], "Good day {{name}}");
    assert_eq!(system.read(&format!("{path}?version=1")).await.expect(200).body["labels"], json!([]));
    assert_eq!(system.get(&format!("{path}?as_of={first}")).await.expect(200).body["version"], 1);
    assert_eq!(system.read(&format!("{path}?label=latest")).await.expect(200).body["version"], 2);
    assert_eq!(system.read(&format!("{path}?version=3")).await.expect(404).code(), "version_not_found");
    assert_eq!(system.read(&format!("{path}?label=staging")).await.expect(404).code(), "label_not_found");
    drop(system.read(&format!("{path}?label=production&version=1")).await.expect(422));
    assert_eq!(system.read("/prompts/nobody").await.expect(404).code(), "prompt_not_found");
    system.card(title, "another", json!([{ "input": {} }])).await;
    assert_eq!(system.read(path).await.expect(409).code(), "prompt_ambiguous");
    system.stop().await;
}

#[tokio::test]
async fn a_prompt_is_checked_against_its_cases_before_a_run_is() {
    let system = TestSystem::start().await;
    let cases = json!([
        { "name": "whole", "input": { "name": "Ada", "tone": "warm" } },
        { "name": "bare", "input": { "nmae": "Grace" } },
        { "name": "theirs", "subject": "customer-1", "input": { "name": "Marvin", "tone": "dry" } },
    ]);
    let prompt = "{% if tone %}In a {{tone}} tone: {% endif %}hello {{name}}, on {{day | default('no day')}}";
    let card = system.card("Greeter", prompt, cases).await;
    let lint = async |version: u32| system.read(&format!("/cards/{card}/versions/{version}/lint")).await;
    let found = lint(1).await.expect(200).body;
    assert_eq!(found["variables"], json!(["day", "name", "tone"]));
    assert_eq!((&found["cases"], &found["cases_checked"], &found["has_errors"]), (&json!(3), &json!(3), &json!(true)));
    let said = |found: &Value| -> Vec<Value> {
        let of = |remark: &Value| json!([remark["severity"], remark["kind"], remark["variable"], remark["example"]]);
        found["remarks"].as_array().expect("a list").iter().map(of).collect()
    };
    let expected = json!([
        ["error", "missing_variable", "name", "bare"],
        ["warning", "untested_variable", "day", null],
        ["warning", "unused_variable", "nmae", "bare"],
    ]);
    assert_eq!(json!(said(&found)), expected);
    // The error is what refuses the run.
    let run = json!({ "card_id": card, "models": [{ "id": "echo" }] });
    assert_eq!(system.post("/runs", &run).await.expect(422).code(), "missing_variable");

    // What is a person's is looked at as long as there is a key to it.
    drop(TestSystem::send(system.request(Method::DELETE, "/api/v1/subjects/customer-1")).await.expect(200));
    let found = lint(1).await.expect(200).body;
    assert_eq!((&found["cases"], &found["cases_checked"]), (&json!(3), &json!(2)));
    assert_eq!(json!(said(&found)), expected);

    let patch = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", "\"2\"");
    drop(TestSystem::send(patch.json(&json!({ "prompt": "{% if %}" }))).await.expect(200));
    let found = lint(2).await.expect(200).body;
    assert_eq!(json!(said(&found)), json!([["error", "invalid_template", null, null]]));
    assert_eq!(lint(3).await.expect(404).code(), "version_not_found");
    let nobody = format!("/cards/{}/versions/1/lint", uuid::Uuid::nil());
    assert_eq!(system.read(&nobody).await.expect(404).code(), "card_not_found");
    system.stop().await;
}

#[tokio::test]
async fn a_card_says_which_of_its_versions_were_run_and_by_which_schedule() {
    let system = TestSystem::start().await;
    let card = system.card("Greeter", "Hello {{name}}", json!([{ "input": { "name": "Ada" } }])).await;
    let usage = async || system.read(&format!("/cards/{card}/usage")).await.expect(200).body;
    assert_eq!(usage().await, json!({ "versions": [], "schedules": [] }));
    let patch = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", "\"2\"");
    drop(TestSystem::send(patch.json(&json!({ "prompt": "Good day {{name}}" }))).await.expect(200));
    let of = |versions: Value| json!({ "card_id": card, "versions": versions, "models": [{ "id": "echo" }] });
    let both = system.run(&of(json!([1, 2]))).await;
    drop(system.ended(&both).await);
    let used = usage().await;
    let said = |used: &Value| -> Vec<Value> {
        let of = |used: &Value| json!([used["version"], used["runs"], used["running"], used["last_run_id"]]);
        used["versions"].as_array().expect("a list").iter().map(of).collect()
    };
    assert_eq!(json!(said(&used)), json!([[2, 1, 0, both], [1, 1, 0, both]]));

    let schedule = json!({ "name": "nightly", "cron": "0 0 1 1 *", "run": of(json!([2])) });
    let schedule = system.post("/schedules", &schedule).await.expect(201).id();
    assert_eq!(usage().await["schedules"], json!([]), "it has not run yet");
    // A year in which nobody was there: the last time is made up for.
    sqlx::query("update jobs.schedule set due_at = due_at - interval '1 year'")
        .execute(system.store.pool())
        .await
        .expect("the desk answers");
    let used = eventually("the schedule's run is shown", || async {
        let used = usage().await;
        (used["schedules"] != json!([])).then_some(used)
    })
    .await;
    let last = used["schedules"][0]["last_run_id"].as_str().expect("a run").to_owned();
    let expected = json!({ "id": schedule, "name": "nightly", "paused": false, "last_run_id": last, "versions": [2] });
    assert_eq!(used["schedules"], json!([expected]));
    drop(system.ended(&last).await);
    assert_eq!(json!(said(&usage().await)), json!([[2, 2, 0, last], [1, 1, 0, both]]));
    let nobody = format!("/cards/{}/usage", uuid::Uuid::nil());
    assert_eq!(system.read(&nobody).await.expect(404).code(), "card_not_found");
    system.stop().await;
}

#[tokio::test]
async fn cards_are_found_by_text_category_tag_and_visibility() {
    let system = TestSystem::start().await;
    let mut position = String::new();
    for (title, prompt, category, tag, public) in [
        ("Summariser", "Summarise this article: {{text}}", "news", "short", false),
        ("Translator", "Translate into French: {{text}}", "language", "short", true),
        ("Poet", "Write a poem about {{text}}", "language", "long", false),
    ] {
        let card = json!({
            "title": title, "prompt": prompt, "category": category, "tags": [tag], "is_public": public,
        });
        position = system.post("/cards", &card).await.expect(201).header("pcs-position").to_owned();
    }
    let titles = |query: &'static str| {
        let (system, position) = (&system, position.clone());
        async move {
            let path = format!("/cards?min_position={position}&{query}");
            let found = system.get(&path).await.expect(200).body;
            let mut titles: Vec<String> = found["items"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|card| card["title"].as_str().unwrap_or_default().to_owned())
                .collect();
            titles.sort();
            titles
        }
    };
    assert_eq!(titles("q=articles").await, ["Summariser"], "full text knows word stems");
    assert_eq!(titles("q=french").await, ["Translator"]);
    assert_eq!(titles("category=language").await, ["Poet", "Translator"]);
    assert_eq!(titles("tag=short").await, ["Summariser", "Translator"]);
    assert_eq!(titles("visibility=public").await, ["Translator"]);
    assert_eq!(titles("title=Poet").await, ["Poet"]);
    // Pages of one, until there is no next.
    let mut seen = Vec::new();
    let mut path = "/cards?limit=1".to_owned();
    loop {
        let page = system.get(&path).await.expect(200).body;
        seen.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/cards?limit=1&cursor={cursor}");
    }
    assert_eq!(seen.len(), 3);
    system.stop().await;
}

#[tokio::test]
async fn cases_keep_their_identity_and_are_not_lost_by_accident() {
    let system = TestSystem::start().await;
    let card = system.card("Cases", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "one" }])).await;
    let path = format!("/cards/{card}/cases");
    let again = json!({ "cases": [
        { "input": { "q": "2" } },
        { "input": { "q": "1" }, "expected_output": "one" },
    ] });
    let added = system.post(&path, &again).await.expect(200).body;
    assert_eq!((added["added"].as_u64(), added["unchanged"].as_u64()), (Some(1), Some(1)));
    let stricter = json!({ "cases": [
        { "input": { "q": "1" }, "expected_output": "one", "assertions": [{ "type": "contains", "value": "one" }] },
    ] });
    assert_eq!(system.post(&path, &stricter).await.expect(409).code(), "duplicate_case");
    let mut changing = stricter.clone();
    changing["on_duplicate"] = json!("change");
    let changed = system.post(&path, &changing).await.expect(200).body;
    assert_eq!(changed["changed"], 1);
    assert_eq!(changed["case_ids"][0], added["case_ids"][1], "the same question is the same case");
    let case = changed["case_ids"][0].as_str().unwrap_or_default();
    drop(TestSystem::send(system.request(Method::DELETE, &format!("/api/v1{path}/{case}"))).await.expect(200));
    assert_eq!(
        TestSystem::send(system.request(Method::DELETE, &format!("/api/v1{path}/{case}"))).await.expect(404).code(),
        "case_not_found"
    );
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_fit_the_schema_of_their_card() {
    let system = TestSystem::start().await;
    let card =
        system.card("Ages", "{{name}} is {{age}}", json!([{ "input": { "name": "Ann", "age": "three" } }])).await;
    let typed = json!({ "input": { "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": { "name": { "type": "string" }, "age": { "type": "integer", "minimum": 0 } } } });
    let put = |body: &Value| system.request(Method::PUT, &format!("/api/v1/cards/{card}/schema")).json(body);
    drop(TestSystem::send(put(&typed)).await.expect(200));
    let shown = system.get(&format!("/cards/{card}/schema")).await.expect(200).body;
    assert_eq!((&shown["input"], &shown["expected_output"]), (&typed["input"], &Value::Null));

    let path = format!("/cards/{card}/cases");
    let wrong = json!({ "cases": [{ "input": { "name": "Bob", "age": 3 } }, { "input": { "name": 4, "agee": 1 }, "name": "odd" }] });
    let refused = system.post(&path, &wrong).await.expect(422);
    assert_eq!(
        (refused.code(), &refused.body["errors"][0]["field"]),
        ("case_does_not_fit", &json!("cases[1]")),
        "{:#}",
        refused.body
    );
    assert!(
        refused.body["errors"].to_string().contains("case \\\"odd\\\": input.name: 4 is not of type"),
        "{:#}",
        refused.body
    );
    drop(system.post(&path, &json!({ "cases": [{ "input": { "name": "Bob", "age": 3 } }] })).await.expect(200));

    // The case that was there before does not fit, and no run of it is begun.
    let run = json!({ "card_id": card, "models": [{ "id": "echo" }] });
    let refused = system.post("/runs", &run).await.expect(422);
    assert_eq!(refused.code(), "case_does_not_fit", "{:#}", refused.body);
    drop(TestSystem::send(put(&json!({}))).await.expect(200));
    drop(system.post("/runs", &run).await.expect(202));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.json").display().to_string();
    std::fs::write(&file, typed.to_string()).expect("a file");
    let (code, out, err) = ran(&system, &["card", "schema", &card, "--set", &file]).await;
    assert!(code == 0 && out.contains("\"minimum\": 0"), "{out}{err}");
    let (code, out, err) = ran(&system, &["card", "schema", &card, "--clear"]).await;
    assert!(code == 0 && out.contains("\"input\": null"), "{out}{err}");
    let broken = TestSystem::send(put(&json!({ "input": { "type": "intger" } }))).await.expect(422);
    assert_eq!((broken.code(), &broken.body["errors"][0]["field"]), ("invalid_schema", &json!("input")));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_has_the_model_that_it_is_written_for_and_runs_take_it() {
    let system = TestSystem::start().await;
    let model = json!({ "id": "echo", "params": { "temperature": 0.5 } });
    let new = json!({ "title": "Tuned", "prompt": "Hello {{name}}", "model": model, "metadata": { "owner": "core" } });
    let card = system.post("/cards", &new).await.expect(201).id();
    let cases = json!({ "cases": [{ "input": { "name": "Ada" } }] });
    drop(system.post(&format!("/cards/{card}/cases"), &cases).await.expect(200));
    let run = system.post("/runs", &json!({ "card_id": card })).await.expect(202).id();
    assert_eq!(system.ended(&run).await["models"], json!([model]));
    assert_eq!(system.results(&run).await[0]["output"], "Hello Ada");
    let prompt = system.read("/prompts/Tuned?label=latest").await.expect(200).body;
    assert_eq!(prompt["model"], model);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let langfuse = http.get(format!("{}/api/public/v2/prompts/Tuned?label=latest", system.url));
    let langfuse = TestSystem::send(langfuse.basic_auth("pk-lf-anything", Some(&system.api_key))).await;
    assert_eq!(
        langfuse.body["config"],
        json!({ "owner": "core", "model": "echo", "temperature": 0.5 }),
        "{langfuse:?}"
    );

    // Another model is another version; and two that differ leave it open which is meant.
    let etag = system.read(&format!("/cards/{card}")).await.expect(200).header("etag").to_owned();
    let revise = |body: Value, etag: &str| {
        let request = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", etag);
        TestSystem::send(request.json(&body))
    };
    let bad = revise(json!({ "model": { "id": "nobody:x" } }), &etag).await.expect(422);
    assert_eq!((bad.code(), &bad.body["errors"][0]["field"]), ("invalid_model", &json!("model")));
    let revised = revise(json!({ "model": { "id": "scripted" } }), &etag).await.expect(200);
    assert_eq!(revised.body["version"], 2);
    let refused = system.post("/runs", &json!({ "card_id": card, "versions": [1, 2] })).await.expect(422);
    assert_eq!((refused.code(), &refused.body["errors"][0]["field"]), ("no_model", &json!("models")));
    let etag = revised.header("etag").to_owned();
    drop(revise(json!({ "model": null }), &etag).await.expect(200));
    assert_eq!(system.post("/runs", &json!({ "card_id": card })).await.expect(422).code(), "no_model");
    let versions = system.read(&format!("/cards/{card}/versions")).await.expect(200).body["items"].clone();
    let ids: Vec<_> =
        versions.as_array().expect("three").iter().map(|version| version["model"]["id"].clone()).collect();
    assert_eq!(ids, [json!("echo"), json!("scripted"), Value::Null]);
    system.stop().await;
}
