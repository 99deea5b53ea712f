//! What holds for every route: who may call it, which headers commands take, and how errors look.

use serde_json::{Map, Value, json};

use super::{API_KEY, LANGFUSE};
use crate::edge::error_form;

const COMMANDS: [&str; 4] = ["post", "put", "patch", "delete"];
/// The prefix of the routes that need an account.
const API: &str = "/api/v1/";
/// The one route below it that does not.
const DOCUMENT: &str = "/api/v1/openapi.json";
/// The one route of Langfuse's API that needs no account.
const LANGFUSE_HEALTH: &str = "/api/public/health";
/// The form of our own errors.
const PROBLEM: Form = Form { media: "application/problem+json", schema: "Problem" };
/// The form that Langfuse's clients read.
const LANGFUSE_ERROR: Form = Form { media: "application/json", schema: "LangfuseError" };

/// How an error is written.
#[derive(Clone, Copy)]
struct Form {
    media: &'static str,
    schema: &'static str,
}

/// Completes all operations.
pub(super) fn complete(document: &mut Value) {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return;
    };
    for (path, operations) in paths {
        let open = !path.starts_with(API) || path == DOCUMENT;
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            match operation.as_object_mut() {
                Some(operation) if path.starts_with(error_form::LANGFUSE) => complete_langfuse(path, operation),
                Some(operation) => {
                    add_problem(operation, "default", "An error");
                    if !open {
                        complete_gated(path, method, operation);
                    }
                }
                None => (),
            }
        }
    }
}

fn complete_langfuse(path: &str, operation: &mut Map<String, Value>) {
    let mut add = |status, description| add_error(operation, LANGFUSE_ERROR, status, description);
    add("default", "An error");
    if path == LANGFUSE_HEALTH {
        return;
    }
    add("400", "The request can't be accepted as it is");
    add("401", "The password is no valid API key");
    add("403", "The account's role does not allow it");
    add("503", "Something that is needed does not answer");
    if path.contains('{') {
        add("404", "There is no such thing");
    }
    operation.insert("security".to_owned(), json!([{ LANGFUSE: [] }]));
}

fn complete_gated(path: &str, method: &str, operation: &mut Map<String, Value>) {
    operation.insert("security".to_owned(), json!([{ API_KEY: [] }]));
    add_problem(operation, "401", "No valid API key");
    add_problem(operation, "403", "The account's role does not allow it");
    add_problem(operation, "422", "The request can't be accepted as it is; errors says why");
    add_problem(operation, "503", "Something that is needed does not answer, or the read model is behind");
    if path.contains('{') {
        add_problem(operation, "404", "There is no such thing");
    }
    if !COMMANDS.contains(&method) {
        complete_read(operation);
        return;
    }
    add_problem(operation, "400", "The body is not JSON, or a header is malformed");
    add_problem(operation, "408", "The body did not arrive in time");
    add_problem(operation, "409", "What is there now forbids it");
    add_problem(operation, "413", "The body is too large");
    add_problem(operation, "415", "The body is not application/json");
    add_parameter(operation, idempotency_key());
    if path.contains('{') {
        add_problem(operation, "412", "The revision is not the one in If-Match");
        if method != "patch" || path.contains("/cases/") {
            add_parameter(operation, if_match());
        }
    }
    for (status, answer) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        if status.starts_with('2') {
            answer["headers"] = command_headers();
        }
    }
}

/// A read that can go back in time says in a header what moment its answer is of.
fn complete_read(operation: &mut Map<String, Value>) {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    if !parameters.is_some_and(|parameters| parameters.iter().any(|parameter| parameter["name"] == "as_of")) {
        return;
    }
    if let Some(answer) = operation.get_mut("responses").and_then(|responses| responses.get_mut("200")) {
        answer["headers"]["Pcs-Position"] = json!({
            "description": "With as_of: the position that the answer is of. Further pages ask for it.",
            "schema": { "type": "integer", "format": "int64" },
        });
    }
}

fn add_problem(operation: &mut Map<String, Value>, status: &str, description: &str) {
    add_error(operation, PROBLEM, status, description);
}

fn add_error(operation: &mut Map<String, Value>, form: Form, status: &str, description: &str) {
    let Form { media, schema } = form;
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if responses.get(status).is_none() {
        responses[status] = json!({
            "description": description,
            "content": { media: { "schema": { "$ref": format!("#/components/schemas/{schema}") } } },
        });
    }
}

fn add_parameter(operation: &mut Map<String, Value>, parameter: Value) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(parameter);
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The same key with the same request has the first result; with another request it is refused.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    })
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header", "required": false,
        "description": "The ETag of the revision that the command expects.",
        "schema": { "type": "string" },
    })
}

fn command_headers() -> Value {
    json!({
        "ETag": { "description": "The revision, for If-Match.", "schema": { "type": "string" } },
        "Pcs-Position": {
            "description": "The position of the command's last event, for min_position.",
            "schema": { "type": "integer", "format": "int64" },
        },
        "Idempotency-Replayed": {
            "description": "true where this is the first result again.",
            "schema": { "type": "string" },
        },
    })
}
