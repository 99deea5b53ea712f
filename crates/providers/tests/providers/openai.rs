//! The `OpenAI` wire: what it sends, what it makes of each answer, and each way in which a server can fail.

use std::time::{Duration, Instant};

use pcs_domain::execution::FailureClass;
use pcs_domain::model::ModelSpec;
use pcs_providers::{CallError, Gateway, GatewayConfig, ProviderKind, Secret};
use serde_json::{Value, json};

use crate::fake::{Fake, Step, cut_stream, event, response, stream, stream_until_close};
use crate::question::{Question, model};

const KEY: &str = "sk-operator-0123456789";

fn gateway() -> Gateway {
    let keys = [(ProviderKind::OpenAi, Secret::parse(KEY).unwrap())].into();
    Gateway::new(GatewayConfig {
        keys,
        connect_timeout: Duration::from_millis(500),
        first_byte_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(300),
        ..GatewayConfig::default()
    })
    .unwrap()
}

fn at(fake: &Fake) -> ModelSpec {
    model(json!({ "id": "openai:m", "base_url": format!("{}v1", fake.url) }))
}

fn text(content: &str) -> String {
    event(&json!({ "choices": [{ "index": 0, "delta": { "content": content }, "finish_reason": null }] }))
}

fn finished(reason: &str) -> String {
    event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }))
}

fn usage() -> String {
    event(&json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14 } }))
}

fn done() -> String {
    "data: [DONE]\n\n".to_owned()
}

async fn failure(fake: &Fake) -> CallError {
    Question::default().ask(&gateway(), &at(fake)).await.unwrap_err()
}

#[tokio::test]
async fn a_streamed_answer_is_put_together_and_the_last_chunk_brings_the_usage() {
    let fake = Fake::saying(stream(&[text("Fo"), text("ür"), finished("stop"), usage(), done()]));
    let asked = model(json!({
        "id": "openai:mistral-medium",
        "base_url": format!("{}v1", fake.url),
        "params": { "temperature": 0.5, "max_tokens": 7, "top_p": 0.9, "seed": 3, "stop": ["\n"], "system": "Be brief." },
    }));
    let answer = Question::default().ask(&gateway(), &asked).await.unwrap();
    assert_eq!(answer.output, "Foür");
    assert_eq!((answer.input_tokens, answer.output_tokens), (11, 3));
    assert_eq!(answer.finish_reason.as_deref(), Some("stop"));
    assert_eq!(answer.cost_micro_usd, None, "nobody knows the price of another server");

    let seen = fake.seen();
    assert!(seen[0].head.starts_with("post /v1/chat/completions http/1.1"), "{}", seen[0].head);
    let body = json!({
        "model": "mistral-medium", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "What is 2 + 2?" }],
        "temperature": 0.5, "max_tokens": 7, "top_p": 0.9, "seed": 3, "stop": ["\n"],
    });
    assert_eq!(seen[0].body, body, "the name stays whole, and nothing is sent that was not asked for");
}

#[tokio::test]
async fn a_model_name_with_two_colons_stays_whole() {
    let fake = Fake::saying(stream(&[text("x"), finished("stop"), done()]));
    let asked = model(json!({ "id": "openai:ft:gpt-4o-mini:org::abc", "base_url": fake.url }));
    let answer = Question::default().ask(&gateway(), &asked).await.unwrap();
    assert_eq!((answer.input_tokens, answer.output_tokens), (0, 0), "no usage was sent and none is made up");
    assert_eq!(fake.seen()[0].body["model"], "ft:gpt-4o-mini:org::abc");
}

#[tokio::test]
async fn the_key_goes_to_the_operators_address_only() {
    let reply = stream(&[text("x"), finished("stop"), usage(), done()]);
    let (foreign, own) = (Fake::saying(reply.clone()), Fake::saying(reply));
    Question::default().ask(&gateway(), &at(&foreign)).await.unwrap();
    let head = &foreign.seen()[0].head;
    assert!(!head.contains("authorization") && !head.contains("sk-operator"), "{head}");

    let keys = [(ProviderKind::OpenAi, Secret::parse(KEY).unwrap())].into();
    let base_urls = [(ProviderKind::OpenAi, own.url.clone())].into();
    let gateway = Gateway::new(GatewayConfig { keys, base_urls, ..GatewayConfig::default() }).unwrap();
    let answer = Question::default().ask(&gateway, &model(json!({ "id": "openai:gpt-4o-mini" }))).await.unwrap();
    assert_eq!(answer.cost_micro_usd, None, "a server in the provider's place has its own prices");
    assert!(own.seen()[0].head.contains(&format!("authorization: bearer {KEY}")));
}

