//! Whether a prompt is one text or a list of messages, as Langfuse tells them apart.

use serde::Serialize;
use serde_json::Value;

/// What a prompt consists of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", content = "prompt", rename_all = "lowercase")]
pub(crate) enum Content {
    /// One text.
    Text(String),
    /// Messages of a chat.
    Chat(Vec<Value>),
}

impl Content {
    /// A prompt that is a JSON list of messages is a chat; everything else is a text, whatever it looks like.
    ///
    /// Its clients refuse an answer with a message that they don't know, so each of them has to be one that they do.
    pub(crate) fn of(prompt: String) -> Self {
        if !prompt.trim_start().starts_with('[') {
            return Self::Text(prompt);
        }
        match serde_json::from_str::<Vec<Value>>(&prompt) {
            Ok(messages) if !messages.is_empty() && messages.iter().all(is_message) => Self::Chat(messages),
            Ok(_) | Err(_) => Self::Text(prompt),
        }
    }

    /// The type's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Chat(_) => "chat",
        }
    }
}

/// `{role, content}`, or the place where the application puts messages of its own.
fn is_message(message: &Value) -> bool {
    let has = |field: &str| message.get(field).is_some_and(Value::is_string);
    match message.get("type").map(Value::as_str) {
        None | Some(Some("chatmessage")) => has("role") && has("content"),
        Some(Some("placeholder")) => has("name"),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_messages_is_a_chat() {
        let messages = json!([
            { "role": "system", "content": "Be {{tone}}." },
            { "type": "placeholder", "name": "history" },
            { "type": "chatmessage", "role": "user", "content": "{{question}}", "cache": true },
        ]);
        let chat = Content::of(format!("\n{messages:#}\n"));
        assert_eq!(serde_json::to_value(&chat).unwrap(), json!({ "type": "chat", "prompt": messages }));
    }

    #[test]
    fn everything_else_is_a_text_as_it_stands() {
        for text in [
            "",
            "Hello {{name}}",
            "[]",
            "[1, 2]",
            "[{\"role\": \"user\"}]",
            "[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]",
            "[{\"type\": \"tool\", \"role\": \"user\", \"content\": \"x\"}]",
            "[{\"type\": 7, \"name\": \"x\"}]",
            "{\"role\": \"user\", \"content\": \"x\"}",
            "[{% for m in messages %}{\"role\": \"user\", \"content\": \"{{m}}\"}{% endfor %}]",
        ] {
            let content = Content::of(text.to_owned());
            assert_eq!(content, Content::Text(text.to_owned()));
            assert_eq!(content.kind(), "text");
        }
    }
}
