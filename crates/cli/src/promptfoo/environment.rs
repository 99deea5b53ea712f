//! `{{ env.NAME }}`: rendered before anything else, from the configuration's own `env` and the process'.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::suite::error::SuiteError;
use crate::suite::node::{Kind, Node};
use crate::suite::source::Source;

static ENVIRONMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}").ok());

/// The document with its environment in place; a variable that is not set is an error, and not an empty text.
pub(super) fn rendered(source: &Source, document: Node) -> Result<Node, SuiteError> {
    let own = own(&document);
    render(source, document, &own)
}

fn own(document: &Node) -> BTreeMap<String, String> {
    let Kind::Table(entries) = &document.kind else { return BTreeMap::new() };
    let env = entries.iter().find(|entry| entry.key == "env").map(|entry| entry.value.clone().into_json());
    let Some(Value::Object(map)) = env else { return BTreeMap::new() };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn render(source: &Source, node: Node, own: &BTreeMap<String, String>) -> Result<Node, SuiteError> {
    let place = node.place;
    let kind = match node.kind {
        Kind::Text(text) => Kind::Text(replaced(&text, own).map_err(|name| {
            let message = format!("the environment has no variable {name}");
            source.error(place, message, format!("set it, or give it a value under `env:` as `{name}: …`"))
        })?),
        Kind::List(items) => {
            Kind::List(items.into_iter().map(|item| render(source, item, own)).collect::<Result<_, _>>()?)
        }
        Kind::Table(mut entries) => {
            for entry in &mut entries {
                let value = std::mem::replace(&mut entry.value, Node { place, kind: Kind::Null });
                entry.value = render(source, value, own)?;
            }
            Kind::Table(entries)
        }
        kind => kind,
    };
    Ok(Node { place, kind })
}

fn replaced(text: &str, own: &BTreeMap<String, String>) -> Result<String, String> {
    let Some(pattern) = ENVIRONMENT.as_ref().filter(|_| text.contains("env.")) else { return Ok(text.to_owned()) };
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for found in pattern.captures_iter(text) {
        let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { continue };
        let value = own.get(name.as_str()).cloned().or_else(|| std::env::var(name.as_str()).ok());
        out.push_str(&text[end..whole.start()]);
        out.push_str(&value.ok_or_else(|| name.as_str().to_owned())?);
        end = whole.end();
    }
    out.push_str(&text[end..]);
    Ok(out)
}