#[tokio::test]
async fn a_stream_that_ends_without_its_end_is_no_answer() {
    let begun = [text("The answer is"), text(" 4")];
    let forms: [(&str, Vec<u8>); 8] = [
        ("proper end, no finish reason, no end mark", stream(&begun)),
        ("connection closed, no length", stream_until_close(&begun)),
        ("cut inside a chunked body", cut_stream(&begun)),
        ("end mark without a finish reason", stream(&[text("4"), done()])),
        ("cut inside an event", stream(&[text("4"), "data: {\"choices\":[{\"del".to_owned()])),
        ("empty finish reason", stream(&[text("4"), finished(""), done()])),
        ("the server broke off and says so", stream(&[text("4"), finished("abort"), done()])),
        ("nothing at all", stream(&[])),
    ];
    for (form, bytes) in forms {
        let error = failure(&Fake::saying(bytes)).await;
        assert_eq!(error.class, FailureClass::Truncated, "{form}: {error}");
        assert!(error.class.is_retryable());
    }
    let error = failure(&Fake::saying(stream(&begun))).await;
    assert!(error.message.contains("after 15 bytes"), "{error}");
}

#[tokio::test]
async fn refusals_have_their_class_and_their_wait() {
    let in_30_s = [("retry-after", "Fri, 02 Jan 2026 03:04:35 GMT"), ("date", "Fri, 02 Jan 2026 03:04:05 GMT")];
    let overflow = r#"{"error":{"message":"maximum context length is 8","code":"context_length_exceeded"}}"#;
    let second = Duration::from_secs(1);
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, FailureClass, Option<Duration>);
    let table: [Row<'_>; 9] = [
        ("429 Too Many Requests", &[("retry-after", "7")], "{}", FailureClass::RateLimited, Some(7 * second)),
        ("429 Too Many Requests", &in_30_s, "{}", FailureClass::RateLimited, Some(30 * second)),
        ("429 Too Many Requests", &[("retry-after-ms", "1000")], "{}", FailureClass::RateLimited, Some(second)),
        ("500 Internal Server Error", &[], "boom", FailureClass::Overloaded, None),
        ("503 Service Unavailable", &[("retry-after", "2")], "", FailureClass::Overloaded, Some(2 * second)),
        ("401 Unauthorized", &[("retry-after", "2")], "{}", FailureClass::AuthFailed, None),
        ("400 Bad Request", &[], overflow, FailureClass::ContextOverflow, None),
        ("400 Bad Request", &[], r#"{"error":{"code":"content_filter"}}"#, FailureClass::ContentFiltered, None),
        ("404 Not Found", &[], r#"{"error":{"message":"no such model"}}"#, FailureClass::BadRequest, None),
    ];
    for (status, headers, body, class, wait) in table {
        let fake = Fake::saying(response(status, headers, body));
        let error = failure(&fake).await;
        assert_eq!((error.class, error.retry_after), (class, wait), "{status} {headers:?}: {error}");
        assert_eq!(fake.seen().len(), 1, "the gateway asks once: retries are the domain's");
    }
}

#[tokio::test]
async fn a_quoted_key_is_blackened_and_a_long_body_is_cut() {
    let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}. {}"}}}}"#, "x".repeat(1_000_000));
    let error = failure(&Fake::saying(response("401 Unauthorized", &[], &body))).await;
    assert!(error.message.starts_with("HTTP 401: Incorrect API key provided: [redacted]"), "{error}");
    assert!(error.message.len() <= 2_048, "{}", error.message.len());
}

#[tokio::test]
async fn errors_and_nonsense_within_a_stream_are_told_apart() {
    let overloaded = event(&json!({ "error": { "type": "server_error", "message": "boom" } }));
    let table: [(Vec<String>, FailureClass); 3] = [
        (vec![text("4"), overloaded], FailureClass::Overloaded),
        (vec![text("4"), "data: nonsense\n\n".to_owned()], FailureClass::MalformedResponse),
        (vec![text("4"), finished("content_filter"), done()], FailureClass::ContentFiltered),
    ];
    for (pieces, class) in table {
        let error = failure(&Fake::saying(stream(&pieces))).await;
        assert_eq!(error.class, class, "{error}");
    }
    let not_utf8 = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: \xff\xfe\n\n".to_vec();
    assert_eq!(failure(&Fake::saying(not_utf8)).await.class, FailureClass::MalformedResponse);
}

