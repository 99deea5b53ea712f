//! What a test case demands of an output, and what grading said about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::ModelSpec;

/// A demand on an output, as users write it; `pcs-grading` gives each `type` its meaning.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The kind, such as `contains` or `numeric`; `not-` in front turns the verdict round.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the output is compared with; strings are templates over the case's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The bound of kinds that have one: milliseconds for `latency`, US dollars for `cost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How far a `numeric` output may be from its value, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The share of this verdict in the case's score; 1 unless said otherwise.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// The name under which the score is summed up over a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// A JavaScript expression over `output` and `context`: what it makes of the output is looked at instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// The model that judges, of kinds that ask one; the run's grader where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Box<ModelSpec>>,
    /// What the judge is told instead of the kind's own words: a template over the case's variables and `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rubric_prompt: Option<String>,
    /// Further settings of kinds that have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
}

impl Assertion {
    /// A demand of this kind without any setting.
    #[must_use]
    pub fn of_kind(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            value: None,
            threshold: None,
            tolerance: None,
            weight: one(),
            metric: None,
            transform: None,
            provider: None,
            rubric_prompt: None,
            config: None,
        }
    }
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
#[expect(clippy::float_cmp, reason = "only the exact default is left out")]
fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// What one assertion said about one output.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Verdict {
    /// The assertion's kind, with its `not-`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the output met the demand.
    pub passed: bool,
    /// How well, from 0 to 1.
    pub score: f64,
    /// Why, in one sentence for a person; it may quote the output.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub reason: String,
    /// The assertion's weight.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// The assertion's metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What the judge said, word for word, where one was asked: one entry for each call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judgements: Vec<Judgement>,
}

/// One call of a judge: who was asked what, what it said, and what that took.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Judgement {
    /// The judge, as `provider:model`.
    pub model: String,
    /// SHA-256 of all that it was asked, in hex.
    pub prompt_sha256: String,
    /// Its answer as it came, cut where it is longer than is kept.
    #[serde(default)]
    #[schemars(extend("x-subject" = "subject"))]
    pub answer: String,
    /// From the call to its last byte, in milliseconds.
    pub latency_ms: u64,
    /// Tokens of the question, as the provider counted them.
    pub input_tokens: u64,
    /// Tokens of the answer, as the provider counted them.
    pub output_tokens: u64,
    /// What it cost, in millionths of a US dollar; absent where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
}

/// All verdicts on one output and what follows from them.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Grade {
    /// Whether the case passed.
    pub passed: bool,
    /// The weighted mean of the verdicts' scores; 1 where there are no assertions.
    pub score: f64,
    /// One verdict per assertion, in the order of the assertions.
    pub verdicts: Vec<Verdict>,
    /// The version of what graded: a hash of the assertions and of the meaning that this build gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<String>,
}

impl Grade {
    /// What all judges cost together, in millionths of a US dollar, as far as prices are known.
    #[must_use]
    pub fn judges_cost_micro_usd(&self) -> u64 {
        self.verdicts.iter().flat_map(|verdict| &verdict.judgements).filter_map(|call| call.cost_micro_usd).sum()
    }

    /// Tokens of all that judges were asked and answered.
    #[must_use]
    pub fn judges_tokens(&self) -> u64 {
        let calls = self.verdicts.iter().flat_map(|verdict| &verdict.judgements);
        calls.map(|call| call.input_tokens.saturating_add(call.output_tokens)).fold(0, u64::saturating_add)
    }
}
