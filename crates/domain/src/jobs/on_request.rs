//! What travels between the relay and the workers of jobs on request, whatever their kind.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::test_execution::Claim;
use crate::execution::FailureClass;
use crate::ids::{DispatchId, JobId, TenantId};
use crate::model::ModelSpec;

/// What a worker gets from the broker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobTicket {
    /// The tenant.
    pub tenant: TenantId,
    /// This hand-over; a re-dispatch has a new one.
    pub dispatch_id: DispatchId,
    /// The job.
    pub job_id: JobId,
    /// Which attempt this is, from 1.
    pub attempt: u16,
    /// What is to be done, as its kind understands it.
    pub input: Map<String, Value>,
    /// W3C trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What a worker asks the relay.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobQuestion {
    /// Is there still something to do? Asked before an attempt that is a redelivery.
    Wanted {
        /// The tenant.
        tenant: TenantId,
        /// The job.
        job_id: JobId,
        /// The attempt.
        attempt: u16,
        /// The hand-over, and who has it now: the one before may have been lost over it.
        claim: Claim,
    },
    /// A worker that has to stop gives a job back before its end: that costs no attempt, and nobody was lost.
    HandBack {
        /// The tenant.
        tenant: TenantId,
        /// The job.
        job_id: JobId,
        /// The hand-over, and who had it.
        claim: Claim,
    },
    /// Which of these jobs are over? Asked every few seconds about those that are worked on.
    Ended {
        /// Jobs with their tenants.
        jobs: Vec<(TenantId, JobId)>,
    },
    /// Is there room for a call? Asked before each.
    Reserve(Box<JobCall>),
    /// How a call went. Told after each that had a place.
    Settle(Box<CallEnd>),
}

/// A call to a model that a job wants to make; it may make many.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobCall {
    /// The tenant.
    pub tenant: TenantId,
    /// The job.
    pub job_id: JobId,
    /// The call; a new one for each.
    pub call_id: Uuid,
    /// Who makes it.
    pub worker: String,
    /// Who is asked.
    pub model: ModelSpec,
    /// Tokens of the prompt, estimated.
    pub input_tokens: u64,
    /// Tokens of the answer, at most or estimated.
    pub output_tokens: u64,
    /// How long the call may take, in milliseconds; after that its place is free again whatever happens.
    pub call_ms: u64,
}

/// How a call went.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CallEnd {
    /// The tenant.
    pub tenant: TenantId,
    /// The call.
    pub call_id: Uuid,
    /// Who was asked.
    pub model: ModelSpec,
    /// Tokens of the prompt, as the provider counted them; 0 where there is no answer.
    pub input_tokens: u64,
    /// Tokens of the answer, as the provider counted them.
    pub output_tokens: u64,
    /// What went wrong; absent where there is an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// How long the provider wants to be left alone, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What the relay answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobReply {
    /// Whether to go on.
    Wanted {
        /// False where the job is over, or a newer attempt is on its way.
        wanted: bool,
    },
    /// There is room for the call.
    Reserved {
        /// From when on, in milliseconds from now.
        start_in_ms: u64,
    },
    /// There is no room now.
    NoRoom {
        /// When to ask again, in milliseconds from now.
        ask_in_ms: u64,
    },
    /// Those of the jobs that are over.
    Ended {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// It is noted.
    Noted,
    /// The relay can't answer now; ask again.
    Unavailable {
        /// For a person.
        message: String,
    },
}

/// What a worker reports.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobReport {
    /// The tenant.
    pub tenant: TenantId,
    /// The hand-over that this is about.
    pub dispatch_id: DispatchId,
    /// The job.
    pub job_id: JobId,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// Who did it.
    pub worker: String,
    /// What came of it.
    pub outcome: JobOutcome,
}

/// How an attempt ended: an explicit choice, never an error that fell through.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// It is done.
    Finished {
        /// What came of it, as its kind says.
        output: Map<String, Value>,
    },
    /// It is not done; the class says whether another attempt could go better.
    Failed(JobFailure),
}

/// What went wrong in an attempt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JobFailure {
    /// The kind of error.
    pub class: FailureClass,
    /// For a person.
    pub error: String,
    /// How long is to be waited at least, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl JobFailure {
    /// A failure without a wish for a pause.
    #[must_use]
    pub fn new(class: FailureClass, error: impl Into<String>) -> Self {
        Self { class, error: error.into(), retry_after_ms: None }
    }
}
