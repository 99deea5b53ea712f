//! The `test_execution` job: ask one model about one case, grade the answer, report it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::JobKind;
use crate::assertion::{Assertion, Grade};
use crate::data_subject::Subject;
use crate::execution::{Answer, ExecutionCommand, ExecutionRef, Failure};
use crate::ids::{DispatchId, ExecutionId, TenantId, TestRunId};
use crate::model::ModelSpec;
use crate::prompt_card::TestCase;

/// This kind of job.
pub const KIND: JobKind = JobKind { name: "test_execution", pool: "llm" };

/// Largest case that travels in a ticket, in bytes of its JSON; a larger one is fetched by the worker.
pub const TICKET_CASE_BYTES_MAX: usize = 64 * 1024;

/// What a worker gets from the broker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ticket {
    /// The tenant.
    pub tenant: TenantId,
    /// This hand-over; a re-dispatch has a new one.
    pub dispatch_id: DispatchId,
    /// Which attempt this is, from 1.
    pub attempt: u16,
    /// Which cell of which run.
    pub cell: ExecutionRef,
    /// The case; absent where it is larger than [`TICKET_CASE_BYTES_MAX`] or a data subject's: a ticket is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<TestCase>,
    /// W3C trace context of the request that caused the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What all executions of a run share; immutable, so workers keep it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunPlan {
    /// The run.
    pub run_id: TestRunId,
    /// The templates by version.
    pub prompts: BTreeMap<u32, String>,
    /// The models by name.
    pub models: BTreeMap<String, ModelSpec>,
    /// Demands on every output, beside the case's own.
    pub assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    pub threshold: Option<f64>,
}

/// What a worker asks the relay.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What do the executions of this run share?
    Plan {
        /// The tenant.
        tenant: TenantId,
        /// The run.
        run_id: TestRunId,
    },
    /// What is the case of this cell?
    Case {
        /// The tenant.
        tenant: TenantId,
        /// The cell.
        cell: ExecutionRef,
        /// The worker's public key of this session; a data subject's case is sealed for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker_key: Option<String>,
    },
    /// Is there still something to do? Asked before an attempt that is a redelivery.
    Wanted {
        /// The tenant.
        tenant: TenantId,
        /// The cell.
        cell: ExecutionRef,
        /// The attempt.
        attempt: u16,
    },
}

/// What the relay answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The plan.
    Plan(Box<RunPlan>),
    /// The case.
    Case(Box<TestCase>),
    /// The case, which is a data subject's, sealed for the worker that asked.
    SealedCase {
        /// The relay's public key.
        relay_key: String,
        /// The name of the master key that the relay's key is of.
        master: String,
        /// The case as JSON, sealed.
        case: String,
    },
    /// Whether to go on.
    Wanted {
        /// False where the execution has its result, its run was cancelled, or a newer attempt is on its way.
        wanted: bool,
    },
    /// There is no such run, version or case.
    Unknown {
        /// For a person.
        message: String,
    },
    /// The relay can't answer now; ask again.
    Unavailable {
        /// For a person.
        message: String,
    },
}

/// What a worker reports.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The tenant.
    pub tenant: TenantId,
    /// The hand-over that this is about.
    pub dispatch_id: DispatchId,
    /// The cell.
    pub cell: ExecutionRef,
    /// The case's variables; empty where the outcome is sealed, which then holds them.
    pub input: Map<String, Value>,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// How an attempt ended: an explicit choice, never an error that fell through.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A graded answer.
    Finished {
        /// The answer.
        answer: Answer,
        /// The verdicts on it.
        grade: Grade,
    },
    /// Either of the others, of a data subject's case: a [`Told`] as JSON, sealed for the relay.
    Sealed {
        /// The name of the master key that the relay's key is of.
        master: String,
        /// The worker's public key of this session.
        worker_key: String,
        /// The sealed text.
        told: String,
    },
    /// No answer; its class says whether another attempt could go better.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// How long the provider wants to be left alone, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// What a worker reports of a data subject's case, before it is sealed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Told {
    /// The case's variables.
    pub input: Map<String, Value>,
    /// What came of it; not sealed once more.
    pub outcome: Outcome,
}

/// What the sealed words of a worker and a relay are bound to.
#[must_use]
pub fn session_place(tenant: TenantId, cell: &ExecutionRef) -> String {
    format!("{tenant}/{}", cell.id())
}

/// What the recorder answers to a report.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It is committed.
    Recorded,
    /// It changes nothing: the code says why. The worker is done all the same.
    Refused {
        /// The rejection's code.
        code: String,
    },
    /// It could not be committed now; report it again.
    Unavailable {
        /// For a person.
        message: String,
    },
}

impl Report {
    /// The id of the execution that this is about.
    #[must_use]
    pub fn execution_id(&self) -> ExecutionId {
        self.cell.id()
    }

    /// The command that this report is, of a case of this subject; none where its outcome is still sealed.
    #[must_use]
    pub fn into_command(self, subject: Option<Subject>) -> Option<ExecutionCommand> {
        let Self { cell, input, attempt, worker, outcome, .. } = self;
        match outcome {
            Outcome::Sealed { .. } => None,
            Outcome::Finished { answer, grade } => {
                Some(ExecutionCommand::RecordResult { cell, subject, input, answer, grade, attempt, worker })
            }
            Outcome::Failed { failure, retry_after_ms } => {
                let retry_after = retry_after_ms.map(std::time::Duration::from_millis);
                Some(ExecutionCommand::RecordFailure { cell, subject, input, failure, retry_after, attempt, worker })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_plan_survives_the_wire() {
        // A tagged enum would read the versions' numbers as texts, and fail.
        let plan = RunPlan {
            run_id: TestRunId(Uuid::nil()),
            prompts: BTreeMap::from([(1, "{{q}}".to_owned())]),
            models: BTreeMap::new(),
            assertions: Vec::new(),
            threshold: Some(0.5),
        };
        let reply = Reply::Plan(Box::new(plan));
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }
}
