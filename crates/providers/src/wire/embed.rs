//! Embeddings behind a network, in the format of `OpenAI` and of Ollama.

use std::time::Instant;

use genai::Client;
use genai::embed::{EmbedOptions, EmbedRequest as GenaiRequest, EmbedResponse};
use pcs_domain::execution::FailureClass;

use super::{Wire, malformed, service_target, tokens};
use crate::call::CallError;
use crate::embedding::{EmbedRequest, Embeddings};
use crate::endpoint::{Target, is_loopback};

/// The last part of the address.
const PATH: &str = "embeddings";

impl Wire {
    pub(super) async fn vectors(&self, request: &EmbedRequest<'_>) -> Result<Embeddings, CallError> {
        let target = self.network.endpoints.target(self.kind, request.model)?;
        let Ok(_permit) = self.network.permits.acquire().await else {
            return Err(CallError::new(FailureClass::Worker, "the worker stops and makes no more calls"));
        };
        let started = Instant::now();
        let answer = self.exchange(request, &target).await?;
        let used = tokens(&answer.usage);
        let cost =
            || self.network.prices.cost_micro_usd(self.kind, request.model.model(), used, self.network.clock.now());
        let cost_micro_usd = if target.priced { cost() } else { None };
        let vectors = in_order(answer, request.texts.len())?;
        let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Embeddings { vectors, latency_ms, input_tokens: used.input, cost_micro_usd })
    }

    async fn exchange(&self, request: &EmbedRequest<'_>, target: &Target) -> Result<EmbedResponse, CallError> {
        let client: &Client = if is_loopback(&target.url) { &self.network.loopback } else { &self.network.outward };
        let service = service_target(self.kind, target, request.model.model(), PATH);
        let options = EmbedOptions::new().with_capture_usage(true);
        let asked = GenaiRequest::new_batch(request.texts.to_vec());
        client.exec_embed(service, asked, Some(&options)).await.map_err(|error| self.explain(error, target, 0))
    }
}

/// The vectors in the order of the texts; the format allows another one.
fn in_order(answer: EmbedResponse, texts: usize) -> Result<Vec<Vec<f32>>, CallError> {
    let mut embeddings = answer.embeddings;
    embeddings.sort_by_key(|embedding| embedding.index);
    let vectors: Vec<Vec<f32>> = embeddings.into_iter().map(|embedding| embedding.vector).collect();
    let length = vectors.first().map_or(0, Vec::len);
    let are_sound =
        length > 0 && vectors.iter().all(|vector| vector.len() == length && vector.iter().all(|x| x.is_finite()));
    if vectors.len() != texts || !are_sound {
        return Err(malformed("the embeddings are not one vector of numbers per text"));
    }
    Ok(vectors)
}
