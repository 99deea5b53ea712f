//! Models of Hugging Face that sort texts into classes; they are judges of `classifier`, and answer no prompts.

use std::sync::Arc;

use async_trait::async_trait;
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::model::ModelSpec;

use crate::call::{CallError, ChatRequest, Provider};
use crate::classes::{Classes, ClassifyRequest};
use crate::kind::ProviderKind;
use crate::wire::Network;

/// A classifier behind a network.
pub(crate) struct HuggingFace {
    pub(crate) network: Arc<Network>,
}

#[async_trait]
impl Provider for HuggingFace {
    fn check(&self, model: &ModelSpec) -> Result<(), CallError> {
        self.network.check(ProviderKind::HuggingFace, model)
    }

    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let message = format!(
            "\"{}\" sorts texts and answers no prompts: name it as the provider of a classifier assertion",
            request.model.id
        );
        Err(CallError::new(FailureClass::UnknownModel, message))
    }

    async fn classify(&self, request: &ClassifyRequest<'_>) -> Result<Classes, CallError> {
        self.network.classify(ProviderKind::HuggingFace, request).await
    }
}
