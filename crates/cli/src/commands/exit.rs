//! How a command ends: the exit code that scripts see, and the error that people see.

use std::io::ErrorKind;
use std::process::ExitCode;

use pcs_projections::ProjectionError;
use pcs_store::{ArchiveError, PrivacyError, StoreError};

use crate::client::connection::ConnectionError;
use crate::client::error::ApiError;
use crate::suite::error::SuiteError;

/// The exit codes, as the documentation promises them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// All good.
    Success,
    /// The gate failed: fewer executions passed than were demanded, or a job that was waited for has no result.
    GateFailed,
    /// Wrong use: of the command line, of a suite, of the server.
    WrongUse,
    /// The system failed: no server, no answer, no end in time.
    SystemFailed,
    /// The user stopped it.
    Interrupted,
}

impl ExitStatus {
    /// The number that the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::GateFailed => 1,
            Self::WrongUse => 2,
            Self::SystemFailed => 3,
            // 128 + SIGINT, as shells have it.
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A mistake in a suite.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// A mistake on the command line that only the content shows.
    #[error("{message}\n  mend: {mend}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do about it.
        mend: String,
    },
    /// No server is known.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server refused, or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The system did not do what it should.
    #[error("{0}")]
    System(String),
    /// What was found can't be written.
    #[error("the output can't be written: {0}")]
    Output(#[from] std::io::Error),
    /// The event store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The read models could not be read or written.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

impl From<sqlx::Error> for CliError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl CliError {
    /// An answer of the server that is not of its form.
    #[must_use]
    pub fn unreadable(error: &serde_json::Error) -> Self {
        Self::System(format!("the server's answer can't be read: {error}; is it of another version?"))
    }

    /// A mistake of the user.
    pub fn usage(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), mend: mend.into() }
    }

    /// The exit code of the process that ends with this.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Suite(_) | Self::Usage { .. } | Self::Connection(_) => ExitStatus::WrongUse,
            Self::Api(error) if error.is_wrong_use() => ExitStatus::WrongUse,
            Self::Store(error) | Self::Projection(ProjectionError::Store(error)) if wants_setting(error) => {
                ExitStatus::WrongUse
            }
            // Whoever reads us has read enough, as `head` does: that is no failure.
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => ExitStatus::Success,
            Self::Api(_) | Self::System(_) | Self::Output(_) | Self::Store(_) | Self::Projection(_) => {
                ExitStatus::SystemFailed
            }
        }
    }

    /// Whether there is nothing to tell, for nobody listens.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == ErrorKind::BrokenPipe)
    }
}

/// Whether the store was not told where its archive or its keys are, or was told wrong.
fn wants_setting(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Archive(
            ArchiveError::NoAddress
                | ArchiveError::Address { .. }
                | ArchiveError::NotConfigured { .. }
                | ArchiveError::NotInTheLog { .. }
        ) | StoreError::Privacy(
            PrivacyError::NoMasterKey
                | PrivacyError::File { .. }
                | PrivacyError::Ring(_)
                | PrivacyError::UnknownMasterKey { .. }
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::Problem;

    fn problem(status: u16) -> CliError {
        ApiError::Problem(Box::new(Problem { status, ..Problem::default() })).into()
    }

    #[test]
    fn every_error_has_the_exit_code_that_is_promised() {
        let suite = SuiteError::of_file("s.yaml", "m", "n");
        let unreachable = ApiError::Unreachable { url: String::new(), reason: String::new() };
        let cases: [(CliError, u8); 14] = [
            (StoreError::from(ArchiveError::NoAddress).into(), 2),
            (StoreError::from(PrivacyError::NoMasterKey).into(), 2),
            (suite.into(), 2),
            (CliError::usage("m", "n"), 2),
            (ConnectionError::Unknown.into(), 2),
            (problem(401), 2),
            (problem(404), 2),
            (problem(422), 2),
            (problem(429), 3),
            (problem(500), 3),
            (problem(503), 3),
            (unreachable.into(), 3),
            (CliError::System("cancelled".to_owned()), 3),
            (std::io::Error::from(ErrorKind::StorageFull).into(), 3),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit_status().code(), code, "{error}");
        }
        let gone = CliError::from(std::io::Error::from(ErrorKind::BrokenPipe));
        assert!(gone.is_silent() && gone.exit_status() == ExitStatus::Success);
        assert_eq!(ExitStatus::Interrupted.code(), 130);
    }
}
