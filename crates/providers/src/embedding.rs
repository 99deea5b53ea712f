//! Texts as vectors: what similarity is measured by.

use std::time::Duration;

use pcs_domain::model::ModelSpec;

/// Texts to be embedded by one model.
#[derive(Clone, Debug)]
pub struct EmbedRequest<'a> {
    /// Who is asked.
    pub model: &'a ModelSpec,
    /// The texts.
    pub texts: &'a [String],
    /// Longest time until the answer is complete; the model's own `timeout_ms` may shorten it.
    pub deadline: Duration,
}

/// The vectors of some texts and what they took.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One vector per text, in their order, all of the same length.
    pub vectors: Vec<Vec<f32>>,
    /// From the call to its last byte, in milliseconds.
    pub latency_ms: u64,
    /// Tokens of the texts, as the provider counted them.
    pub input_tokens: u64,
    /// What it cost, in millionths of a US dollar; absent where no price is known.
    pub cost_micro_usd: Option<u64>,
}
