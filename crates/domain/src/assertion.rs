//! What a test case demands of an output, and what grading said about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
}
