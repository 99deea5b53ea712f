//! A question to a model, with what most tests don't care about filled in.

use std::time::Duration;

use pcs_domain::execution::Answer;
use pcs_domain::ids::ExecutionId;
use pcs_domain::model::ModelSpec;
use pcs_providers::{CallError, CallKey, ChatRequest, Gateway};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(crate) fn model(value: Value) -> ModelSpec {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn variables(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) struct Question {
    pub(crate) prompt: String,
    pub(crate) variables: Map<String, Value>,
    pub(crate) deadline: Duration,
    pub(crate) attempt: u16,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            prompt: "What is 2 + 2?".to_owned(),
            variables: variables(json!({ "question": "2 + 2" })),
            deadline: Duration::from_secs(20),
            attempt: 1,
        }
    }
}

impl Question {
    pub(crate) async fn ask(&self, gateway: &Gateway, model: &ModelSpec) -> Result<Answer, CallError> {
        let cell = CallKey { execution_id: ExecutionId(Uuid::from_u128(42)), attempt: self.attempt, snoozes: 0 };
        let request =
            ChatRequest { model, prompt: &self.prompt, variables: &self.variables, cell, deadline: self.deadline };
        gateway.call(&request).await
    }
}
