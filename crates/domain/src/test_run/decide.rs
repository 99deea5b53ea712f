//! What may happen to a run: commands, and the rules that refuse them.

use std::collections::BTreeSet;

use super::{CancelCause, Cancelled, Completed, Requested, RunTotals, Skips, TestRun, TestRunEvent as Event};
use crate::aggregate::RejectionCode;
use crate::ids::{ActorId, TestCaseId};
use crate::limits;

/// What somebody wants to happen to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum TestRunCommand {
    /// Start it.
    Request(Box<Requested>),
    /// Stop it.
    Cancel {
        /// Why; may be empty.
        reason: String,
        /// Who stops it; nobody where the system gives it up.
        cancelled_by: Option<ActorId>,
        /// What makes it end.
        cause: CancelCause,
    },
    /// Close it: every execution has its result.
    Complete {
        /// The count of all results.
        totals: RunTotals,
    },
}

/// Why a command on a run is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TestRunRejection {
    /// The run does not exist.
    #[error("there is no such run")]
    NotFound,
    /// The run exists.
    #[error("the run already exists")]
    AlreadyExists,
    /// The run has ended.
    #[error("the run has already completed")]
    AlreadyCompleted,
    /// What is left out is not there.
    #[error("the run has no {what}, of which cells are to be left out")]
    SkipOfNothing {
        /// What the run lacks.
        what: String,
    },
    /// A part of the matrix is empty.
    #[error("the run has no {part}: a run needs at least one version, model, case and repeat")]
    EmptyMatrix {
        /// Which part.
        part: &'static str,
    },
    /// A part of the matrix is too large.
    #[error("the run has {count} {part}, and at most {max} are allowed")]
    TooMany {
        /// Which part.
        part: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        max: u64,
    },
    /// Two models have the same name.
    #[error("two models are called {name:?}; give each its own label")]
    DuplicateModel {
        /// The name.
        name: String,
    },
    /// A version is named twice.
    #[error("version {version} is named twice")]
    DuplicateVersion {
        /// The version.
        version: u32,
    },
    /// A case is named twice.
    #[error("case {case_id} is named twice")]
    DuplicateCase {
        /// The case.
        case_id: TestCaseId,
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
    /// The named cases are not as many as the run promises.
    #[error("{named} cases are named, and the run promises {cases}")]
    CaseCount {
        /// How many are named.
        named: usize,
        /// How many are promised.
        cases: u32,
    },
    /// Results are missing.
    #[error("{recorded} of {expected} executions have a result")]
    NotAllRecorded {
        /// Results there are.
        recorded: u64,
        /// Results there must be.
        expected: u64,
    },
}

impl RejectionCode for TestRunRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "run_not_found",
            Self::AlreadyExists => "run_already_exists",
            Self::AlreadyCompleted => "run_already_completed",
            Self::SkipOfNothing { .. } => "invalid_skip",
            Self::EmptyMatrix { .. } => "empty_matrix",
            Self::TooMany { .. } => "too_many_items",
            Self::DuplicateModel { .. } => "duplicate_model",
            Self::DuplicateVersion { .. } => "duplicate_version",
            Self::DuplicateCase { .. } => "duplicate_case",
            Self::InvalidText { .. } => "invalid_text",
            Self::InvalidThreshold => "out_of_range",
            Self::CaseCount { .. } => "case_count",
            Self::NotAllRecorded { .. } => "results_missing",
        }
    }
}

type Decision = Result<Vec<Event>, TestRunRejection>;

pub(super) fn decide(state: &TestRun, command: TestRunCommand) -> Decision {
    match (state, command) {
        (TestRun::Absent, TestRunCommand::Request(request)) => requested(*request),
        (TestRun::Absent, _) => Err(TestRunRejection::NotFound),
        (_, TestRunCommand::Request(_)) => Err(TestRunRejection::AlreadyExists),
        (TestRun::Running(_), TestRunCommand::Cancel { reason, cancelled_by, cause }) => {
            text("reason", &reason, limits::MESSAGE_BYTES_MAX)?;
            Ok(vec![Event::Cancelled(Cancelled { reason, cancelled_by, cause })])
        }
        (TestRun::Running(request), TestRunCommand::Complete { totals }) => completed(request, totals),
        (TestRun::Completed(..), TestRunCommand::Cancel { .. }) => Err(TestRunRejection::AlreadyCompleted),
        // Both may be said twice: a cancelled run's last results can still come in, and completion is derived.
        (TestRun::Cancelled(_), TestRunCommand::Cancel { .. } | TestRunCommand::Complete { .. })
        | (TestRun::Completed(..), TestRunCommand::Complete { .. }) => Ok(Vec::new()),
    }
}

