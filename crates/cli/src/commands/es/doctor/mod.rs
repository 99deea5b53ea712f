//! `pcs es doctor`: whether the database under the log is as it must be, check by check, each with its mend.

mod log;
mod server;

use serde::Serialize;

use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// `es doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Doctor {}

/// How good something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Health {
    /// As it should be.
    Ok,
    /// It works, and will not for ever, or not for everybody.
    Warn,
    /// It does not work, or loses what it promised to keep.
    Bad,
}

/// A check and what it saw.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Checked {
    check: String,
    health: Health,
    seen: String,
    /// What to do about it; empty where there is nothing to do.
    mend: String,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Checked>,
}

impl Checked {
    pub(super) fn ok(check: &str, seen: impl Into<String>) -> Self {
        Self { check: check.to_owned(), health: Health::Ok, seen: seen.into(), mend: String::new() }
    }

    pub(super) fn warn(check: &str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: check.to_owned(), health: Health::Warn, seen: seen.into(), mend: mend.into() }
    }

    pub(super) fn bad(check: &str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check: check.to_owned(), health: Health::Bad, seen: seen.into(), mend: mend.into() }
    }
}

impl Health {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

impl Doctor {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let pool = console.pool().await?;
        let mut checks = server::examine(&pool).await?;
        let schema = log::migrations(&pool).await?;
        let has_log = schema.health != Health::Bad;
        checks.push(schema);
        // Without its tables there is nothing to look at.
        if has_log {
            checks.extend(log::examine(&pool).await?);
        }
        let worst = checks.iter().map(|checked| checked.health).max().unwrap_or(Health::Ok);
        let report = Report { ok: worst < Health::Bad, checks };
        if console.json() {
            console.output.json(&report)?;
        } else {
            show(&report, console)?;
        }
        Ok(if report.ok { ExitStatus::Success } else { ExitStatus::GateFailed })
    }
}

fn show(report: &Report, console: &mut Console) -> Result<(), CliError> {
    let columns = [("check", Align::Left), ("health", Align::Left), ("seen", Align::Left), ("mend", Align::Left)];
    let row = |checked: &Checked| {
        vec![checked.check.clone(), checked.health.name().to_owned(), checked.seen.clone(), checked.mend.clone()]
    };
    console.output.table(&columns, report.checks.iter().map(row).collect())?;
    let count = |health| report.checks.iter().filter(|checked| checked.health == health).count();
    let (warn, bad) = (count(Health::Warn), count(Health::Bad));
    console.output.note(&format!("{} checks, {warn} warnings, {bad} bad", report.checks.len()));
    Ok(())
}
