//! The same demands on every provider: it answers, keeps the deadline, bounds the answer, and refuses what it can't do.

use std::time::{Duration, Instant};

use pcs_domain::execution::FailureClass;
use pcs_domain::limits::OUTPUT_BYTES_MAX;
use pcs_domain::model::ModelSpec;
use pcs_providers::{Gateway, GatewayConfig, ProviderKind, Secret};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{Fake, Step, event, stream};
use crate::question::{Question, model, variables};

/// A provider that is set up to answer with a text, after a time.
struct Stage {
    gateway: Gateway,
    model: ModelSpec,
    question: Question,
    _kept: (Option<Fake>, TempDir),
}

impl Stage {
    /// Absent where the provider can't take its time.
    fn set(kind: ProviderKind, answer: &str, latency: Duration) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let fake = wire_answer(kind, answer).map(|bytes| Fake::start(vec![Step::Pause(latency), Step::Send(bytes)]));
        let mut question = Question::default();
        let instant = latency.is_zero();
        let model = match kind {
            ProviderKind::Echo => {
                question.prompt = answer.to_owned();
                instant.then(|| model(json!({ "id": "echo" })))?
            }
            ProviderKind::Scripted => {
                question.variables = variables(json!({ "text": answer }));
                let millis = u64::try_from(latency.as_millis()).unwrap();
                model(json!({ "id": "scripted:a", "script": { "answer": "{{text}}", "latency_ms": millis } }))
            }
            ProviderKind::Recorded => {
                let line = json!({ "vars": question.variables, "answers": { "a": answer } });
                std::fs::create_dir(dir.path().join("set")).unwrap();
                std::fs::write(dir.path().join("set/answers.jsonl"), line.to_string()).unwrap();
                instant.then(|| model(json!({ "id": "recorded:set/a" })))?
            }
            // It answers no prompts.
            ProviderKind::HuggingFace => return None,
            ProviderKind::OpenAi | ProviderKind::Anthropic | ProviderKind::Gemini | ProviderKind::Ollama => {
                model(json!({ "id": format!("{kind}:m") }))
            }
        };
        let gateway = Gateway::new(GatewayConfig {
            recordings_dir: Some(dir.path().to_owned()),
            keys: ProviderKind::ALL.map(|kind| (kind, Secret::parse("the-operators-key").unwrap())).into(),
            base_urls: fake.iter().map(|fake| (kind, fake.url.clone())).collect(),
            ..GatewayConfig::default()
        });
        Some(Self { gateway: gateway.unwrap(), model, question, _kept: (fake, dir) })
    }
}

/// All providers but the one that only sorts texts.
const ANSWERING: [ProviderKind; 7] = [
    ProviderKind::Echo,
    ProviderKind::Scripted,
    ProviderKind::Recorded,
    ProviderKind::OpenAi,
    ProviderKind::Anthropic,
    ProviderKind::Gemini,
    ProviderKind::Ollama,
];

