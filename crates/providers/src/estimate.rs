//! What a call may take, said before it is made: for whoever keeps room for it.

use std::time::Duration;

use pcs_domain::model::ModelSpec;

/// Longest time for one call where the model does not say otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time for one call, whatever the model says: it holds a slot of a worker, and a place.
const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Bytes of a prompt that make a token, at least: the estimate must not be below what the provider will count.
const BYTES_PER_TOKEN: u64 = 3;
/// Tokens of an answer where the model sets no limit.
const OUTPUT_TOKENS_USUAL: u64 = 1_024;

/// How long a call to a model may take.
#[must_use]
pub fn call_deadline(model: &ModelSpec) -> Duration {
    model.params.timeout_ms.map_or(CALL_TIMEOUT, Duration::from_millis).min(CALL_TIMEOUT_MAX)
}

/// The tokens of a prompt, estimated, and those of its answer, at most or estimated.
#[must_use]
pub fn call_tokens(model: &ModelSpec, prompt: &str) -> (u64, u64) {
    let output = model.params.max_tokens.map_or(OUTPUT_TOKENS_USUAL, u64::from);
    ((prompt.len() as u64).div_ceil(BYTES_PER_TOKEN), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(params: &serde_json::Value) -> ModelSpec {
        serde_json::from_value(serde_json::json!({ "id": "echo", "params": params })).unwrap()
    }

    #[test]
    fn a_call_ends_whatever_its_model_says() {
        let deadline = |params| call_deadline(&model(&params));
        assert_eq!(deadline(serde_json::json!({})), CALL_TIMEOUT);
        assert_eq!(deadline(serde_json::json!({ "timeout_ms": 1_500 })), Duration::from_millis(1_500));
        assert_eq!(deadline(serde_json::json!({ "timeout_ms": 9_000_000 })), CALL_TIMEOUT_MAX);
    }

    #[test]
    fn tokens_are_rather_too_many() {
        assert_eq!(call_tokens(&model(&serde_json::json!({})), "1234"), (2, OUTPUT_TOKENS_USUAL));
        assert_eq!(call_tokens(&model(&serde_json::json!({ "max_tokens": 7 })), ""), (0, 7));
    }
}
