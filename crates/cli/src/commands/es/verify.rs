//! `pcs es verify`: whether the log is whole, and where it is not.

use clap::ValueEnum;
use pcs_store::{Check, Finding, Store, Verification};
use serde::Serialize;
use uuid::Uuid;

use super::console::Console;
use super::folded;
use super::progress::Progress;
use crate::commands::exit::{CliError, ExitStatus};

/// Findings that are told; beyond it they are only counted, so that a log that is wrong all over needs no more memory.
const FINDINGS_MAX: usize = 1_000;

/// The name of the check that compares read models with the fold.
const PROJECTIONS: &str = "projections";

/// What can be verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Subject {
    /// Positions go from 1 to the head without gaps
    Positions,
    /// Versions go from 1 to the head of their stream without gaps
    Versions,
    /// Payloads can be read and are of their schemas
    Schemas,
    /// Events and batches have the hashes of what is stored
    Chain,
    /// Read models are what the whole log folds to
    Projections,
    /// All of these
    All,
}

/// `es verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct Verify {
    /// What is verified
    #[arg(value_enum, default_value_t = Subject::All)]
    what: Subject,
    /// From this position on; where it is not given, from the first one that is not archived
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// Up to this position; the newest where it is not given
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
}

/// What was verified and what was found.
#[derive(Serialize)]
pub(super) struct Report {
    ok: bool,
    checks: Vec<&'static str>,
    /// The first position that was verified; 1 where only read models were.
    from: i64,
    positions: u64,
    found: u64,
    findings: Vec<Found>,
}

/// Something that is not as it must be, and where.
#[derive(Serialize)]
struct Found {
    check: &'static str,
    position: Option<i64>,
    tenant: Option<i32>,
    stream_id: Option<Uuid>,
    version: Option<i64>,
    what: String,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let Finding { check, position, tenant, stream_id, version, what } = finding;
        Self { check: check.name(), position, tenant, stream_id, version, what }
    }
}

impl Subject {
    fn checks(self) -> Vec<Check> {
        match self {
            Self::Positions => vec![Check::Positions],
            Self::Versions => vec![Check::Versions],
            Self::Schemas => vec![Check::Schemas],
            Self::Chain => vec![Check::Chain],
            Self::Projections => Vec::new(),
            Self::All => Check::ALL.to_vec(),
        }
    }

    fn has_projections(self) -> bool {
        matches!(self, Self::Projections | Self::All)
    }
}

impl Verify {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let checks = self.what.checks();
        let mut report = Report {
            ok: true,
            checks: checks.iter().map(|check| check.name()).collect(),
            from: 1,
            positions: 0,
            found: 0,
            findings: Vec::new(),
        };
        if !checks.is_empty() {
            verify_log(&store, &checks, (self.from, self.to), &mut report, console).await?;
        }
        if self.what.has_projections() {
            verify_projections(&store, &mut report, console).await?;
        }
        report.ok = report.found == 0;
        if console.json() {
            console.output.json(&report)?;
        } else if report.ok {
            let checks = report.checks.join(", ");
            console.output.line(&format!("{} events are whole: {checks}", report.positions))?;
        } else {
            console.output.note(&format!("{} findings in {} events", report.found, report.positions));
        }
        Ok(if report.ok { ExitStatus::Success } else { ExitStatus::GateFailed })
    }
}

async fn verify_log(
    store: &Store,
    checks: &[Check],
    (from, to): (Option<i64>, Option<i64>),
    report: &mut Report,
    console: &mut Console,
) -> Result<(), CliError> {
    let mut verification = Verification::begin(store, checks, from, to).await?;
    report.from = verification.from();
    if let (None, archived @ 1..) = (from, report.from - 1) {
        let note = format!("events 1 to {archived} are left out: `pcs es archive verify` verifies what is archived");
        console.output.note(&note);
    }
    let mut progress = Progress::new("verifying", verification.total(), &console.output);
    while let Some(findings) = verification.next(store).await? {
        for finding in findings {
            progress.suspend(|| report.add(finding.into(), console))?;
        }
        progress.show(verification.done(), &mut console.output);
    }
    report.positions = verification.total();
    Ok(())
}

/// Folds every projection again, beside the living one, and compares the two at one position.
async fn verify_projections(store: &Store, report: &mut Report, console: &mut Console) -> Result<(), CliError> {
    report.checks.push(PROJECTIONS);
    for projection in pcs_projections::all() {
        for difference in folded::compare(store, &*projection).await? {
            let folded::Difference { position, what } = difference;
            let position = Some(position);
            let found = Found { check: PROJECTIONS, position, tenant: None, stream_id: None, version: None, what };
            report.add(found, console)?;
        }
    }
    Ok(())
}

impl Report {
    /// Tells a finding: to people at once, to programs in the report.
    fn add(&mut self, finding: Found, console: &mut Console) -> Result<(), CliError> {
        self.found += 1;
        let is_told = self.found <= u64::try_from(FINDINGS_MAX).unwrap_or(u64::MAX);
        if is_told && !console.json() {
            console.output.line(&sentence(&finding))?;
        }
        if is_told {
            self.findings.push(finding);
        }
        Ok(())
    }
}

/// `positions: position 7: …`, with as much of the place as there is.
fn sentence(finding: &Found) -> String {
    let mut text = finding.check.to_owned();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name} {value}"));
        }
    };
    add("position", finding.position.map(|position| position.to_string()));
    add("stream", finding.stream_id.map(|stream| stream.to_string()));
    add("version", finding.version.map(|version| version.to_string()));
    add("tenant", finding.tenant.map(|tenant| tenant.to_string()));
    format!("{text}: {}", finding.what)
}
