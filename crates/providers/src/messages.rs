//! A prompt as the messages of a chat: a JSON list of `{role, content}` is one, any other text is one user's message.

use pcs_domain::execution::FailureClass;
use serde::Deserialize;
use serde_json::Value;

use crate::call::CallError;

/// Who says a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The instructions; newer models of `OpenAI` call it `developer`.
    #[serde(alias = "developer")]
    System,
    User,
    /// The model, earlier.
    #[serde(alias = "model")]
    Assistant,
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) text: String,
}

#[derive(Deserialize)]
struct Written {
    role: String,
    content: Value,
}

/// The messages of a prompt.
///
/// # Errors
/// For a list of messages that has roles or parts that can't be sent.
pub(crate) fn messages(prompt: &str) -> Result<Vec<Message>, CallError> {
    match written(prompt) {
        Some(written) => written.into_iter().map(message).collect(),
        None => Ok(vec![Message { role: Role::User, text: prompt.to_owned() }]),
    }
}

/// A list of messages, and not any JSON that a prompt may be about.
fn written(prompt: &str) -> Option<Vec<Written>> {
    let text = prompt.trim_start();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str::<Vec<Written>>(text).ok().filter(|list| !list.is_empty())
}

fn message(written: Written) -> Result<Message, CallError> {
    let refused = |why: String| CallError::new(FailureClass::BadRequest, why);
    let role = serde_json::from_value(Value::String(written.role.clone())).map_err(|_| {
        refused(format!("a message has the role {:?}; there are system, user and assistant", written.role))
    })?;
    match written.content {
        Value::String(text) => Ok(Message { role, text }),
        Value::Array(parts) => {
            let texts: Option<Vec<String>> = parts.iter().map(text_of).collect();
            let texts = texts.ok_or_else(|| refused("a message has a part that is no text".to_owned()))?;
            Ok(Message { role, text: texts.join("\n") })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(refused("the content of a message is neither a text nor a list of parts".to_owned()))
        }
    }
}

/// A part's text, as `OpenAI` writes it: `{"type": "text", "text": "…"}`.
fn text_of(part: &Value) -> Option<String> {
    match part {
        Value::String(text) => Some(text.clone()),
        Value::Object(map) if map.get("type").and_then(Value::as_str) == Some("text") => {
            map.get("text").and_then(Value::as_str).map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: Role, text: &str) -> Message {
        Message { role, text: text.to_owned() }
    }

    #[test]
    fn a_text_is_one_message_of_the_user() {
        for text in ["hi", "[1, 2]", "[]", "{\"role\": \"user\"}", "[{\"role\": \"user\"}]", "[hi"] {
            assert_eq!(messages(text).unwrap(), [said(Role::User, text)], "{text}");
        }
    }

    #[test]
    fn a_list_of_messages_is_a_chat() {
        let prompt = r#" [{"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "c"}]"#;
        let expected = [said(Role::System, "Be kind."), said(Role::User, "a\nb"), said(Role::Assistant, "c")];
        assert_eq!(messages(prompt).unwrap(), expected);
    }

    #[test]
    fn what_can_not_be_sent_is_refused() {
        for (prompt, word) in [
            (r#"[{"role": "narrator", "content": "x"}]"#, "narrator"),
            (r#"[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]"#, "no text"),
            (r#"[{"role": "user", "content": 1}]"#, "neither"),
        ] {
            let error = messages(prompt).unwrap_err();
            assert!(error.class == FailureClass::BadRequest && error.message.contains(word), "{error}");
        }
    }
}
