//! The JSON of runs and results as the client reads and writes it; what it does not use, it does not require.

use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::Skip;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A run that is asked for.
#[derive(Clone, Debug, Serialize)]
pub struct NewRun {
    /// The card.
    pub card_id: String,
    /// How people call the run.
    pub name: String,
    /// The prompt versions.
    pub versions: Vec<u32>,
    /// The models.
    pub models: Vec<ModelSpec>,
    /// The cases, where not all of the card's cases run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_ids: Option<Vec<String>>,
    /// How often each cell runs.
    pub repeats: u16,
    /// Demands on every output.
    pub assertions: Vec<Assertion>,
    /// The score from which a case without its own threshold passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The model that judges where an assertion names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grader: Option<ModelSpec>,
    /// Cells that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// `hi`, `std` or `bulk`.
    pub lane: &'static str,
    /// What is checked out here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The state of a repository.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Source {
    /// The branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running`, `completed` or `cancelled`.
    pub status: String,
    /// Its card.
    pub card_id: String,
    /// Its prompt versions.
    pub versions: Vec<u32>,
    /// How often each cell runs.
    pub repeats: u16,
    /// How many cases run.
    pub cases: u64,
    /// Its lane.
    pub lane: String,
    /// When it was asked for.
    pub requested_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// The counts.
    pub totals: Totals,
    /// The counts of each model, in the order of the request.
    pub by_model: Vec<ModelTotals>,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// How many executions ended in which way.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Totals {
    /// How many there shall be.
    pub planned: u64,
    /// How many have a result.
    pub executions: u64,
    /// Their outputs met all demands.
    pub passed: u64,
    /// Their outputs did not.
    pub failed: u64,
    /// They have no output.
    pub errors: u64,
}

/// What one model did.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ModelTotals {
    /// The model's name.
    pub model: String,
    /// How many executions have a result.
    pub executions: u64,
    /// Their outputs met all demands.
    pub passed: u64,
    /// Their outputs did not.
    pub failed: u64,
    /// They have no output.
    pub errors: u64,
    /// How long the calls took.
    pub latency_ms: Latency,
    /// How many tokens they used.
    pub tokens: Tokens,
    /// What they cost in US dollars, where the price is known.
    pub cost_usd: Option<f64>,
}

/// How long calls took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: Option<u64>,
    /// 95 of 100 took no longer.
    pub p95: Option<u64>,
}

/// Tokens of calls.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Tokens {
    /// Tokens of the prompts.
    pub input: u64,
    /// Tokens of the answers.
    pub output: u64,
}

/// What one execution came to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ExecutionResult {
    /// Its id.
    pub execution_id: String,
    /// The prompt's version.
    pub version: u32,
    /// The case's id.
    pub case_id: String,
    /// What the case is called, where it is still there.
    pub case_name: Option<String>,
    /// The model's name.
    pub model: String,
    /// Which repeat it was, as the server counts them.
    pub repeat: u32,
    /// `passed`, `failed` or `error`.
    pub status: String,
    /// Whether it passed.
    pub success: bool,
    /// The score from 0 to 1.
    pub score: Option<f64>,
    /// The case's variables.
    pub input: Value,
    /// What the model said.
    pub output: Option<String>,
    /// What each assertion said.
    pub verdicts: Vec<Verdict>,
    /// How long the call took.
    pub latency_ms: Option<u64>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// What it cost, where the price is known.
    pub cost_usd: Option<f64>,
    /// Why there is no output.
    pub error: Option<ExecutionError>,
    /// Which attempt it was.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// When.
    pub executed_at: String,
    /// The version of what graded it.
    pub grader: Option<String>,
    /// The place of its event in the log.
    pub position: i64,
    /// What else the server says, handed on in JSON.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Why an execution has no output.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ExecutionError {
    /// The kind of error.
    pub class: String,
    /// For a person.
    pub message: String,
}
