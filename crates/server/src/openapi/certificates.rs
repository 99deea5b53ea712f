//! The schemas of run certificates.

use utoipa::ToSchema;
use uuid::Uuid;

use super::ModelSpecDoc;

/// A certificate and who stands for it.
#[derive(ToSchema)]
#[schema(as = SignedCertificate)]
pub(crate) struct SignedCertificateDoc {
    certificate: CertificateDoc,
    /// The Ed25519 public key, in hex.
    public_key: String,
    /// The signature of the certificate's canonical JSON, in hex.
    signature: String,
}

/// What is certified of a run.
#[derive(ToSchema)]
#[schema(as = Certificate)]
pub(crate) struct CertificateDoc {
    /// The form of the certificate.
    format: String,
    run_id: Uuid,
    name: String,
    card_id: Uuid,
    /// Whether all of its results are there; else it was cancelled.
    completed: bool,
    #[schema(format = DateTime)]
    requested_at: String,
    #[schema(format = DateTime)]
    ended_at: String,
    prompts: Vec<PromptHashDoc>,
    models: Vec<ModelSpecDoc>,
    cases: u32,
    repeats: u16,
    /// SHA-256 of the cases: of their ids, inputs and expected outputs.
    dataset_sha256: String,
    /// SHA-256 of all demands: assertions, thresholds and the grader.
    graders_sha256: String,
    #[schema(inline)]
    totals: CertifiedTotalsDoc,
    /// SHA-256 of the results, one line of canonical JSON for each, sorted.
    results_sha256: String,
    /// The last event of the run's stream in the log's hash chain.
    #[schema(required)]
    stream_hash: Option<String>,
}

/// A prompt's text as a hash.
#[derive(ToSchema)]
#[schema(as = PromptHash)]
pub(crate) struct PromptHashDoc {
    version: u32,
    sha256: String,
}

/// How many executions ended in which way.
#[derive(ToSchema)]
pub(crate) struct CertifiedTotalsDoc {
    executions: u64,
    passed: u64,
    failed: u64,
    errors: u64,
}
