//! The `swarm_agent` job: an agent of some role works on a task, with calls to a model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::JobKind;
use crate::model::ModelSpec;

/// This kind of job.
pub const KIND: JobKind = JobKind { name: "swarm_agent", pool: "agent" };

/// What an agent is to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTask {
    /// Which agent, such as `assistant`.
    pub role: String,
    /// What it is told.
    pub instructions: String,
    /// The model that it asks.
    pub model: ModelSpec,
    /// What it works on, as its role understands it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input: Map<String, Value>,
}
