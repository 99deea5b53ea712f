//! `pcs runs certificate` and `pcs verify-certificate`: what a run was and came to, signed, and checked without a server.

use std::path::{Path, PathBuf};

use pcs_domain::certificate::{self, CertifiedResult, FORMAT, SignedCertificate};
use pcs_domain::ids::ExecutionId;

use super::exit::{CliError, ExitStatus};
use super::output::Output;
use super::target;
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;

/// Digits of a public key that people compare.
const KEY_DIGITS_SHOWN: usize = 16;

/// `runs certificate`.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificateArgs {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Write it to a file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Check a run's certificate, without a server.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyCertificate {
    /// The certificate
    pub file: PathBuf,
    /// The public key that it has to be signed with, as `GET /api/v1/certificate-key` told it; known from elsewhere
    #[arg(long, value_name = "HEX")]
    pub key: Option<String>,
    /// Also check that these are its results: one JSON object per line, as `pcs run --output results.jsonl` writes them
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Also check that this is the text of one of its prompts
    #[arg(long, value_name = "FILE")]
    pub prompt: Option<PathBuf>,
}

impl CertificateArgs {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = target::run(api, &self.run).await?;
        let signed = api.show(&["runs", &run, "certificate"], &[]).await?;
        let Some(path) = &self.output else { return output.json(&signed) };
        let text = serde_json::to_string_pretty(&signed).map_err(std::io::Error::other)?;
        std::fs::write(path, text + "\n").map_err(|error| unwritable(path, &error))?;
        output.note(&format!("wrote {}", path.display()));
        Ok(())
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("{} can't be written: {error}", path.display()), "name a file in a folder that is there")
}

impl VerifyCertificate {
    /// Checks it.
    pub fn execute(&self) -> Result<ExitStatus, CliError> {
        self.check(&mut Output::of_process())
    }

    fn check(&self, output: &mut Output) -> Result<ExitStatus, CliError> {
        let signed: SignedCertificate = serde_json::from_str(&read(&self.file)?).map_err(|error| {
            let message = format!("{} is no run certificate: {error}", self.file.display());
            CliError::usage(message, "give the file that `pcs runs certificate --output` has written")
        })?;
        let faults = self.faults(&signed)?;
        let certificate = &signed.certificate;
        if faults.is_empty() {
            let totals = certificate.totals;
            output.line(&format!(
                "valid: run {} ({}), {} executions: {} passed, {} failed, {} errors",
                certificate.run_id,
                if certificate.completed { "completed" } else { "cancelled" },
                totals.executions,
                totals.passed,
                totals.failed,
                totals.errors
            ))?;
            if self.key.is_none() {
                let shown: String = signed.public_key.chars().take(KEY_DIGITS_SHOWN).collect();
                output.note(&format!("signed with the key {shown}…; give --key to check whose that is"));
            }
            return Ok(ExitStatus::Success);
        }
        for fault in faults {
            output.line(&format!("INVALID: {fault}"))?;
        }
        Ok(ExitStatus::GateFailed)
    }

    fn faults(&self, signed: &SignedCertificate) -> Result<Vec<String>, CliError> {
        let certificate = &signed.certificate;
        let mut faults = Vec::new();
        if certificate.format != FORMAT {
            faults.push(format!("it has the form {:?}, and this program knows {FORMAT:?}", certificate.format));
        }
        if self.key.as_ref().is_some_and(|key| !key.trim().eq_ignore_ascii_case(&signed.public_key)) {
            faults.push("it is signed with another key".to_owned());
        }
        let text = certificate.text().map_err(std::io::Error::other)?;
        if !pcs_sealing::is_signed(&signed.public_key, text.as_bytes(), &signed.signature) {
            faults.push("its signature is not of this content".to_owned());
        }
        if let Some(path) = &self.results {
            let results = results(path)?;
            let found = results.len() as u64;
            let told = certificate.totals.executions;
            if found != told {
                faults.push(format!("{} has {found} results, and it certifies {told}", path.display()));
            } else if certificate::results_sha256(results) != certificate.results_sha256 {
                faults.push(format!("the results of {} are not those that it certifies", path.display()));
            }
        }
        if let Some(path) = &self.prompt {
            let hash = certificate::sha256(&read(path)?);
            if !certificate.prompts.iter().any(|prompt| prompt.sha256 == hash) {
                faults.push(format!("{} is none of its prompts", path.display()));
            }
        }
        Ok(faults)
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("{} can't be read: {error}", path.display()), "check the path and its spelling")
    })
}

fn results(path: &Path) -> Result<Vec<CertifiedResult>, CliError> {
    let text = read(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let results = lines.map(|(index, line)| {
        let at = |why: String| {
            let message = format!("{}:{}: {why}", path.display(), index + 1);
            CliError::usage(message, "give the file that `pcs run --output results.jsonl` has written")
        };
        let result: ExecutionResult = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
        certified(result).ok_or_else(|| at("it has no execution_id".to_owned()))
    });
    results.collect()
}

/// What is certified of a result. A data subject's answers are not: a hash would let anybody guess them.
fn certified(result: ExecutionResult) -> Option<CertifiedResult> {
    let execution_id: ExecutionId = result.execution_id.parse().ok()?;
    let is_private = result.rest.get("subject").is_some_and(|subject| !subject.is_null());
    let output = result.output.filter(|_| !is_private);
    Some(CertifiedResult {
        execution_id,
        status: result.status,
        score: result.score,
        output_sha256: output.as_deref().map(certificate::sha256),
        grader: result.grader,
    })
}
