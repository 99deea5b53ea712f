//! The edge of the HTTP API: who may come in, what is refused, and that nothing is done twice.

use std::time::Duration;

use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn nobody_gets_in_without_a_key() {
    let system = TestSystem::start().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let wrong = format!("{}x", system.api_key);
    for key in [None, Some(""), Some("nonsense"), Some(wrong.as_str())] {
        let request = client.get(format!("{}/api/v1/cards", system.url));
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = TestSystem::send(request).await.expect(401);
        assert!(answer.header("content-type").starts_with("application/problem+json"));
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    for open in ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"] {
        drop(TestSystem::send(client.get(format!("{}{open}", system.url))).await.expect(200));
    }
    system.stop().await;
}

#[tokio::test]
async fn the_same_key_has_the_same_result_and_another_body_is_refused() {
    let system = TestSystem::start().await;
    let create = |title: &str, key: &str| {
        let request = system.request(Method::POST, "/api/v1/cards").header("idempotency-key", key);
        TestSystem::send(request.json(&json!({ "title": title, "prompt": "p" })))
    };
    let first = create("one", "k-1").await.expect(201);
    let again = create("one", "k-1").await.expect(201);
    assert_eq!((first.id(), first.header("pcs-position")), (again.id(), again.header("pcs-position")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(create("two", "k-1").await.expect(422).code(), "idempotency_key_reused");
    assert_ne!(create("one", "k-2").await.expect(201).id(), first.id());
    let many = futures_util::future::join_all((0..20).map(|_| create("many", "k-3"))).await;
    let ids: std::collections::BTreeSet<String> = many.into_iter().map(|answer| answer.expect(201).id()).collect();
    assert_eq!(ids.len(), 1);
    system.stop().await;
}

#[tokio::test]
async fn bad_bodies_are_refused_by_name_and_never_break_the_server() {
    let system = TestSystem::start().await;
    let deep = format!(
        "{{\"title\":\"t\",\"prompt\":\"p\",\"metadata\":{}{}}}",
        "{\"a\":".repeat(100),
        "1".to_owned() + &"}".repeat(100)
    );
    let long = format!("{{\"title\":\"{}\",\"prompt\":\"p\"}}", "x".repeat(256));
    let cases: Vec<(&str, &[u16])> = vec![
        ("", &[400]),
        ("{", &[400]),
        ("null", &[400, 422]),
        ("[\"t\",\"p\"]", &[400, 422]),
        ("{\"title\":\"t\",\"prompt\":\"p\",\"titel\":1}", &[400, 422]),
        ("{\"title\":\"t\",\"title\":\"u\",\"prompt\":\"p\"}", &[400, 422]),
        ("{\"title\":1,\"prompt\":\"p\"}", &[400, 422]),
        ("{\"title\":\"\",\"prompt\":\"p\"}", &[422]),
        ("{\"title\":\"a\\u0000b\",\"prompt\":\"p\"}", &[422]),
        ("{\"title\":\"t\",\"prompt\":\"p\",\"metadata\":{\"\\u0000\":1}}", &[422]),
        ("{\"title\":\"t\",\"prompt\":\"\\ud800\"}", &[400, 422]),
        (&deep, &[400, 422]),
        (&long, &[422]),
    ];
    for (body, expected) in cases {
        let request = system.request(Method::POST, "/api/v1/cards").header("content-type", "application/json");
        let answer = TestSystem::send(request.body(body.to_owned())).await;
        assert!(expected.contains(&answer.status.as_u16()), "{body:.80}: {} {:#}", answer.status, answer.body);
        assert!(!answer.code().is_empty() && !answer.body["detail"].is_null(), "{body:.80}: {:#}", answer.body);
    }
    let huge = json!({ "title": "t", "prompt": "x".repeat(3 * 1024 * 1024) });
    assert_eq!(system.post("/cards", &huge).await.status, 413);
    let text = system.request(Method::POST, "/api/v1/cards").header("content-type", "text/plain").body("{}");
    assert_eq!(TestSystem::send(text).await.status, 415);
    assert_eq!(system.get("/cards/not-a-uuid").await.status.as_u16() / 100, 4);
    assert_eq!(system.get("/cards/%00").await.status.as_u16() / 100, 4);
    assert_eq!(system.get("/cards?limit=9999").await.status.as_u16() / 100, 4);
    assert_eq!(system.get("/cards?cursor=garbage").await.status.as_u16() / 100, 4);
    assert_eq!(system.get("/cards?nonsense=1").await.status.as_u16() / 100, 4);
    assert_eq!(system.get("/nothing").await.expect(404).header("content-type"), "application/problem+json");
    assert_eq!(system.store.head().await.expect("a head"), 0, "nothing was written");
    system.stop().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_ended() {
    let system = TestSystem::start().await;
    let address = system.url.trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("it reads");
    let mut answer = Vec::new();
    // The limit is 30 s; the patience of the test is above it.
    let ended = tokio::time::timeout(Duration::from_secs(45), socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection was still open");
    system.stop().await;
}

#[tokio::test]
async fn metrics_and_the_description_of_the_api_are_true() {
    let system = TestSystem::start().await;
    drop(system.get("/cards").await.expect(200));
    let text = system.request(Method::GET, "/metrics").send().await.expect("metrics").text().await.expect("text");
    for name in
        ["http_request_duration_seconds_bucket", "prompt_executions_total", "active_users", "swarm_agents_active"]
    {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(text.contains("route=\"/api/v1/cards\""), "routes are templates");
    let document = system.get("/openapi.json").await.expect(200).body;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().map(|paths| paths.len()).unwrap_or_default();
    assert!(paths >= 18, "{paths} paths are described");
    let described: Vec<&Value> = document["paths"].as_object().into_iter().flat_map(|paths| paths.values()).collect();
    assert!(described.iter().all(|path| path.is_object()));
    system.stop().await;
}
