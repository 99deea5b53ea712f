//! Run certificates: what was run, by what it was graded and what came of it, as hashes that anybody can compute again.
//!
//! The text that is signed is the certificate's canonical JSON. A certificate says nothing of the answers themselves: who
//! has them can check that they are those, and who has not learns nothing from it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::assertion::Assertion;
use crate::canonical::canonical_json;
use crate::ids::{ExecutionId, PromptCardId, TestRunId};
use crate::model::ModelSpec;
use crate::prompt_card::{Card, TestCase};
use crate::test_run::{Requested, RunTotals};
use crate::timestamp::Timestamp;

/// The form of certificates that this build writes and reads.
pub const FORMAT: &str = "pcs.run-certificate.1";

/// What is certified of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// The run.
    pub run_id: TestRunId,
    /// How people call it.
    pub name: String,
    /// Its card.
    pub card_id: PromptCardId,
    /// Whether all of its results are there; else it was cancelled.
    pub completed: bool,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The prompts by version.
    pub prompts: Vec<PromptHash>,
    /// The models, with all parameters.
    pub models: Vec<ModelSpec>,
    /// How many cases ran.
    pub cases: u32,
    /// How often each cell ran.
    pub repeats: u16,
    /// SHA-256 of the cases: of their ids, inputs and expected outputs.
    pub dataset_sha256: String,
    /// SHA-256 of all demands: assertions, thresholds and the grader.
    pub graders_sha256: String,
    /// The count of all results.
    pub totals: RunTotals,
    /// SHA-256 of the results: see [`results_sha256`].
    pub results_sha256: String,
    /// The last event of the run's stream in the log's hash chain, in hex; absent where the log has no chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_hash: Option<String>,
}

/// A prompt's text as a hash.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PromptHash {
    /// The version.
    pub version: u32,
    /// SHA-256 of its text, in hex.
    pub sha256: String,
}

/// A certificate and who stands for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCertificate {
    /// What is certified.
    pub certificate: Certificate,
    /// The Ed25519 public key, in hex.
    pub public_key: String,
    /// The signature of [`Certificate::text`], in hex.
    pub signature: String,
}

/// A result, as far as it is certified.
#[derive(Clone, Debug, PartialEq)]
pub struct CertifiedResult {
    /// The execution.
    pub execution_id: ExecutionId,
    /// `passed`, `failed` or `error`.
    pub status: String,
    /// How well; absent of an error.
    pub score: Option<f64>,
    /// SHA-256 of the answer, in hex; absent of an error, and of a data subject's case: a hash would let anybody guess it.
    pub output_sha256: Option<String>,
    /// The version of what graded it.
    pub grader: Option<String>,
}

impl Certificate {
    /// The text that is signed.
    ///
    /// # Errors
    /// None for certificates, which have no map keys but texts.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        Ok(canonical_json(&serde_json::to_value(self)?))
    }
}

/// SHA-256 of a text, in hex.
#[must_use]
pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The hashes of a run's prompts.
#[must_use]
pub fn prompts(card: &Card, versions: &[u32]) -> Vec<PromptHash> {
    let texts = versions.iter().filter_map(|version| Some((*version, card.prompts.get(version)?)));
    texts.map(|(version, text)| PromptHash { version, sha256: sha256(text) }).collect()
}

/// The hash of a run's cases. A data subject's are in it by their ids, which are made with a key of the subject.
#[must_use]
pub fn dataset_sha256(cases: &[&TestCase]) -> String {
    let mut lines: Vec<String> = cases
        .iter()
        .map(|case| match &case.subject {
            None => canonical_json(&json!({
                "id": case.id,
                "input": case.input,
                "expected_output": case.expected_output,
            })),
            Some(_) => canonical_json(&json!({ "id": case.id })),
        })
        .collect();
    lines.sort_unstable();
    sha256(&lines.join("\n"))
}

/// The hash of everything that a run's results were graded by. Demands of a data subject's cases, which may quote their
/// data, are left out: the version of what graded is with each result.
#[must_use]
pub fn graders_sha256(request: &Requested, cases: &[&TestCase]) -> String {
    let demands =
        |assertions: &[Assertion], threshold: Option<f64>| json!({ "assertions": assertions, "threshold": threshold });
    let of_cases = cases.iter().filter(|case| case.subject.is_none());
    let mut lines: Vec<String> = of_cases
        .map(|case| canonical_json(&json!({ "id": case.id, "demands": demands(&case.assertions, case.threshold) })))
        .collect();
    lines.sort_unstable();
    let of_run = json!({ "demands": demands(&request.assertions, request.threshold), "grader": request.grader });
    lines.insert(0, canonical_json(&of_run));
    sha256(&lines.join("\n"))
}

/// The hash of results: one line of canonical JSON for each, sorted, so that their order does not matter.
#[must_use]
pub fn results_sha256(results: impl IntoIterator<Item = CertifiedResult>) -> String {
    let mut lines: Vec<String> = results.into_iter().map(|result| canonical_json(&line(result))).collect();
    lines.sort_unstable();
    sha256(&lines.join("\n"))
}

fn line(result: CertifiedResult) -> Value {
    json!({
        "execution_id": result.execution_id,
        "status": result.status,
        "score": result.score,
        "output_sha256": result.output_sha256,
        "grader": result.grader,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn result(number: u128, output: &str) -> CertifiedResult {
        CertifiedResult {
            execution_id: ExecutionId(Uuid::from_u128(number)),
            status: "passed".into(),
            score: Some(1.0),
            output_sha256: Some(sha256(output)),
            grader: Some("1-ab".into()),
        }
    }

    #[test]
    fn the_order_of_results_does_not_matter_and_everything_else_does() {
        let hash = |results: Vec<CertifiedResult>| results_sha256(results);
        let whole = hash(vec![result(1, "a"), result(2, "b")]);
        assert_eq!(whole, hash(vec![result(2, "b"), result(1, "a")]));
        assert_ne!(whole, hash(vec![result(1, "a")]));
        assert_ne!(whole, hash(vec![result(1, "a"), result(2, "c")]));
        assert_ne!(whole, hash(vec![result(1, "a"), CertifiedResult { score: Some(0.5), ..result(2, "b") }]));
        assert_ne!(whole, hash(vec![result(1, "a"), CertifiedResult { grader: None, ..result(2, "b") }]));
    }
}
