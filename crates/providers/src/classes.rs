//! Texts sorted into classes: what moderation and classifiers say.

use std::time::Duration;

use pcs_domain::model::ModelSpec;

/// A text to be sorted by one model.
#[derive(Clone, Debug)]
pub struct ClassifyRequest<'a> {
    /// Who is asked.
    pub model: &'a ModelSpec,
    /// The text.
    pub text: &'a str,
    /// Longest time until the answer is complete; the model's own `timeout_ms` may shorten it.
    pub deadline: Duration,
}

/// The classes of a text and what they took.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// All classes that the model knows.
    pub classes: Vec<Class>,
    /// From the call to its last byte, in milliseconds.
    pub latency_ms: u64,
    /// The answer as it came.
    pub answer: String,
}

/// One class.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// How sure the model is that the text belongs to it, from 0 to 1.
    pub score: f64,
    /// Whether a moderation says that it does.
    pub flagged: bool,
}
