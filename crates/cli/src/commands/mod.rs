//! What a person calls: against a running server, and on the event store itself.

pub mod run;
pub mod suite;
pub mod card;
pub mod prompt;
pub mod playground;
pub mod es;
pub mod jobs;
pub mod compare;
pub mod repeats;
pub mod regrade;
pub mod review;
pub mod certificate;
pub mod explain;
pub mod bisect;
pub mod decide;
mod trials;
pub mod runs;
pub mod schedules;
pub mod exit;
mod markdown;
pub mod output;
pub mod page;
pub mod target;

use std::process::ExitCode;

use self::exit::{CliError, ExitStatus};

/// The exit code of a command; says its error on standard error, if there is anybody to read it.
#[must_use]
pub fn finish(result: Result<ExitStatus, CliError>) -> ExitCode {
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            if !error.is_silent() {
                eprintln!("error: {error}");
            }
            error.exit_status().into()
        }
    }
}