#[tokio::test]
async fn a_cut_answer_of_full_length_is_an_answer() {
    let fake = Fake::saying(stream(&[text("4"), finished("length"), done()]));
    let answer = Question::default().ask(&gateway(), &at(&fake)).await.unwrap();
    assert_eq!(answer.finish_reason.as_deref(), Some("length"));
}

#[tokio::test]
async fn silence_is_a_timeout_wherever_it_begins() {
    let long = Step::Pause(Duration::from_secs(3));
    let head = stream(&[text("4")]);
    let forms = [
        ("before the first byte", vec![long.clone()]),
        ("within the answer", vec![Step::Send(head[..head.len() - 5].to_vec()), long]),
    ];
    for (form, steps) in forms {
        let (fake, started) = (Fake::start(steps), Instant::now());
        let error = failure(&fake).await;
        assert_eq!(error.class, FailureClass::Timeout, "{form}: {error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{form}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let goal = Fake::saying(stream(&[text("x"), finished("stop"), done()]));
    let location = format!("{}v1/chat/completions", goal.url);
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let error = failure(&Fake::saying(response(status, &[("location", &location)], ""))).await;
        assert_eq!(error.class, FailureClass::BadRequest, "{error}");
    }
    assert!(goal.seen().is_empty());
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    // Bound and kept, but nobody listens: a port that was given back would be another test's in a moment.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let asked = model(json!({ "id": "openai:m", "base_url": format!("http://127.0.0.1:{port}/v1/") }));
    let error = Question::default().ask(&gateway(), &asked).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Connection, "{error}");
    assert!(error.message.contains("refused"), "{error}");
    let hung_up = failure(&Fake::start(vec![])).await;
    assert_eq!(hung_up.class, FailureClass::Connection, "{hung_up}");
}

#[tokio::test]
async fn a_foreign_address_and_a_missing_key_are_found_before_the_call() {
    let gateway = Gateway::new(GatewayConfig::default()).unwrap();
    let class = |value: Value| gateway.check(&model(value)).unwrap_err().class;
    assert_eq!(
        class(json!({ "id": "openai:m", "base_url": "http://127.0.0.1.evil.com/v1" })),
        FailureClass::BadRequest
    );
    assert_eq!(class(json!({ "id": "anthropic:m", "base_url": "http://127.0.0.1/v1" })), FailureClass::BadRequest);
    assert_eq!(class(json!({ "id": "openai:m" })), FailureClass::AuthFailed);
    let error = gateway.check(&model(json!({ "id": "openai:m" }))).unwrap_err();
    assert_eq!(error.message, "there is no key for openai: set OPENAI_API_KEY for the workers");
}

#[tokio::test]
async fn tools_are_sent_and_calls_of_them_are_the_answer() {
    let piece = |call: Value| {
        event(&json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }] }))
    };
    let first = json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":" } });
    let rest = json!({ "index": 0, "function": { "arguments": " \"Rome\"}" } });
    let fake = Fake::saying(stream(&[piece(first), piece(rest), finished("tool_calls"), usage(), done()]));
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let tool = json!({ "type": "function", "function": { "name": "weather", "description": "Tells it.", "parameters": parameters } });
    let asked =
        model(json!({ "id": "openai:m", "base_url": format!("{}v1", fake.url), "params": { "tools": [tool] } }));
    let answer = Question::default().ask(&gateway(), &asked).await.unwrap();
    let calls: Value = serde_json::from_str(&answer.output).unwrap();
    assert_eq!((&calls[0]["id"], &calls[0]["function"]["name"]), (&json!("call_1"), &json!("weather")), "{calls:#}");
    let arguments: Value = serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!((arguments, answer.finish_reason.as_deref()), (json!({ "city": "Rome" }), Some("tool_calls")));
    let sent = &fake.seen()[0].body["tools"][0]["function"];
    assert_eq!((&sent["name"], &sent["description"]), (&json!("weather"), &json!("Tells it.")), "{sent:#}");
    assert_eq!(sent["parameters"]["properties"]["city"]["type"], "string", "{sent:#}");

    let nameless =
        model(json!({ "id": "openai:m", "base_url": format!("{}v1", fake.url), "params": { "tools": [{}] } }));
    let error = Question::default().ask(&gateway(), &nameless).await.unwrap_err();
    assert!(error.class == FailureClass::BadRequest && error.message.contains("a tool has no name"), "{error}");
}
