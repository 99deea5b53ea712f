//! What is wrong with the parts of a model that is asked for: its tools and its address.

use pcs_domain::prompt_card::CaseSchema;
use pcs_grading::CaseCheck;
use serde_json::{Map, Value};

/// Longest address of a model, in bytes.
const BASE_URL_BYTES_MAX: usize = 2_048;

/// A tool has a name, and its parameters are a JSON Schema.
pub(super) fn wrong_with_tool(tool: &Map<String, Value>) -> Option<String> {
    let function = tool.get("function").and_then(Value::as_object).unwrap_or(tool);
    let form = "write {type: function, function: {name, description, parameters}}";
    let Some(name) = function.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Some(format!("a tool has no name: {form}"));
    };
    let schema = match function.get("parameters") {
        None => return None,
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) => return Some(format!("the parameters of the tool {name:?} are no JSON Schema: {form}")),
    };
    let schema = CaseSchema { input: Some(schema), expected_output: None };
    let error = CaseCheck::compile(&schema).err()?;
    Some(format!("the parameters of the tool {name:?} can't be used: {}", error.why))
}

/// Only the form: which addresses workers may call is theirs to decide, when they call.
pub(super) fn wrong_with_url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    match authority {
        Some(host) if !host.is_empty() && !host.contains('@') && plain && url.len() <= BASE_URL_BYTES_MAX => None,
        Some(host) if host.contains('@') => Some("base_url must not hold a user or a password".to_owned()),
        _ => Some("base_url must be an http:// or https:// address".to_owned()),
    }
}
