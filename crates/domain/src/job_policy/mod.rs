//! The policy of a tenant's jobs: what is paused, what model providers allow, and its share of the fleet.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::decide::{JobPolicyCommand, JobPolicyRejection};
use crate::aggregate::Aggregate;
use crate::event::events;
use crate::ids::{ActorId, TenantId};
use crate::model::ModelSpec;
use crate::test_run::Lane;
use crate::timestamp::Timestamp;

events! {
    /// What happened to a tenant's policy of jobs.
    pub enum JobPolicyEvent in JobPolicy {
        /// Jobs within the scope are held back; those that run already finish.
        Paused(Paused) = "job_policy.paused" version 1,
        /// Jobs within the scope are handed out again.
        Resumed(Resumed) = "job_policy.resumed" version 1,
        /// Calls to a provider or a model are limited across the whole fleet.
        LimitSet(LimitSet) = "job_policy.limit_set" version 1,
        /// Calls to a provider or a model are limited no more.
        LimitRemoved(LimitRemoved) = "job_policy.limit_removed" version 1,
        /// The tenant gets another share of a fleet that others use too.
        WeightSet(WeightSet) = "job_policy.weight_set" version 1,
    }
}

/// Which jobs are paused.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of the tenant's.
    Everything,
    /// Those of one lane.
    Lane(Lane),
    /// Those of one kind, such as `test_execution`.
    Kind(#[schemars(description = "The kind.")] String),
    /// Those that ask one provider, such as `openai`.
    Provider(#[schemars(description = "The provider.")] String),
    /// Those that ask one model, such as `openai:gpt-4o-mini`.
    Model(#[schemars(description = "The id of the model.")] String),
}

/// What a provider allows; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls that may begin in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_minute: Option<u64>,
    /// Tokens of answers in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_minute: Option<u64>,
    /// Calls at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    fn has_zero(&self) -> bool {
        self.requests_per_minute == Some(0)
            || self.input_tokens_per_minute == Some(0)
            || self.output_tokens_per_minute == Some(0)
            || self.concurrency == Some(0)
    }
}

/// The keys under which a model's calls may be limited: its provider's and its own.
#[must_use]
pub fn limit_keys(model: &ModelSpec) -> [&str; 2] {
    [model.provider(), &model.id]
}

/// Payload of `job_policy.paused` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Paused {
    /// Which jobs.
    pub scope: Scope,
    /// Why, in their words; may be empty.
    pub reason: String,
    /// Who paused them.
    pub paused_by: ActorId,
}

/// Payload of `job_policy.resumed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Resumed {
    /// Which jobs.
    pub scope: Scope,
    /// Who let them go on.
    pub resumed_by: ActorId,
}

/// Payload of `job_policy.limit_set` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LimitSet {
    /// A provider, such as `openai`, or one of its models, such as `openai:gpt-4o-mini`.
    pub key: String,
    /// What it allows; the former limits of the key end.
    pub limits: Limits,
    /// Who set it.
    pub set_by: ActorId,
}

/// Payload of `job_policy.limit_removed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct LimitRemoved {
    /// The provider or model.
    pub key: String,
    /// Who removed it.
    pub removed_by: ActorId,
}

/// Payload of `job_policy.weight_set` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct WeightSet {
    /// Of so many shares as all tenants with work have together; 1 where nobody said.
    pub weight: u16,
    /// Who set it.
    pub set_by: ActorId,
}

/// A tenant's policy as its history left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobPolicy {
    /// What is paused.
    pub paused: BTreeSet<Scope>,
    /// What providers and models allow.
    pub limits: BTreeMap<String, Limits>,
    /// The tenant's share.
    pub weight: u16,
}

impl Default for JobPolicy {
    fn default() -> Self {
        Self { paused: BTreeSet::new(), limits: BTreeMap::new(), weight: 1 }
    }
}

impl JobPolicy {
    /// The id of a tenant's policy's stream: there is one, and it need not be made first.
    #[must_use]
    pub fn id(tenant: TenantId) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("job_policy/{tenant}").as_bytes())
    }
}

impl Aggregate for JobPolicy {
    type Command = JobPolicyCommand;
    type Event = JobPolicyEvent;
    type Rejection = JobPolicyRejection;

    fn decide(&self, command: JobPolicyCommand, _: Timestamp) -> Result<Vec<JobPolicyEvent>, JobPolicyRejection> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: JobPolicyEvent) {
        match event {
            JobPolicyEvent::Paused(e) => drop(self.paused.insert(e.scope)),
            JobPolicyEvent::Resumed(e) => drop(self.paused.remove(&e.scope)),
            JobPolicyEvent::LimitSet(e) => drop(self.limits.insert(e.key, e.limits)),
            JobPolicyEvent::LimitRemoved(e) => drop(self.limits.remove(&e.key)),
            JobPolicyEvent::WeightSet(e) => self.weight = e.weight,
        }
    }
}
