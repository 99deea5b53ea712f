//! The `test_execution` job: ask one model about one case, grade the answer, report it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::JobKind;
use crate::assertion::{Assertion, Grade};
use crate::data_subject::Subject;
use crate::execution::{Answer, ExecutionCommand, ExecutionRef, FailedAttempt, Failure};
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
    /// How often this attempt was snoozed before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snoozes: u16,
    /// Whether the worker has to reserve capacity before it asks the model.
    #[serde(default)]
    pub limited: bool,
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
    /// The model that judges where an assertion names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<ModelSpec>,
    /// The other cards' prompts that the templates include, by the names that they have there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partials: BTreeMap<String, String>,
    /// Whether an answer that the same question got before may be used again.
    #[serde(default)]
    pub cache: bool,
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
        /// How often it was snoozed before.
        #[serde(default, skip_serializing_if = "is_zero")]
        snoozes: u16,
        /// The hand-over, and who has it now: the one before may have been lost over it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<Claim>,
    },
    /// Is there room for a call? Asked before each call whose ticket says so.
    Reserve(Box<Reserve>),
    /// A worker that has to stop gives a job back before its end: that costs no attempt, and nobody was lost.
    HandBack {
        /// The tenant.
        tenant: TenantId,
        /// The cell.
        cell: ExecutionRef,
        /// The hand-over, and who had it.
        claim: Claim,
    },
    /// Which of these runs are over? Asked every few seconds about those that are worked on, because the word that one
    /// was cancelled may get lost.
    Ended {
        /// Runs with their tenants.
        runs: Vec<(TenantId, TestRunId)>,
    },
}

/// Who has a hand-over in hand.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Claim {
    /// The hand-over.
    pub dispatch_id: DispatchId,
    /// The worker.
    pub worker: String,
}

/// What a call will need, so far as that is known before it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reserve {
    /// The tenant.
    pub tenant: TenantId,
    /// The cell.
    pub cell: ExecutionRef,
    /// The hand-over, and who has it.
    pub claim: Claim,
    /// Tokens of the prompt, estimated.
    pub input_tokens: u64,
    /// Tokens of the answer, at most or estimated.
    pub output_tokens: u64,
    /// How long the call may take, in milliseconds; after that its place is free again whatever happens.
    pub call_ms: u64,
    /// The question's content as a hash, where an answer that it got before may be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &u16) -> bool {
    *value == 0
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
    /// There is room for the call.
    Reserved {
        /// From when on, in milliseconds from now.
        start_in_ms: u64,
    },
    /// There is no room now: the relay has taken the job back, and hands it out again when there is.
    Snoozed,
    /// The same question was answered before.
    Cached(Box<Answer>),
    /// Those of the runs that are over.
    Ended {
        /// The runs.
        runs: Vec<TestRunId>,
    },
    /// It is noted.
    Noted,
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
    /// How often it was snoozed before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub snoozes: u16,
    /// Who did it.
    pub worker: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether capacity was reserved for it.
    #[serde(default)]
    pub reserved: bool,
    /// The question's content as a hash, where its answer may be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// W3C trace context of the job, or of what caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
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
        let Self { cell, input, attempt, snoozes, worker, outcome, .. } = self;
        match outcome {
            Outcome::Sealed { .. } => None,
            Outcome::Finished { answer, grade } => {
                Some(ExecutionCommand::RecordResult { cell, subject, input, answer, grade, attempt, worker })
            }
            Outcome::Failed { failure, retry_after_ms } => {
                let retry_after = retry_after_ms.map(std::time::Duration::from_millis);
                let failed = FailedAttempt { cell, subject, input, failure, retry_after, attempt, snoozes, worker };
                Some(ExecutionCommand::RecordFailure(failed))
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
            grader: Some(ModelSpec::of_id("echo")),
            partials: BTreeMap::from([("a@b".to_owned(), "c".to_owned())]),
            cache: false,
        };
        let reply = Reply::Plan(Box::new(plan));
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }
}
