//! What a provider is asked and what it answers.

use std::time::Duration;

use async_trait::async_trait;
use pcs_domain::execution::{Answer, Failure, FailureClass};
use pcs_domain::ids::ExecutionId;
use pcs_domain::limits::ERROR_BYTES_MAX;
use pcs_domain::model::ModelSpec;
use serde_json::{Map, Value};

use crate::classes::{Classes, ClassifyRequest};
use crate::embedding::{EmbedRequest, Embeddings};

/// Which attempt of which execution a call is for; what a scripted model does is drawn from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallKey {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The attempt, from 1.
    pub attempt: u16,
    /// How often it was snoozed before.
    pub snoozes: u16,
}

/// One question to one model.
#[derive(Clone, Debug)]
pub struct ChatRequest<'a> {
    /// Who is asked, and with which parameters.
    pub model: &'a ModelSpec,
    /// The rendered prompt.
    pub prompt: &'a str,
    /// The case's variables: recorded answers are found by them, scripted ones are rendered with them.
    pub variables: &'a Map<String, Value>,
    /// What the call is for.
    pub cell: CallKey,
    /// Longest time until the answer is complete; the model's own `timeout_ms` may shorten it.
    pub deadline: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// The kind of error; it says whether another attempt could go better.
    pub class: FailureClass,
    /// For a person: without credentials, at most [`ERROR_BYTES_MAX`] bytes.
    pub message: String,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl CallError {
    pub(crate) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(ERROR_BYTES_MAX));
        Self { class, message, retry_after: None }
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self { class: error.class, error: error.message }
    }
}

/// Somebody who answers questions. Only [`crate::Gateway`] calls it, and holds the deadline and the limits.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Finds what is wrong with a model before it is asked, as far as that is known without asking.
    ///
    /// # Errors
    /// What the call would fail with.
    fn check(&self, _model: &ModelSpec) -> Result<(), CallError> {
        Ok(())
    }

    /// Asks once. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError>;

    /// Turns texts into vectors. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Why there are none; most models that are no models have none.
    async fn embed(&self, request: &EmbedRequest<'_>) -> Result<Embeddings, CallError> {
        let message = format!("{} has no embeddings; openai and ollama have", request.model.provider());
        Err(CallError::new(FailureClass::UnknownModel, message))
    }

    /// Sorts a text into classes. Dropping the future cancels the call.
    ///
    /// # Errors
    /// Why there are none; most models sort no texts.
    async fn classify(&self, request: &ClassifyRequest<'_>) -> Result<Classes, CallError> {
        let message = format!("{} sorts no texts; openai (moderation) and huggingface do", request.model.provider());
        Err(CallError::new(FailureClass::UnknownModel, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = CallError::new(FailureClass::Worker, format!("x{}", "ü".repeat(ERROR_BYTES_MAX)));
        assert_eq!(error.message.len(), ERROR_BYTES_MAX - 1);
    }
}
