//! Which model is asked, and with which parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A model of a run: the provider and model id, how it is called in tables, and its parameters.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// `provider:model`, such as `openai:gpt-4o-mini`, `recorded:gsm8k/6b_finetuning` or `echo`.
    pub id: String,
    /// The name in tables and in results; the id where it is absent. Unique within a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Another address of the same wire format, for OpenAI-compatible servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Parameters of the call.
    #[serde(default, skip_serializing_if = "ModelParams::is_empty")]
    pub params: ModelParams,
    /// A JavaScript expression over `output`: assertions look at what it makes of each answer; the answer itself is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// What a `scripted` model does; other providers refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
}

/// Parameters of a model call; what is absent is the provider's default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelParams {
    /// Sampling temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Most tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Nucleus sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The sampling seed, where the provider honours one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that end the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// A system message in front of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Functions that the model may call, in `OpenAI`'s form: `{type: function, function: {name, description, parameters}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Map<String, Value>>,
    /// Longest time for one call, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl ModelParams {
    /// Whether every parameter is the provider's default.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a scripted model does, for tests and load: the steps repeat, chosen by the execution and its attempt.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The answer, as a template over the case's variables; the prompt itself where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How long each call takes, in milliseconds.
    #[serde(default)]
    pub latency_ms: u64,
    /// Of 1,000 calls, how many fail with a server error that may be tried again.
    #[serde(default)]
    pub errors_per_mille: u16,
    /// Of 1,000 calls, how many are refused by a rate limit.
    #[serde(default)]
    pub rate_limits_per_mille: u16,
    /// The `Retry-After` of such a refusal, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: u64,
    /// Of 1,000 calls, how many fail for good.
    #[serde(default)]
    pub refusals_per_mille: u16,
}

impl ModelSpec {
    /// The model of this id, as it is.
    #[must_use]
    pub fn of_id(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// The part of the id before the first colon.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.id.split_once(':').map_or(self.id.as_str(), |(provider, _)| provider)
    }

    /// The part of the id after the first colon; empty where there is none.
    #[must_use]
    pub fn model(&self) -> &str {
        self.id.split_once(':').map_or("", |(_, model)| model)
    }

    /// The name under which results of this model are kept.
    #[must_use]
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.id)
    }
}
