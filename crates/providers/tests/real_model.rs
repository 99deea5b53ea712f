//! One call to a real model over a real wire: examples/real-model/serve.sh starts one, `PCS_REAL_MODEL_URL` says where.

use std::io::Write;
use std::time::Duration;

use pcs_domain::execution::FailureClass;
use pcs_domain::ids::ExecutionId;
use pcs_domain::model::ModelSpec;
use pcs_providers::{CallKey, ChatRequest, Gateway, GatewayConfig};
use serde_json::{Map, json};
use uuid::Uuid;

#[tokio::test]
async fn a_real_model_answers_and_a_prompt_that_is_too_long_overflows() {
    let mut out = std::io::stderr();
    let Ok(url) = std::env::var("PCS_REAL_MODEL_URL") else {
        writeln!(out, "skipped: PCS_REAL_MODEL_URL is not set (start examples/real-model/serve.sh)").unwrap();
        return;
    };
    let gateway = Gateway::new(GatewayConfig::default()).unwrap();
    let model: ModelSpec = serde_json::from_value(json!({
        "id": "openai:smollm2-135m", "base_url": url, "params": { "max_tokens": 32, "temperature": 0.0, "seed": 7 },
    }))
    .unwrap();
    let ask = async |prompt: &str| {
        let cell = CallKey { execution_id: ExecutionId(Uuid::nil()), attempt: 1, snoozes: 0 };
        let deadline = Duration::from_secs(60);
        gateway.call(&ChatRequest { model: &model, prompt, variables: &Map::new(), cell, deadline }).await
    };
    let answer = ask("What is the capital of France?").await.unwrap();
    writeln!(out, "real model: {answer:?}").unwrap();
    assert!(!answer.output.trim().is_empty());
    assert!(answer.latency_ms > 0 && answer.input_tokens > 0 && (1..=32).contains(&answer.output_tokens));
    assert!(matches!(answer.finish_reason.as_deref(), Some("stop" | "length")));
    assert_eq!(answer.cost_micro_usd, None);

    let error = ask(&"word ".repeat(20_000)).await.unwrap_err();
    writeln!(out, "real model, too long a prompt: {error:?}").unwrap();
    assert_eq!(error.class, FailureClass::ContextOverflow);
}
