//! Langfuse's own Python client fetches our cards, unchanged, from our server.

use std::process::Command;

use pcs_tests::python::{packages, python};
use pcs_tests::repository;
use pcs_tests::system::{Answer, TestSystem};
use reqwest::Method;
use serde_json::{Value, json};

const CLIENT: &str = "langfuse.py";
const LOCK: &str = "langfuse.lock";

/// Runs a program with the client and the settings that its users give it; what it asserts has to hold.
async fn run(system: &TestSystem, program: &str) -> String {
    let flows = repository().join("tests/flows");
    let mut command = Command::new("python3");
    // As an application has it: the public key is the beginning of the secret one.
    let public = system.api_key.get(.."pcs_".len() + 12).expect("a key is longer").to_owned();
    command.args(["-c", program]).env("LANGFUSE_PUBLIC_KEY", public).env("LANGFUSE_SECRET_KEY", &system.api_key);
    command.env("LANGFUSE_HOST", &system.url).env("LANGFUSE_TRACING_ENABLED", "false").env("NO_PROXY", "127.0.0.1");
    // Both wait: pip for the network, the program for the server in this process.
    let ended = tokio::task::spawn_blocking(move || {
        command.env("PYTHONPATH", packages(&flows.join(LOCK)));
        python(&mut command)
    });
    ended.await.expect("the program ends well")
}

/// The Python blocks of the page about it.
fn example() -> String {
    let page = std::fs::read_to_string(repository().join("docs/langfuse.md")).expect("there is a page");
    let blocks = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.collect()
}

async fn created(system: &TestSystem, card: Value) -> String {
    system.post("/cards", &card).await.expect(201).id()
}

async fn labelled(system: &TestSystem, card: &str, label: &str, version: u32) {
    let put = system.request(Method::PUT, &format!("/api/v1/cards/{card}/labels/{label}"));
    drop(TestSystem::send(put.json(&json!({ "version": version }))).await.expect(200));
}

async fn revised(system: &TestSystem, card: &str, revision: &str, change: Value) {
    let patch = system.request(Method::PATCH, &format!("/api/v1/cards/{card}")).header("if-match", revision);
    drop(TestSystem::send(patch.json(&change)).await.expect(200));
}

/// Three prompts: a text of two versions in a folder, a chat, and an archived one that nobody may get.
async fn prompts(system: &TestSystem) {
    let greeter = json!({
        "title": "team a/Greeter", "prompt": "Hello {{name}}", "tags": ["friendly", "short"],
        "metadata": { "model": "gpt-4o-mini", "temperature": 0.2 },
    });
    let card = created(system, greeter).await;
    let second = json!({ "prompt": "Good day, {{ name }}", "message": "more polite" });
    revised(system, &card, "\"1\"", second).await;
    labelled(system, &card, "production", 1).await;
    labelled(system, &card, "staging", 2).await;
    let protect = system.request(Method::PUT, &format!("/api/v1/cards/{card}/labels/production/protection"));
    drop(TestSystem::send(protect.json(&json!({}))).await.expect(200));
    let chat = json!([
        { "role": "system", "content": "You answer in {{language}}." },
        { "type": "placeholder", "name": "history" },
        { "role": "user", "content": "{{question}}" },
    ]);
    let card = created(system, json!({ "title": "support-chat", "prompt": chat.to_string() })).await;
    labelled(system, &card, "production", 1).await;
    let card = created(system, json!({ "title": "Retired", "prompt": "Gone" })).await;
    labelled(system, &card, "production", 1).await;
    drop(system.post(&format!("/cards/{card}/archive"), &json!({})).await.expect(200));
    drop(system.read("/prompts/support-chat").await.expect(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn langfuses_client_fetches_prompts_by_name_label_and_version() {
    let system = TestSystem::start().await;
    prompts(&system).await;
    let program = std::fs::read_to_string(repository().join("tests/flows").join(CLIENT)).expect("there is a program");
    assert_eq!(run(&system, &program).await, "all that was asked was answered\n");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_page_about_langfuse_runs() {
    let system = TestSystem::start().await;
    prompts(&system).await;
    let example = example();
    assert!(example.contains("get_prompt"), "the example was not found");
    assert!(run(&system, &example).await.starts_with("Hello Ada\n"));
    system.stop().await;
}

#[tokio::test]
async fn what_langfuses_clients_may_not_have_is_answered_in_their_form() {
    let system = TestSystem::start().await;
    prompts(&system).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let sent = async |path: &str, user: &str, password: &str| -> Answer {
        let request = http.get(format!("{}/api/public{path}", system.url)).basic_auth(user, Some(password));
        TestSystem::send(request).await
    };
    let ask = async |path: &str| sent(path, "pk-lf-anything", &system.api_key).await;
    drop(ask("/v2/prompts/support-chat").await.expect(200));
    let said = |answer: &Answer| {
        let text = |field: &str| answer.body[field].as_str().unwrap_or_default().to_owned();
        (text("error"), text("message"), text("code"))
    };

    let (error, message, code) = said(&ask("/v2/prompts/nobody").await.expect(404));
    assert_eq!((&*error, &*code), ("LangfuseNotFoundError", "prompt_not_found"));
    assert!(message.contains("\"nobody\""), "{message}");
    assert_eq!(ask("/v2/prompts/support-chat?version=7").await.expect(404).code(), "version_not_found");
    assert_eq!(ask("/v2/prompts/Retired").await.expect(404).code(), "prompt_not_found");
    assert_eq!(ask("/v2/prompts?label=@protected").await.expect(200).body["meta"]["totalItems"], 0);
    for (query, named) in [
        ("/v2/prompts?limit=101", "limit"),
        ("/v2/prompts?page=0", "page"),
        ("/v2/prompts?page=9223372036854775807", "page"),
        ("/v2/prompts?fromUpdatedAt=yesterday", "fromUpdatedAt"),
        ("/v2/prompts?filter=[]", "filter"),
        ("/v2/prompts/support-chat?version=1&label=production", "version"),
    ] {
        let (error, message, _) = said(&ask(query).await.expect(400));
        assert_eq!(error, "InvalidRequestError", "{query}");
        assert!(message.contains(named), "{query}: {message}");
    }
    let twin = json!({ "title": "support-chat", "prompt": "another" });
    drop(system.post("/cards", &twin).await.expect(201));
    assert_eq!(system.read("/prompts/support-chat").await.expect(409).code(), "prompt_ambiguous");
    assert_eq!(ask("/v2/prompts/support-chat").await.expect(400).code(), "prompt_ambiguous");

    for (user, password) in [("", &*system.api_key), ("pk-lf-anything", "wrong"), ("pcs_000000000000", &system.api_key)]
    {
        let refused = sent("/v2/prompts/support-chat", user, password).await.expect(401);
        assert_eq!((said(&refused).0.as_str(), refused.header("www-authenticate")), ("UnauthorizedError", "Basic"));
    }
    let bearer = system.request(Method::GET, "/api/public/v2/prompts");
    drop(TestSystem::send(bearer).await.expect(401));
    let write = http.post(format!("{}/api/public/v2/prompts", system.url)).basic_auth("x", Some(&system.api_key));
    let refused = TestSystem::send(write.json(&json!({}))).await.expect(405);
    assert_eq!(said(&refused).0, "MethodNotAllowedError");
    assert_eq!(said(&ask("/traces").await.expect(404)).0, "LangfuseNotFoundError");
    let health = TestSystem::send(http.get(format!("{}/api/public/health", system.url))).await.expect(200);
    assert_eq!(health.body["status"], "OK");
    system.stop().await;
}
