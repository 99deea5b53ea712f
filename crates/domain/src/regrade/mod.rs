//! Regrades: the recorded answers of a run, graded once more by changed demands, without asking any model.
//!
//! An answer never changes; a grade is an opinion about it. A regrade is a stream of opinions beside the recorded ones:
//! both stay, and what turned can be told from what was answered differently.

mod decide;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::decide::{RegradeCommand, RegradeRejection};
use crate::aggregate::Aggregate;
use crate::assertion::{Assertion, Grade};
use crate::data_subject::{Guarded, Subject, put_back};
use crate::event::events;
use crate::ids::{ActorId, ExecutionId, PromptCardId, TestRunId};
use crate::timestamp::Timestamp;

events! {
    /// What happened to a regrade.
    pub enum RegradeEvent in Regrade {
        /// Somebody asked for it, of a run that has ended.
        Requested(Requested) = "regrade.requested" version 1,
        /// Some of the run's answers were graded, in the order in which they were recorded.
        Graded(Graded) = "regrade.graded" version 1,
        /// All answers of the run were graded.
        Completed(Completed) = "regrade.completed" version 1,
    }
}

/// Payload of `regrade.requested` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Requested {
    /// How people call it; may be empty.
    pub name: String,
    /// The run whose answers are graded.
    pub run_id: TestRunId,
    /// The run's card.
    pub card_id: PromptCardId,
    /// The version of the card's stream whose cases say what they demand.
    pub card_revision: i64,
    /// The run's answers are behind this position of the log.
    pub after: i64,
    /// The last of them is at this position or before.
    pub until: i64,
    /// Demands on every output, instead of the run's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Who asked.
    pub requested_by: ActorId,
}

/// Payload of `regrade.graded` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Graded {
    /// The position up to which the log was looked through for answers: what comes next is behind it.
    pub through: i64,
    /// The new grades.
    pub grades: Vec<Regraded>,
}

/// The new grade of one answer.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Regraded {
    /// The execution whose answer it is.
    pub execution_id: ExecutionId,
    /// Whose data the case is made of, where it is a person's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Whether it passed when it was recorded.
    pub passed_before: bool,
    /// The new verdicts.
    #[serde(flatten)]
    pub grade: Grade,
}

/// Payload of `regrade.completed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Completed {
    /// The count of all grades.
    pub totals: RegradeTotals,
}

/// How the answers of a run came out, and how many came out otherwise than before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RegradeTotals {
    /// Answers that were graded; executions without an answer are none of them.
    pub answers: u64,
    /// They meet the demands now.
    pub passed: u64,
    /// They do not.
    pub failed: u64,
    /// They meet them now, and did not before.
    pub turned_to_passed: u64,
    /// They do not now, and did before.
    pub turned_to_failed: u64,
    /// Verdicts there are.
    pub verdicts: u64,
}

impl RegradeTotals {
    fn add(&mut self, grades: &[Regraded]) {
        for Regraded { grade, passed_before, .. } in grades {
            self.answers += 1;
            self.passed += u64::from(grade.passed);
            self.failed += u64::from(!grade.passed);
            self.turned_to_passed += u64::from(grade.passed && !passed_before);
            self.turned_to_failed += u64::from(!grade.passed && *passed_before);
            self.verdicts += grade.verdicts.len() as u64;
        }
    }
}

impl Guarded for Regraded {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        put_back(self, fields)
    }
}

impl RegradeEvent {
    fn grades(&self) -> &[Regraded] {
        match self {
            Self::Graded(e) => &e.grades,
            Self::Requested(_) | Self::Completed(_) => &[],
        }
    }

    pub(crate) fn subjects(&self) -> Vec<&Subject> {
        self.grades().iter().filter_map(|graded| graded.subject.as_ref()).collect()
    }

    pub(crate) fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        match self {
            Self::Graded(e) => e.grades.iter_mut().map(|graded| graded as &mut dyn Guarded).collect(),
            Self::Requested(_) | Self::Completed(_) => Vec::new(),
        }
    }
}

/// A regrade as its history left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub enum Regrade {
    /// There is none.
    #[default]
    Absent,
    /// Some answers may still wait.
    Running {
        /// What was asked for.
        request: Requested,
        /// Up to which position all answers are graded.
        through: i64,
        /// The grades so far.
        totals: RegradeTotals,
    },
    /// All answers have their new grade.
    Completed(Requested, RegradeTotals),
}

impl Aggregate for Regrade {
    type Command = RegradeCommand;
    type Event = RegradeEvent;
    type Rejection = RegradeRejection;

    fn decide(&self, command: RegradeCommand, _: Timestamp) -> Result<Vec<RegradeEvent>, RegradeRejection> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: RegradeEvent) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, RegradeEvent::Requested(request)) => {
                Self::Running { through: request.after, request, totals: RegradeTotals::default() }
            }
            (Self::Running { request, mut totals, .. }, RegradeEvent::Graded(e)) => {
                totals.add(&e.grades);
                Self::Running { request, through: e.through, totals }
            }
            (Self::Running { request, .. }, RegradeEvent::Completed(e)) => Self::Completed(request, e.totals),
            (state, RegradeEvent::Requested(_) | RegradeEvent::Graded(_) | RegradeEvent::Completed(_)) => state,
        }
    }
}
