//! Reads a judge's answer: one JSON object of the form that was asked for, or it is no answer.

use serde::de::DeserializeOwned;

use super::{OffSchema, Reply};
use crate::excerpt::cut;

/// The text of a reply.
pub(super) fn text(reply: &Reply) -> Result<&str, OffSchema> {
    match reply {
        Reply::Text(text) => Ok(text),
        Reply::Vectors(_) => Err(OffSchema("vectors instead of a text".to_owned())),
        Reply::Classes(_) => Err(OffSchema("classes instead of a text".to_owned())),
    }
}

/// The one JSON object that the reply is. A code fence around it is allowed, for models like them; words are not.
pub(super) fn object<T: DeserializeOwned>(reply: &Reply) -> Result<T, OffSchema> {
    let text = text(reply)?.trim();
    let bare = unfenced(text);
    serde_json::from_str(bare).map_err(|error| OffSchema(format!("{error}; it said: {}", cut(text))))
}

fn unfenced(text: &str) -> &str {
    let Some(inner) = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else { return text };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

/// A share from 0 to 1, or no answer.
pub(super) fn share(score: f64) -> Result<f64, OffSchema> {
    if (0.0..=1.0).contains(&score) {
        Ok(score)
    } else {
        Err(OffSchema(format!("the score {score} is not from 0 to 1")))
    }
}
