//! The card of a suite: the prompt and the words around it.

use std::path::Path;

use pcs_domain::limits;
use serde_json::{Map, Value};

use super::error::{Place, SuiteError};
use super::fields::Fields;
use super::node::Node;
use super::source::{SUITE_BYTES_MAX, Source};

const KEYS: [&str; 8] = ["title", "description", "category", "tags", "metadata", "is_public", "prompt", "prompt_file"];

/// The card as the suite wants it; what is absent is left as it is on the server.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteCard {
    /// The exact title by which the card is found.
    pub title: String,
    /// The template.
    pub prompt: String,
    /// Free text.
    pub description: Option<String>,
    /// At most 100 characters.
    pub category: Option<String>,
    /// Sorted, without duplicates, as the server keeps them.
    pub tags: Option<Vec<String>>,
    /// The team's own fields.
    pub metadata: Option<Map<String, Value>>,
    /// Whether everybody may see the card.
    pub is_public: Option<bool>,
}

/// The card and where its prompt was written.
pub(crate) struct Written {
    pub(crate) card: SuiteCard,
    pub(crate) prompt_source: Source,
    pub(crate) prompt_place: Place,
}

pub(crate) fn read(source: &Source, node: Node, folder: &Path) -> Result<Written, SuiteError> {
    let mut fields = Fields::open(source, node, "the card", &KEYS)?;
    let title_node = fields.require("title", "the card is found on the server by its title: give it one")?;
    let title_place = title_node.place;
    let title = fields.as_text("title", title_node)?;
    check_title(source, title_place, &title)?;
    let (prompt, prompt_source, prompt_place) = prompt(source, &mut fields, folder)?;
    let card = SuiteCard {
        title,
        prompt,
        description: bounded(source, &mut fields, "description", limits::DESCRIPTION_BYTES_MAX)?,
        category: category(source, &mut fields)?,
        tags: tags(source, &mut fields)?,
        metadata: fields.object("metadata")?,
        is_public: fields.boolean("is_public")?,
    };
    Ok(Written { card, prompt_source, prompt_place })
}

fn check_title(source: &Source, place: Place, title: &str) -> Result<(), SuiteError> {
    let chars = title.chars().count();
    if title.trim().is_empty() {
        return Err(source.error(
            place,
            "the title of the card is empty",
            "the card is found by its title: give it one",
        ));
    }
    if chars > limits::TITLE_CHARS_MAX {
        let max = limits::TITLE_CHARS_MAX;
        let message = format!("the title of the card has {chars} characters, and at most {max} are allowed");
        return Err(source.error(place, message, "make it shorter, and put the rest into `description`"));
    }
    Ok(())
}

fn prompt(source: &Source, fields: &mut Fields<'_>, folder: &Path) -> Result<(String, Source, Place), SuiteError> {
    let (inline, file) = (fields.take("prompt"), fields.take("prompt_file"));
    let (text, source, place) = match (inline, file) {
        (Some(node), None) => {
            let place = node.place;
            (fields.as_text("prompt", node)?, source.clone(), place)
        }
        (None, Some(node)) => {
            let path = folder.join(fields.as_text("prompt_file", node)?);
            let file = Source::read(&path, SUITE_BYTES_MAX)?;
            (file.text.clone(), file, Place::line(1))
        }
        (None, None) => {
            let mend = "write `prompt: \"…\"`, or `prompt_file:` with a path beside the suite";
            return Err(source.error(fields.place(), "the card has neither `prompt` nor `prompt_file`", mend));
        }
        (Some(node), Some(_)) => {
            let message = "the card has both `prompt` and `prompt_file`";
            return Err(source.error(node.place, message, "keep one of the two"));
        }
    };
    if text.trim().is_empty() {
        return Err(source.error(place, "the prompt is empty", "write what the model shall be asked"));
    }
    if text.len() > limits::PROMPT_BYTES_MAX {
        let max = limits::PROMPT_BYTES_MAX;
        let message = format!("the prompt has {} bytes, and at most {max} are allowed", text.len());
        return Err(source.error(place, message, "make it shorter, and move what changes into the cases' variables"));
    }
    Ok((text, source, place))
}

fn bounded(source: &Source, fields: &mut Fields<'_>, key: &str, max: usize) -> Result<Option<String>, SuiteError> {
    let Some(node) = fields.take(key) else { return Ok(None) };
    let place = node.place;
    let text = fields.as_text(key, node)?;
    if text.len() > max {
        let message = format!("the {key} of the card has {} bytes, and at most {max} are allowed", text.len());
        return Err(source.error(place, message, "make it shorter"));
    }
    Ok(Some(text))
}

fn category(source: &Source, fields: &mut Fields<'_>) -> Result<Option<String>, SuiteError> {
    let Some(category) = fields.text("category")? else { return Ok(None) };
    let (chars, max) = (category.chars().count(), limits::CATEGORY_CHARS_MAX);
    if chars > max {
        let message = format!("the category of the card has {chars} characters, and at most {max} are allowed");
        return Err(source.error(fields.place(), message, "make it shorter"));
    }
    Ok(Some(category))
}

fn tags(source: &Source, fields: &mut Fields<'_>) -> Result<Option<Vec<String>>, SuiteError> {
    let Some(tags) = fields.texts("tags")? else { return Ok(None) };
    let mut tags: Vec<String> = tags.into_iter().map(|tag| tag.trim().to_owned()).collect();
    if tags.iter().any(String::is_empty) {
        return Err(source.error(fields.place(), "a tag of the card is empty", "take it out, or fill it"));
    }
    tags.sort();
    tags.dedup();
    if tags.len() > limits::TAGS_MAX {
        let message = format!("the card has {} tags, and at most {} are allowed", tags.len(), limits::TAGS_MAX);
        return Err(source.error(fields.place(), message, "keep those that matter"));
    }
    Ok(Some(tags))
}
