//! Reads the payload that there is most of field by field: serde's flattening would keep each value aside first, and
//! that took a third of the time in which the log is read.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Answer, ExecutionRef, Finished};
use crate::assertion::{Grade, Verdict};
use crate::data_subject::Subject;
use crate::ids::{PromptCardId, TestCaseId, TestRunId};

/// [`Finished`] as it stands in the log: all fields side by side.
#[derive(Deserialize)]
struct Fields {
    run_id: TestRunId,
    card_id: PromptCardId,
    version: u32,
    case_id: TestCaseId,
    model: String,
    repeat: u16,
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default)]
    input: Map<String, Value>,
    #[serde(default)]
    output: String,
    latency_ms: u64,
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cost_micro_usd: Option<u64>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    cached: bool,
    passed: bool,
    score: f64,
    verdicts: Vec<Verdict>,
    #[serde(default)]
    grader: Option<String>,
    attempt: u16,
    worker: String,
}

impl<'de> Deserialize<'de> for Finished {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fields::deserialize(deserializer).map(Self::from)
    }
}

impl From<Fields> for Finished {
    fn from(of: Fields) -> Self {
        Self {
            cell: ExecutionRef {
                run_id: of.run_id,
                card_id: of.card_id,
                version: of.version,
                case_id: of.case_id,
                model: of.model,
                repeat: of.repeat,
            },
            subject: of.subject,
            input: of.input,
            answer: Answer {
                output: of.output,
                latency_ms: of.latency_ms,
                input_tokens: of.input_tokens,
                output_tokens: of.output_tokens,
                cost_micro_usd: of.cost_micro_usd,
                finish_reason: of.finish_reason,
                cached: of.cached,
            },
            grade: Grade { passed: of.passed, score: of.score, verdicts: of.verdicts, grader: of.grader },
            attempt: of.attempt,
            worker: of.worker,
        }
    }
}
