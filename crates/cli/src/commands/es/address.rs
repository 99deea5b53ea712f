//! How streams, categories and moments are written on the command line.

use pcs_domain::{Category, Timestamp};
use uuid::Uuid;

/// A stream as people write it: its id, or its category and its id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamAddress {
    /// The stream.
    pub stream_id: Uuid,
    /// Its category, where it was written.
    pub category: Option<Category>,
}

/// Reads `0192…` or `prompt_card-0192…`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn stream(text: &str) -> Result<StreamAddress, String> {
    if let Ok(stream_id) = text.parse() {
        return Ok(StreamAddress { stream_id, category: None });
    }
    let wrong = || format!("a stream is an id, or a category and an id, such as {}-<uuid>", names()[0]);
    let (name, id) = text.split_once('-').ok_or_else(wrong)?;
    let stream_id = id.parse().map_err(|_| wrong())?;
    Ok(StreamAddress { stream_id, category: Some(category(name)?) })
}

/// Reads the name of a category.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn category(text: &str) -> Result<Category, String> {
    let found = Category::ALL.into_iter().find(|category| category.name() == text);
    found.ok_or_else(|| format!("there is no category {text}; there are {}", names().join(", ")))
}

/// Reads a moment in RFC 3339.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| "a moment is written as 2026-01-31T12:00:00Z".to_owned())
}

fn names() -> Vec<&'static str> {
    Category::ALL.into_iter().map(Category::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_an_id_with_or_without_its_category() {
        let id = Uuid::from_u128(7);
        assert_eq!(stream(&id.to_string()), Ok(StreamAddress { stream_id: id, category: None }));
        let run = stream(&format!("test_run-{id}"));
        assert_eq!(run, Ok(StreamAddress { stream_id: id, category: Some(Category::TestRun) }));
        assert!(stream("prompt_card-7").is_err() && stream("7").is_err());
        assert!(stream(&format!("card-{id}")).unwrap_err().contains("prompt_card, test_run, execution"));
    }

    #[test]
    fn a_moment_has_a_date_a_time_and_an_offset() {
        assert_eq!(moment("2026-01-02T03:04:05+01:00").unwrap().to_string(), "2026-01-02T02:04:05Z");
        assert!(moment("yesterday").is_err());
    }
}
