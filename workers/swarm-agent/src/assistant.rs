//! The `assistant`: it asks its model once, with its instructions and what it works on, and says what the model said.

use futures_util::future::BoxFuture;
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::jobs::swarm_agent::AgentTask;
use serde_json::{Map, Value, json};

use crate::{Agent, Calls};

/// The assistant.
#[derive(Clone, Copy, Debug)]
pub struct Assistant;

impl Assistant {
    async fn answer(task: &AgentTask, calls: &Calls) -> Result<Map<String, Value>, JobFailure> {
        let answer = calls.ask(&task.model, &prompt(task), &task.input).await?;
        let output = json!({
            "text": answer.output,
            "model": task.model.id,
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "cost_micro_usd": answer.cost_micro_usd,
            "latency_ms": answer.latency_ms,
        });
        match output {
            Value::Object(output) => Ok(output),
            other => Ok(Map::from_iter([("text".to_owned(), other)])),
        }
    }
}

/// The instructions, and below them what is to be worked on, name by name.
fn prompt(task: &AgentTask) -> String {
    let said = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = task.input.iter().map(|(name, value)| format!("\n\n## {name}\n{}", said(value)));
    std::iter::once(task.instructions.clone()).chain(fields).collect()
}

impl Agent for Assistant {
    fn role(&self) -> &'static str {
        "assistant"
    }

    fn work<'a>(
        &'a self,
        task: &'a AgentTask,
        calls: &'a Calls,
    ) -> BoxFuture<'a, Result<Map<String, Value>, JobFailure>> {
        Box::pin(Self::answer(task, calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worked_on_follows_the_instructions() {
        let task = json!({ "role": "assistant", "instructions": "Sum up.", "model": { "id": "echo" },
                           "input": { "text": "a b", "words": 2 } });
        let task: AgentTask = serde_json::from_value(task).unwrap();
        assert_eq!(prompt(&task), "Sum up.\n\n## text\na b\n\n## words\n2");
    }
}