fn requested(mut request: Requested) -> Decision {
    let parts = [
        ("versions", request.versions.len() as u64, limits::RUN_VERSIONS_MAX as u64),
        ("models", request.models.len() as u64, limits::RUN_MODELS_MAX as u64),
        ("cases", u64::from(request.cases), limits::CASES_MAX as u64),
        ("repeats", u64::from(request.repeats), u64::from(limits::RUN_REPEATS_MAX)),
    ];
    for (part, count, max) in parts {
        if count == 0 {
            return Err(TestRunRejection::EmptyMatrix { part });
        }
        if count > max {
            return Err(TestRunRejection::TooMany { part, count, max });
        }
    }
    // Checked above to be small enough: 50 x 50 x 50,000 x 1,000 is far below 2^64.
    let mut matrix: u64 = parts.iter().map(|(_, count, _)| count).product();
    if !request.skips.is_empty() {
        let (count, max) = (request.skips.len() as u64, limits::RUN_SKIPS_MAX as u64);
        if count > max {
            return Err(TestRunRejection::TooMany { part: "skips", count, max });
        }
        let skips = Skips::of(&request.skips);
        if let Some(what) = skips.stranger(&request) {
            return Err(TestRunRejection::SkipOfNothing { what });
        }
        matrix = skips.executions(&request);
        if matrix == 0 {
            return Err(TestRunRejection::EmptyMatrix { part: "cells that are not left out" });
        }
    }
    // How much another run left undone is not in its matrix; whoever asks has counted it.
    request.executions = if request.retry.is_some() { request.executions.min(matrix) } else { matrix };
    if request.executions > limits::RUN_EXECUTIONS_MAX {
        let max = limits::RUN_EXECUTIONS_MAX;
        return Err(TestRunRejection::TooMany { part: "executions", count: request.executions, max });
    }
    if let Some(retry) = &request.retry {
        let count = retry.execution_ids.as_ref().map_or(0, Vec::len) as u64;
        let max = limits::RETRY_EXECUTIONS_MAX as u64;
        if count > max {
            return Err(TestRunRejection::TooMany { part: "execution_ids", count, max });
        }
        if request.executions == 0 || (retry.errors.is_none() && !retry.unfinished) {
            return Err(TestRunRejection::EmptyMatrix { part: "errors or unfinished executions to repeat" });
        }
    }
    no_duplicates(&request)?;
    text("name", &request.name, limits::MESSAGE_BYTES_MAX)?;
    for model in &request.models {
        text("models", model.name(), limits::MESSAGE_BYTES_MAX)?;
    }
    if request.assertions.len() > limits::ASSERTIONS_MAX {
        let (count, max) = (request.assertions.len() as u64, limits::ASSERTIONS_MAX as u64);
        return Err(TestRunRejection::TooMany { part: "assertions", count, max });
    }
    if request.threshold.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(TestRunRejection::InvalidThreshold);
    }
    let named = request.case_ids.as_ref().map_or(request.cases as usize, Vec::len);
    if named != request.cases as usize {
        return Err(TestRunRejection::CaseCount { named, cases: request.cases });
    }
    Ok(vec![Event::Requested(request)])
}

fn text(field: &'static str, value: &str, max: usize) -> Result<(), TestRunRejection> {
    let fits = value.len() <= max && !value.contains('\0');
    if fits { Ok(()) } else { Err(TestRunRejection::InvalidText { field, max }) }
}

fn no_duplicates(request: &Requested) -> Result<(), TestRunRejection> {
    let mut names = BTreeSet::new();
    if let Some(model) = request.models.iter().find(|model| !names.insert(model.name())) {
        return Err(TestRunRejection::DuplicateModel { name: model.name().to_owned() });
    }
    let mut versions = BTreeSet::new();
    if let Some(version) = request.versions.iter().find(|version| !versions.insert(**version)) {
        return Err(TestRunRejection::DuplicateVersion { version: *version });
    }
    let mut cases = BTreeSet::new();
    let named = request.case_ids.iter().flatten();
    if let Some(case_id) = named.into_iter().find(|case_id| !cases.insert(**case_id)) {
        return Err(TestRunRejection::DuplicateCase { case_id: *case_id });
    }
    Ok(())
}

fn completed(request: &Requested, totals: RunTotals) -> Decision {
    let recorded = totals.passed.saturating_add(totals.failed).saturating_add(totals.errors);
    // How much of another run's matrix was left undone is known when the retry begins, not when it is asked for.
    let expected = if request.retry.is_some() { totals.executions } else { request.executions };
    if recorded != expected || totals.executions != expected || expected > request.executions {
        return Err(TestRunRejection::NotAllRecorded { recorded, expected: request.executions });
    }
    Ok(vec![Event::Completed(Completed { totals })])
}
