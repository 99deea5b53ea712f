//! Tools that a model may call, and its calls as a part of its answer, both in the form of `OpenAI`.

use genai::chat::{StreamEnd, Tool, ToolCall};
use pcs_domain::execution::FailureClass;
use serde_json::{Map, Value, json};

use crate::call::CallError;

/// The tools as the library takes them.
pub(super) fn tools(written: &[Map<String, Value>]) -> Result<Vec<Tool>, CallError> {
    written.iter().map(tool).collect()
}

fn tool(written: &Map<String, Value>) -> Result<Tool, CallError> {
    let function = written.get("function").and_then(Value::as_object).unwrap_or(written);
    let Some(name) = function.get("name").and_then(Value::as_str) else {
        let message = "a tool has no name: write {type: function, function: {name, description, parameters}}";
        return Err(CallError::new(FailureClass::BadRequest, message));
    };
    let mut tool = Tool::new(name);
    if let Some(description) = function.get("description").and_then(Value::as_str) {
        tool = tool.with_description(description);
    }
    if let Some(parameters) = function.get("parameters") {
        tool = tool.with_schema(parameters.clone());
    }
    Ok(tool)
}

/// The answer with the calls that it makes: they are the answer where there is no text, and else follow it.
pub(super) fn with_calls(text: String, end: &StreamEnd) -> String {
    let calls = end.captured_tool_calls().unwrap_or_default();
    if calls.is_empty() {
        return text;
    }
    let calls = Value::from_iter(calls.into_iter().map(call)).to_string();
    if text.trim().is_empty() { calls } else { format!("{text}\n{calls}") }
}

fn call(call: &ToolCall) -> Value {
    // As the format has them: JSON as a text.
    let arguments = call.fn_arguments.as_str().map_or_else(|| call.fn_arguments.to_string(), str::to_owned);
    json!({ "id": call.call_id, "type": "function", "function": { "name": call.fn_name, "arguments": arguments } })
}