/// An answer in a provider's format; absent where it has none.
fn wire_answer(kind: ProviderKind, text: &str) -> Option<Vec<u8>> {
    let named = |data: Value| format!("event: {}\n{}", data["type"].as_str().unwrap(), event(&data));
    let pieces = match kind {
        ProviderKind::Echo | ProviderKind::Scripted | ProviderKind::Recorded | ProviderKind::HuggingFace => {
            return None;
        }
        ProviderKind::OpenAi => vec![
            event(&json!({ "choices": [{ "delta": { "content": text }, "finish_reason": "stop" }] })),
            "data: [DONE]\n\n".to_owned(),
        ],
        ProviderKind::Anthropic => vec![
            named(json!({ "type": "content_block_start", "content_block": { "type": "text", "text": "" } })),
            named(json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": text } })),
            named(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": {} })),
            named(json!({ "type": "message_stop" })),
        ],
        ProviderKind::Gemini => {
            vec![event(
                &json!({ "candidates": [{ "content": { "parts": [{ "text": text }] }, "finishReason": "STOP" }] }),
            )]
        }
        ProviderKind::Ollama => {
            vec![format!("{}\n", json!({ "message": { "content": text }, "done": true, "done_reason": "stop" }))]
        }
    };
    Some(stream(&pieces))
}

#[tokio::test]
async fn every_provider_answers() {
    for kind in ANSWERING {
        let stage = Stage::set(kind, "Grüße: 4", Duration::ZERO).unwrap();
        stage.gateway.check(&stage.model).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let answer = stage.question.ask(&stage.gateway, &stage.model).await;
        let answer = answer.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(answer.output, "Grüße: 4", "{kind}");
        assert_eq!(answer.cost_micro_usd, None, "{kind}");
        let again = stage.question.ask(&stage.gateway, &stage.model).await.unwrap();
        assert_eq!(again.output, answer.output, "{kind}");
    }
}

#[tokio::test]
async fn every_provider_keeps_the_deadline() {
    let mut kept = 0;
    for kind in ANSWERING {
        let Some(mut stage) = Stage::set(kind, "4", Duration::from_secs(5)) else { continue };
        stage.question.deadline = Duration::from_millis(200);
        let started = Instant::now();
        let error = stage.question.ask(&stage.gateway, &stage.model).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Timeout, "{kind}: {error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{kind}: {:?}", started.elapsed());

        stage.question.deadline = Duration::from_secs(60);
        stage.model.params.timeout_ms = Some(100);
        let error = stage.question.ask(&stage.gateway, &stage.model).await.unwrap_err();
        assert_eq!(error.message, "no complete answer within 100 ms", "{kind}");
        kept += 1;
    }
    assert_eq!(kept, ANSWERING.len() - 2, "only echo and recorded can't take their time");
}

#[tokio::test]
async fn every_provider_bounds_its_answer() {
    for kind in ANSWERING {
        let largest = Stage::set(kind, &"x".repeat(OUTPUT_BYTES_MAX), Duration::ZERO).unwrap();
        let answer = largest.question.ask(&largest.gateway, &largest.model).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{kind}: {error}")).output.len(), OUTPUT_BYTES_MAX);
        let larger = Stage::set(kind, &"x".repeat(OUTPUT_BYTES_MAX + 1), Duration::ZERO).unwrap();
        let error = larger.question.ask(&larger.gateway, &larger.model).await.unwrap_err();
        assert_eq!(error.class, FailureClass::OutputTooLarge, "{kind}: {error}");
        assert!(error.message.contains("1048577 bytes"), "{kind}: {error}");
    }
}

#[tokio::test]
async fn every_provider_refuses_what_is_not_its_own() {
    for kind in ANSWERING {
        let mut stage = Stage::set(kind, "4", Duration::ZERO).unwrap();
        stage.model.base_url = Some("http://192.0.2.1/".to_owned());
        let error = stage.question.ask(&stage.gateway, &stage.model).await.unwrap_err();
        assert_eq!(error.class, FailureClass::BadRequest, "{kind}: {error}");
        stage.model.base_url = None;
        if kind != ProviderKind::Scripted {
            stage.model.script = Some(pcs_domain::model::Script::default());
            let error = stage.gateway.check(&stage.model).unwrap_err();
            assert_eq!(error.class, FailureClass::BadRequest, "{kind}: {error}");
        }
    }
    let stage = Stage::set(ProviderKind::Echo, "4", Duration::ZERO).unwrap();
    let error = stage.gateway.check(&model(json!({ "id": "gpt-4o" }))).unwrap_err();
    assert_eq!(error.class, FailureClass::UnknownModel);
    assert!(error.message.contains("echo, scripted, recorded, openai"), "{error}");
}

#[tokio::test]
async fn a_scripted_failure_is_the_same_again_and_another_attempt_can_succeed() {
    let stage = Stage::set(ProviderKind::Scripted, "4", Duration::ZERO).unwrap();
    let flaky = model(json!({ "id": "scripted:flaky", "script": { "errors_per_mille": 500 } }));
    let mut outcomes = Vec::new();
    for attempt in 1..=20 {
        let question = Question { attempt, ..Question::default() };
        let first = question.ask(&stage.gateway, &flaky).await;
        assert_eq!(first, question.ask(&stage.gateway, &flaky).await);
        outcomes.push(first.is_ok());
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
}

#[tokio::test]
async fn what_was_not_recorded_is_unknown_and_says_what_to_do() {
    let stage = Stage::set(ProviderKind::Recorded, "4", Duration::ZERO).unwrap();
    let table = [
        ("recorded:set/b", "has no model \"b\"; it has a"),
        ("recorded:other/a", "there is no recorded set \"other\""),
        ("recorded:../a", "letters, digits"),
        ("recorded:set/a/b", "letters, digits"),
        ("recorded:set", "letters, digits"),
    ];
    for (id, words) in table {
        let error = stage.question.ask(&stage.gateway, &model(json!({ "id": id }))).await.unwrap_err();
        assert_eq!(error.class, FailureClass::UnknownModel, "{id}");
        assert!(error.message.contains(words), "{id}: {error}");
    }
    let other = Question { variables: variables(json!({ "question": "3 + 3" })), ..Question::default() };
    let error = other.ask(&stage.gateway, &stage.model).await.unwrap_err();
    assert!(error.message.contains("for these variables"), "{error}");
    let bare = Gateway::new(GatewayConfig::default()).unwrap();
    assert!(bare.check(&stage.model).unwrap_err().message.contains("recordings folder"));
}

#[tokio::test]
async fn the_recorded_gsm8k_answers_are_all_found() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let gateway = Gateway::new(GatewayConfig { recordings_dir: Some(examples.into()), ..GatewayConfig::default() });
    let gateway = gateway.unwrap();
    let problems = std::fs::read_to_string(format!("{examples}/gsm8k/problems.jsonl")).unwrap();
    let mut found = 0;
    for line in problems.lines() {
        let problem: Value = serde_json::from_str(line).unwrap();
        let question = Question { variables: variables(problem["input"].clone()), ..Question::default() };
        for name in ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"] {
            let asked = model(json!({ "id": format!("recorded:gsm8k/{name}") }));
            found += usize::from(!question.ask(&gateway, &asked).await.unwrap().output.is_empty());
        }
    }
    assert_eq!(found, 1_319 * 4);
}
