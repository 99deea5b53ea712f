//! What may happen to a regrade: commands, and the rules that refuse them.

use super::{Completed, Graded, Regrade, RegradeEvent as Event, Regraded, Requested};
use crate::aggregate::RejectionCode;
use crate::limits;

/// What somebody wants to happen to a regrade.
#[derive(Clone, Debug, PartialEq)]
pub enum RegradeCommand {
    /// Grade the answers of a run once more.
    Request(Box<Requested>),
    /// These answers are graded: all between these two positions.
    Record {
        /// Up to which position all answers were graded when they were read.
        after: i64,
        /// Up to which position they are graded now.
        through: i64,
        /// The grades.
        grades: Vec<Regraded>,
    },
    /// There is no further answer.
    Complete,
}

/// Why a command on a regrade is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RegradeRejection {
    /// It does not exist.
    #[error("there is no such regrade")]
    NotFound,
    /// It exists.
    #[error("the regrade already exists")]
    AlreadyExists,
    /// Others have graded these answers, or all.
    #[error("the answers behind position {after} are graded")]
    Graded {
        /// The position that they are behind.
        after: i64,
    },
    /// It demands too much.
    #[error("there are more than {max} assertions")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// A text is too long, or holds a NUL character.
    #[error("{field} must have at most {max} bytes and no NUL character")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// How many bytes it may have.
        max: usize,
    },
    /// The score from which a case passes is out of its range.
    #[error("threshold must be a number from 0 to 1")]
    InvalidThreshold,
}

impl RejectionCode for RegradeRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "regrade_not_found",
            Self::AlreadyExists => "regrade_already_exists",
            Self::Graded { .. } => "already_graded",
            Self::TooMany { .. } => "too_many_items",
            Self::InvalidText { .. } => "invalid_text",
            Self::InvalidThreshold => "out_of_range",
        }
    }
}

type Decision = Result<Vec<Event>, RegradeRejection>;

pub(super) fn decide(state: &Regrade, command: RegradeCommand) -> Decision {
    match (state, command) {
        (Regrade::Absent, RegradeCommand::Request(request)) => requested(*request),
        (_, RegradeCommand::Request(_)) => Err(RegradeRejection::AlreadyExists),
        (Regrade::Absent, _) => Err(RegradeRejection::NotFound),
        (Regrade::Running { through: last, .. }, RegradeCommand::Record { after, through, grades }) => {
            // Two workers may have read the same answers, of which one was taken for lost.
            if after != *last || through <= after {
                return Err(RegradeRejection::Graded { after });
            }
            Ok(vec![Event::Graded(Graded { through, grades })])
        }
        (Regrade::Running { totals, .. }, RegradeCommand::Complete) => {
            Ok(vec![Event::Completed(Completed { totals: *totals })])
        }
        (Regrade::Completed(..), RegradeCommand::Record { after, .. }) => Err(RegradeRejection::Graded { after }),
        // Saying it twice is saying it once.
        (Regrade::Completed(..), RegradeCommand::Complete) => Ok(Vec::new()),
    }
}

fn requested(request: Requested) -> Decision {
    let max = limits::MESSAGE_BYTES_MAX;
    if request.name.len() > max || request.name.contains('\0') {
        return Err(RegradeRejection::InvalidText { field: "name", max });
    }
    if request.assertions.len() > limits::ASSERTIONS_MAX {
        return Err(RegradeRejection::TooMany { max: limits::ASSERTIONS_MAX });
    }
    if request.threshold.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(RegradeRejection::InvalidThreshold);
    }
    Ok(vec![Event::Requested(request)])
}
