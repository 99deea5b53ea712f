//! What can go wrong between the command line and the server.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server did not answer, however often it was asked.
    #[error("the server at {url} does not answer: {reason}\n  mend: is it running? `pcs up` starts one")]
    Unreachable {
        /// The server's address.
        url: String,
        /// What the last try ended with.
        reason: String,
    },
    /// The server answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something answered that is no Prompt Card System, or another version of it.
    #[error("{url} answered what was not expected: {reason}\n  mend: is this the address of a Prompt Card System?")]
    Unexpected {
        /// The address that was asked.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// The client itself can't be made.
    #[error("the HTTP client can't start: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
}

/// A refusal in the server's words, as `application/problem+json` has them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A short name of the problem.
    pub title: String,
    /// What happened, for a person.
    pub detail: String,
    /// The stable code, such as `missing_variable`.
    pub code: String,
    /// The id under which the server logged the request.
    pub request_id: String,
    /// The single mistakes, where there are several.
    pub errors: Vec<FieldProblem>,
}

/// One mistake in a request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct FieldProblem {
    /// Where in the request.
    pub field: String,
    /// What is wrong there.
    pub message: String,
}

/// Most single mistakes that a message shows.
const FIELD_PROBLEMS_SHOWN_MAX: usize = 10;

impl ApiError {
    /// The stable code of a problem; empty for everything else.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Problem(problem) => &problem.code,
            Self::Unreachable { .. } | Self::Unexpected { .. } | Self::Client { .. } => "",
        }
    }

    /// The status of a problem; 0 for everything else.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Problem(problem) => problem.status,
            Self::Unreachable { .. } | Self::Unexpected { .. } | Self::Client { .. } => 0,
        }
    }

    /// Whether the request itself was wrong, so that nobody but the user can mend it.
    #[must_use]
    pub fn is_wrong_use(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                let waits = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                StatusCode::from_u16(problem.status).is_ok_and(|s| s.is_client_error() && !waits.contains(&s))
            }
            Self::Unreachable { .. } | Self::Unexpected { .. } | Self::Client { .. } => false,
        }
    }

    /// Whether the server may be back in a while, as after a restart.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => problem.status >= 500 || problem.status == 429,
            Self::Unexpected { .. } | Self::Client { .. } => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "the server refused: {said} ({} {})", self.status, self.code)?;
        for problem in self.errors.iter().take(FIELD_PROBLEMS_SHOWN_MAX) {
            write!(f, "\n  {}: {}", problem.field, problem.message)?;
        }
        if self.errors.len() > FIELD_PROBLEMS_SHOWN_MAX {
            write!(f, "\n  and {} more", self.errors.len() - FIELD_PROBLEMS_SHOWN_MAX)?;
        }
        if self.status == 401 {
            f.write_str(
                "\n  mend: set PCS_API_KEY to a key of this server, or use the .local/credentials.json it wrote",
            )?;
        }
        if self.status >= 500 && !self.request_id.is_empty() {
            write!(f, "\n  the server's log has it under request {}", self.request_id)?;
        }
        Ok(())
    }
}
