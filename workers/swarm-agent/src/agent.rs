//! An agent: a role, and how it works on a task.

use futures_util::future::BoxFuture;
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::jobs::swarm_agent::AgentTask;
use serde_json::{Map, Value};

use crate::Calls;

/// An agent of a role.
pub trait Agent: Send + Sync + 'static {
    /// The role, as tasks name it.
    fn role(&self) -> &'static str;

    /// Works on a task; what it answers is the job's output.
    ///
    /// # Errors
    /// What went wrong; its class says whether another attempt could go better.
    fn work<'a>(
        &'a self,
        task: &'a AgentTask,
        calls: &'a Calls,
    ) -> BoxFuture<'a, Result<Map<String, Value>, JobFailure>>;
}
