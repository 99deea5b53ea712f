//! What a worker does with a `swarm_agent` job: the agent of the task's role works on it, with calls that keep the limits.
//!
//! A role is an [`Agent`]; a worker knows those that [`agents`] lists. Whatever an agent asks a model, it asks through
//! [`Calls`]: so the fleet's limits, pauses and circuits hold for agents as they do for tests.

mod agent;
mod assistant;
mod calls;
mod playground;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_bus::Bus;
use pcs_domain::execution::FailureClass;
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::jobs::swarm_agent::{AgentTask, KIND};
use pcs_domain::jobs::{self, JobKind};
use pcs_providers::Gateway;
use pcs_worker_on_request::{Attempt, Task};
use serde_json::{Map, Value};

pub use self::agent::Agent;
pub use self::assistant::Assistant;
pub use self::calls::Calls;
pub use self::playground::Playground;

/// How long an agent may work, its waits for room included.
const AGENT_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// Every agent there is.
#[must_use]
pub fn agents() -> Vec<Arc<dyn Agent>> {
    vec![Arc::new(Assistant), Arc::new(Playground)]
}

/// Does `swarm_agent` jobs.
pub struct SwarmAgent {
    bus: Bus,
    gateway: Arc<Gateway>,
    worker: String,
    agents: Vec<Arc<dyn Agent>>,
}

impl SwarmAgent {
    /// A task whose calls are made as `worker`, with these agents.
    #[must_use]
    pub fn new(bus: Bus, gateway: Arc<Gateway>, worker: String, agents: Vec<Arc<dyn Agent>>) -> Self {
        Self { bus, gateway, worker, agents }
    }

    async fn work(&self, attempt: Attempt) -> Result<Map<String, Value>, JobFailure> {
        let task: AgentTask =
            jobs::read(&attempt.input).map_err(|error| JobFailure::new(FailureClass::BadRequest, error))?;
        let Some(agent) = self.agents.iter().find(|agent| agent.role() == task.role) else {
            let known: Vec<&str> = self.agents.iter().map(|agent| agent.role()).collect();
            let error = format!("there is no agent of the role {:?}; there are {}", task.role, known.join(", "));
            return Err(JobFailure::new(FailureClass::BadRequest, error));
        };
        let calls = Calls::new(self.bus.clone(), Arc::clone(&self.gateway), self.worker.clone(), &attempt);
        agent.work(&task, &calls).await
    }
}

impl Task for SwarmAgent {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn time_max(&self) -> Duration {
        AGENT_TIME_MAX
    }

    fn attempt(&self, attempt: Attempt) -> BoxFuture<'_, Result<Map<String, Value>, JobFailure>> {
        Box::pin(self.work(attempt))
    }
}
