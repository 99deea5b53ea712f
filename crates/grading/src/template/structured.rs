//! Prompts that are JSON, such as lists of chat messages: each text in them is a template of its own, so that a
//! variable's quotes and line breaks can't break the JSON.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Partials, RENDERED_BYTES_MAX, Template, TemplateError};

/// A JSON value whose texts are templates.
#[derive(Debug)]
pub(super) enum Structured {
    /// A number, a truth value or null.
    Fixed(Value),
    Text(Box<Template>),
    List(Vec<Structured>),
    Object(Vec<(String, Structured)>),
}

impl Structured {
    /// The JSON of a prompt; none where it is no list and no object.
    pub(super) fn parse(source: &str, partials: &Partials) -> Result<Option<Self>, TemplateError> {
        let text = source.trim_start();
        if !text.starts_with(['[', '{']) || text.starts_with("{{") || text.starts_with("{%") || text.starts_with("{#") {
            return Ok(None);
        }
        match serde_json::from_str(text) {
            Ok(value) => Self::of(value, partials).map(Some),
            // Text that only begins like JSON.
            Err(_) => Ok(None),
        }
    }

    fn of(value: Value, partials: &Partials) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => Self::Text(Box::new(Template::parse_flat(&text, partials)?)),
            Value::Array(items) => {
                Self::List(items.into_iter().map(|item| Self::of(item, partials)).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let members = map.into_iter().map(|(key, item)| Ok((key, Self::of(item, partials)?)));
                Self::Object(members.collect::<Result<_, TemplateError>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value),
        })
    }

    fn templates<'a>(&'a self, found: &mut Vec<&'a Template>) {
        match self {
            Self::Fixed(_) => {}
            Self::Text(template) => found.push(template),
            Self::List(items) => items.iter().for_each(|item| item.templates(found)),
            Self::Object(members) => members.iter().for_each(|(_, item)| item.templates(found)),
        }
    }

    pub(super) fn variables(&self) -> BTreeSet<String> {
        let mut templates = Vec::new();
        self.templates(&mut templates);
        templates.into_iter().flat_map(Template::variables).collect()
    }

    pub(super) fn missing(&self, input: &Map<String, Value>) -> Vec<String> {
        let mut templates = Vec::new();
        self.templates(&mut templates);
        let missing: BTreeSet<String> = templates.into_iter().flat_map(|template| template.missing(input)).collect();
        missing.into_iter().collect()
    }

    /// The JSON with its texts rendered, indented by two spaces as promptfoo has it.
    pub(super) fn render(&self, input: &Map<String, Value>) -> Result<String, TemplateError> {
        let text = serde_json::to_string_pretty(&self.value(input)?).unwrap_or_default();
        if text.len() > RENDERED_BYTES_MAX { Err(TemplateError::TooLarge) } else { Ok(text) }
    }

    fn value(&self, input: &Map<String, Value>) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.text(input).map(Cow::into_owned)?),
            Self::List(items) => Value::Array(items.iter().map(|item| item.value(input)).collect::<Result<_, _>>()?),
            Self::Object(members) => {
                let members = members.iter().map(|(key, item)| Ok((key.clone(), item.value(input)?)));
                Value::Object(members.collect::<Result<_, TemplateError>>()?)
            }
        })
    }
}
