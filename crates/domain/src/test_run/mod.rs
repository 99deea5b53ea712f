//! Test runs: versions x models x cases x repeats of one card, from the request to the last result.

mod decide;
mod skip;
mod template;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::decide::{TestRunCommand, TestRunRejection};
pub use self::skip::{Skip, Skips};
pub use self::template::RunTemplate;
use crate::aggregate::Aggregate;
use crate::assertion::Assertion;
use crate::event::events;
use crate::execution::FailureClass;
use crate::ids::{ActorId, ExecutionId, PromptCardId, ScheduleId, TestCaseId, TestRunId};
use crate::model::ModelSpec;
use crate::timestamp::Timestamp;
use crate::upcast::unchanged;

events! {
    /// What happened to a run.
    #[expect(clippy::large_enum_variant, reason = "few events are of runs, and one is moved once")]
    pub enum TestRunEvent in TestRun {
        /// Somebody asked for the run; its executions follow from this event and the card's history.
        Requested(Requested) = "test_run.requested" version 4
            formerly "test_run.requested" version 1 with unchanged
            formerly "test_run.requested" version 2 with unchanged
            formerly "test_run.requested" version 3 with unchanged,
        /// Somebody stopped it, or the system gave it up; executions without a result will not get one.
        Cancelled(Cancelled) = "test_run.cancelled" version 3
            formerly "test_run.cancelled" version 1 with nobody_for_nil
            formerly "test_run.cancelled" version 2 with unchanged,
        /// Every execution has its result.
        Completed(Completed) = "test_run.completed" version 1,
    }
}

/// Payload of `test_run.requested` version 4.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Requested {
    /// How people call the run; may be empty.
    pub name: String,
    /// The card.
    pub card_id: PromptCardId,
    /// The version of the card's stream whose prompts and cases the run uses: later changes don't touch it.
    pub card_revision: i64,
    /// The prompt versions.
    pub versions: Vec<u32>,
    /// The models.
    pub models: Vec<ModelSpec>,
    /// The cases, where not all of the card's cases run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_ids: Option<Vec<TestCaseId>>,
    /// How many cases run.
    pub cases: u32,
    /// How often each cell runs.
    pub repeats: u16,
    /// Demands on every output, beside the case's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The model that judges where an assertion names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<ModelSpec>,
    /// The other cards' prompts that the run's prompts include, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<Partial>,
    /// Cells that are left out of the matrix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
    /// How many executions there are: versions x models x cases x repeats, less those that are left out; at most so many
    /// where it is a retry.
    pub executions: u64,
    /// How important the run is beside others.
    pub lane: Lane,
    /// Who asked.
    pub requested_by: ActorId,
    /// When and how long it may work, and what it may cost.
    #[serde(flatten)]
    pub terms: Terms,
    /// Which part of the matrix runs, where the run repeats what another run left undone; all of it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The schedule that asked, where no person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<ScheduleId>,
    /// What was checked out where the run was asked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The state of a repository that a run belongs to.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Source {
    /// The branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The commit, as its version control writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// A prompt of another card that prompts include by its name.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Partial {
    /// As it stands in the templates: the card's title and a label, such as `greeting@production`.
    pub name: String,
    /// The other card.
    pub card_id: PromptCardId,
    /// The version of that card's stream that was read.
    pub card_revision: i64,
    /// The prompt version that had the label.
    pub version: u32,
}

/// When and how long a run may work, and what it may cost; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Terms {
    /// No execution begins before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Executions that did not begin within so many seconds of the request, or of `not_before`, expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_seconds: Option<u32>,
    /// What the run may use; it is stopped when that is used up.
    #[serde(default, skip_serializing_if = "Budget::is_unlimited")]
    pub budget: Budget,
    /// Whether an answer that the same question got before may be used again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cache: bool,
}

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Money, in millionths of a US dollar. Answers without a known price count as free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
    /// Tokens of prompts and answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Time from the request, or from `not_before`, to the last result, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}

impl Budget {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

// serde calls it with a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Which cells of another run are run again.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Retry {
    /// The other run. It has ended, and its request is repeated.
    pub of: TestRunId,
    /// Its dead letters, of these classes; of all where the list is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FailureClass>>,
    /// What had no result when it was cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfinished: bool,
    /// Of these, only those executions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_ids: Option<Vec<ExecutionId>>,
}

/// How important a run is beside others.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Somebody waits for it.
    Hi,
    /// The usual.
    #[default]
    Std,
    /// It may take all night.
    Bulk,
}

impl Lane {
    /// All lanes, the most important first.
    pub const ALL: [Self; 3] = [Self::Hi, Self::Std, Self::Bulk];

    /// The token in subjects and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hi => "hi",
            Self::Std => "std",
            Self::Bulk => "bulk",
        }
    }

    /// The lane of a token.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

/// Payload of `test_run.cancelled` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Cancelled {
    /// Why, in the canceller's words; may be empty.
    pub reason: String,
    /// Who cancelled it; absent where the system gave the run up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<ActorId>,
    /// What made it end.
    #[serde(default)]
    pub cause: CancelCause,
}

/// What makes a run end before its time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// Somebody asked for it.
    #[default]
    Asked,
    /// Its history does not fit together.
    Inconsistent,
    /// It has cost as much as it may.
    CostBudget,
    /// It has used as many tokens as it may.
    TokenBudget,
    /// It has taken as long as it may.
    TimeBudget,
}

/// Version 1 of `test_run.cancelled` had to name somebody, and named the nil id for the system.
fn nobody_for_nil(mut payload: Map<String, Value>) -> Map<String, Value> {
    let nil = Uuid::nil().to_string();
    if payload.get("cancelled_by").and_then(Value::as_str) == Some(nil.as_str()) {
        payload.remove("cancelled_by");
    }
    payload
}

/// Payload of `test_run.completed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Completed {
    /// The count of all results.
    pub totals: RunTotals,
}

/// How many executions of a run ended in which way.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RunTotals {
    /// Executions with a result.
    pub executions: u64,
    /// Their outputs met all demands.
    pub passed: u64,
    /// Their outputs did not.
    pub failed: u64,
    /// They have no output.
    pub errors: u64,
}

/// A run as its history left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub enum TestRun {
    /// There is none.
    #[default]
    Absent,
    /// Waiting for results.
    Running(Requested),
    /// Stopped.
    Cancelled(Requested),
    /// All results are there.
    Completed(Requested, RunTotals),
}

impl TestRun {
    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> Option<&Requested> {
        match self {
            Self::Absent => None,
            Self::Running(request) | Self::Cancelled(request) | Self::Completed(request, _) => Some(request),
        }
    }
}

impl Aggregate for TestRun {
    type Command = TestRunCommand;
    type Event = TestRunEvent;
    type Rejection = TestRunRejection;

    fn decide(&self, command: TestRunCommand, _: Timestamp) -> Result<Vec<TestRunEvent>, TestRunRejection> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: TestRunEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, TestRunEvent::Requested(e)) => Self::Running(e),
            (Self::Running(request), TestRunEvent::Cancelled(_)) => Self::Cancelled(request),
            (Self::Running(request), TestRunEvent::Completed(e)) => Self::Completed(request, e.totals),
            (state, TestRunEvent::Requested(_) | TestRunEvent::Cancelled(_) | TestRunEvent::Completed(_)) => state,
        }
    }
}
