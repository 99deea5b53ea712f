//! The Anthropic, Gemini and Ollama wires: one good answer, one refusal, and the ends that are none.

use pcs_domain::execution::{Answer, FailureClass};
use pcs_providers::{CallError, Gateway, GatewayConfig, ProviderKind, Secret};
use serde_json::{Value, json};

use crate::fake::{Fake, event, response, stream};
use crate::question::{Question, model};

/// A gateway for which the fake stands in the provider's place.
fn gateway(kind: ProviderKind, fake: &Fake) -> Gateway {
    let keys = [(kind, Secret::parse("the-operators-key").unwrap())].into();
    let base_urls = [(kind, fake.url.clone())].into();
    Gateway::new(GatewayConfig { keys, base_urls, ..GatewayConfig::default() }).unwrap()
}

async fn ask(kind: ProviderKind, fake: &Fake) -> Result<Answer, CallError> {
    let asked = model(json!({ "id": format!("{kind}:the-model"), "params": { "max_tokens": 5 } }));
    Question::default().ask(&gateway(kind, fake), &asked).await
}

fn anthropic(events: &[Value]) -> Vec<String> {
    events.iter().map(|data| format!("event: {}\n{}", data["type"].as_str().unwrap(), event(data))).collect()
}

fn anthropic_answer() -> Vec<Value> {
    vec![
        json!({ "type": "message_start", "message": { "usage": { "input_tokens": 9, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "It is 4." } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 5 } }),
        json!({ "type": "message_stop" }),
    ]
}

#[tokio::test]
async fn anthropic_answers() {
    let fake = Fake::saying(stream(&anthropic(&anthropic_answer())));
    let answer = ask(ProviderKind::Anthropic, &fake).await.unwrap();
    assert_eq!(answer.output, "It is 4.");
    assert_eq!((answer.input_tokens, answer.output_tokens), (9, 5));
    assert_eq!(answer.finish_reason.as_deref(), Some("end_turn"));
    let seen = &fake.seen()[0];
    assert!(seen.head.starts_with("post /messages "), "{}", seen.head);
    assert!(seen.head.contains("x-api-key: the-operators-key"), "{}", seen.head);
    assert_eq!((&seen.body["model"], &seen.body["max_tokens"]), (&json!("the-model"), &json!(5)));
}

#[tokio::test]
async fn anthropic_fails() {
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let error = ask(ProviderKind::Anthropic, &Fake::saying(response("529 Overloaded", &[], body))).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (FailureClass::Overloaded, "HTTP 529: Overloaded"));

    let mut broken = anthropic_answer();
    broken.truncate(4);
    let cut = Fake::saying(stream(&anthropic(&broken)));
    assert_eq!(ask(ProviderKind::Anthropic, &cut).await.unwrap_err().class, FailureClass::Truncated);

    broken.push(json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow down" } }));
    let limited = Fake::saying(stream(&anthropic(&broken)));
    assert_eq!(ask(ProviderKind::Anthropic, &limited).await.unwrap_err().class, FailureClass::RateLimited);
}

fn gemini(text: &str, reason: Option<&str>) -> String {
    let mut candidate = json!({ "content": { "parts": [{ "text": text }], "role": "model" } });
    if let Some(reason) = reason {
        candidate["finishReason"] = reason.into();
    }
    let usage = json!({ "promptTokenCount": 6, "candidatesTokenCount": 2, "totalTokenCount": 8 });
    event(&json!({ "candidates": [candidate], "usageMetadata": usage }))
}

#[tokio::test]
async fn gemini_answers() {
    let fake = Fake::saying(stream(&[gemini("It is", None), gemini(" 4.", Some("STOP"))]));
    let answer = ask(ProviderKind::Gemini, &fake).await.unwrap();
    assert_eq!(answer.output, "It is 4.");
    assert_eq!((answer.input_tokens, answer.output_tokens), (6, 2));
    assert_eq!(answer.finish_reason.as_deref(), Some("STOP"));
    let head = &fake.seen()[0].head;
    assert!(head.starts_with("post /models/the-model:streamgeneratecontent?alt=sse "), "{head}");
    assert!(head.contains("x-goog-api-key: the-operators-key"), "{head}");
}

#[tokio::test]
async fn gemini_fails() {
    let class = async |fake: Fake| ask(ProviderKind::Gemini, &fake).await.unwrap_err().class;
    let limited = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}"#;
    assert_eq!(class(Fake::saying(response("429 Too Many Requests", &[], limited))).await, FailureClass::RateLimited);
    assert_eq!(class(Fake::saying(stream(&[gemini("It is", None)]))).await, FailureClass::Truncated);
    assert_eq!(class(Fake::saying(stream(&[gemini("", Some("SAFETY"))]))).await, FailureClass::ContentFiltered);
    let blocked = event(&json!({ "promptFeedback": { "blockReason": "SAFETY" } }));
    assert_eq!(class(Fake::saying(stream(&[blocked]))).await, FailureClass::ContentFiltered);
}

fn ollama(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn ollama_answers_and_fails() {
    let begun = json!({ "message": { "role": "assistant", "content": "It is 4." }, "done": false });
    let end = json!({ "message": { "content": "" }, "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 4 });
    let fake = Fake::saying(stream(&ollama(&[begun.clone(), end])));
    let answer = ask(ProviderKind::Ollama, &fake).await.unwrap();
    assert_eq!(answer.output, "It is 4.");
    assert_eq!((answer.input_tokens, answer.output_tokens), (7, 4));
    let seen = &fake.seen()[0];
    assert!(seen.head.starts_with("post /api/chat ") && !seen.head.contains("the-operators-key"), "{}", seen.head);
    assert_eq!(seen.body["options"]["num_predict"], 5);

    let cut = Fake::saying(stream(&ollama(&[begun])));
    assert_eq!(ask(ProviderKind::Ollama, &cut).await.unwrap_err().class, FailureClass::Truncated);
    let missing = Fake::saying(response("404 Not Found", &[], r#"{"error":"model 'the-model' not found"}"#));
    let error = ask(ProviderKind::Ollama, &missing).await.unwrap_err();
    assert_eq!(
        (error.class, error.message.as_str()),
        (FailureClass::BadRequest, "HTTP 404: model 'the-model' not found")
    );
}
