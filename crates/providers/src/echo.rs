//! `echo`: the model that says what it was told, to look at a rendered prompt and to test without a model.

use async_trait::async_trait;
use pcs_domain::execution::Answer;

use crate::call::{CallError, ChatRequest, Provider};

/// Answers the prompt; its tokens are the prompt's words.
pub(crate) struct Echo;

#[async_trait]
impl Provider for Echo {
    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let words = count_words(request.prompt);
        Ok(Answer {
            output: request.prompt.to_owned(),
            latency_ms: 0,
            input_tokens: words,
            output_tokens: words,
            cost_micro_usd: None,
            finish_reason: Some("stop".to_owned()),
            cached: false,
        })
    }
}

pub(crate) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}
