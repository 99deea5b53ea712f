//! `contains`, `icontains`, their `-any` and `-all`, and `starts-with`: texts within the output.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::source::{Source, resolved};
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::quoted;
use crate::template::Template;

const NEEDS_TEXT: &str = "a text or a number";
const NEEDS_LIST: &str = "a list of texts or numbers, or a text with commas between them";
/// Most texts that a reason names.
const NAMED_MAX: usize = 3;

#[derive(Debug)]
pub(super) struct Wording {
    place: Place,
    ignores_case: bool,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Anywhere,
    Start,
}

#[derive(Debug)]
enum Wanted {
    One(Template),
    Any(Texts),
    All(Texts),
}

#[derive(Debug)]
enum Texts {
    Listed(Vec<Template>),
    /// One text with commas between; it may be a template, so it is divided after rendering.
    Joined(Template),
}

impl Wording {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let wanted = if base.ends_with("-any") {
            Wanted::Any(Texts::compile(source)?)
        } else if base.ends_with("-all") {
            Wanted::All(Texts::compile(source)?)
        } else {
            let value = source.value().ok_or_else(|| source.wrong_value(NEEDS_TEXT))?;
            Wanted::One(not_empty(source, value, NEEDS_TEXT)?)
        };
        let place = if base == "starts-with" { Place::Start } else { Place::Anywhere };
        Ok(Self { place, ignores_case: base.starts_with("icontains"), wanted })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let output =
            if self.ignores_case { Cow::Owned(subject.output.to_lowercase()) } else { Cow::Borrowed(subject.output) };
        match &self.wanted {
            Wanted::One(template) => {
                let wanted = resolved(template, subject.variables)?;
                if wanted.is_empty() {
                    return Err("its value is an empty text".to_owned());
                }
                let holds = self.is_in(&output, &wanted);
                let verb = match (self.place, holds) {
                    (Place::Anywhere, true) => "contains",
                    (Place::Anywhere, false) => "does not contain",
                    (Place::Start, true) => "starts with",
                    (Place::Start, false) => "does not start with",
                };
                Ok(Finding { holds, fact: format!("the output {verb} {}", quoted(&wanted)) })
            }
            Wanted::Any(texts) => {
                let wanted = texts.resolve(subject.variables)?;
                let found = wanted.iter().find(|text| self.is_in(&output, text));
                let fact = match found {
                    Some(text) => format!("the output contains {}", quoted(text)),
                    None => format!("the output contains none of {}", names(&wanted)),
                };
                Ok(Finding { holds: found.is_some(), fact })
            }
            Wanted::All(texts) => {
                let wanted = texts.resolve(subject.variables)?;
                let absent = wanted.iter().find(|text| !self.is_in(&output, text));
                let fact = match absent {
                    Some(text) => format!("the output does not contain {}", quoted(text)),
                    None => format!("the output contains {}", names(&wanted)),
                };
                Ok(Finding { holds: absent.is_none(), fact })
            }
        }
    }

    fn is_in(&self, output: &str, wanted: &str) -> bool {
        let wanted = if self.ignores_case { Cow::Owned(wanted.to_lowercase()) } else { Cow::Borrowed(wanted) };
        match self.place {
            Place::Anywhere => output.contains(wanted.as_ref()),
            Place::Start => output.starts_with(wanted.as_ref()),
        }
    }
}

impl Texts {
    fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        match source.value() {
            Some(Value::Array(items)) if !items.is_empty() => {
                let items = items.iter().map(|item| not_empty(source, item, NEEDS_LIST));
                items.collect::<Result<_, _>>().map(Self::Listed)
            }
            Some(value @ (Value::String(_) | Value::Number(_))) => {
                let joined = not_empty(source, value, NEEDS_LIST)?;
                match joined.constant() {
                    Some(text) if divided(text).is_empty() => Err(source.wrong_value(NEEDS_LIST)),
                    Some(text) => Ok(Self::Listed(divided(text).into_iter().map(Template::literal).collect())),
                    None => Ok(Self::Joined(joined)),
                }
            }
            _ => Err(source.wrong_value(NEEDS_LIST)),
        }
    }

    fn resolve<'a>(&'a self, variables: &'a Map<String, Value>) -> Result<Vec<Cow<'a, str>>, String> {
        let texts: Vec<Cow<'_, str>> = match self {
            Self::Listed(items) => items.iter().map(|item| resolved(item, variables)).collect::<Result<_, _>>()?,
            Self::Joined(template) => divided(&resolved(template, variables)?).into_iter().map(Cow::Owned).collect(),
        };
        if texts.is_empty() || texts.iter().any(|text| text.is_empty()) {
            return Err("its value has an empty text".to_owned());
        }
        Ok(texts)
    }
}

fn not_empty(source: &Source<'_>, value: &Value, needs: &'static str) -> Result<Template, AssertionError> {
    let template = source.text(value, needs)?;
    if template.constant() == Some("") { Err(source.wrong_value(needs)) } else { Ok(template) }
}

/// Texts between commas, trimmed; quotation marks keep commas and blanks, and a JSON list is a list.
fn divided(joined: &str) -> Vec<String> {
    if joined.trim_start().starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<Value>>(joined)
    {
        let text = |item: Value| Template::printed(&item).constant().unwrap_or_default().to_owned();
        return items.into_iter().map(text).collect();
    }
    let mut texts = vec![Part::default()];
    let mut is_quoted = false;
    for letter in joined.chars() {
        let Some(part) = texts.last_mut() else { break };
        match letter {
            '"' => {
                if !part.was_quoted {
                    part.text.clear();
                }
                part.was_quoted = true;
                is_quoted = !is_quoted;
            }
            ',' if !is_quoted => texts.push(Part::default()),
            blank if part.was_quoted && !is_quoted && blank.is_whitespace() => (),
            letter => part.text.push(letter),
        }
    }
    texts.into_iter().map(Part::finish).filter(|text| !text.is_empty()).collect()
}

#[derive(Default)]
struct Part {
    text: String,
    was_quoted: bool,
}

impl Part {
    fn finish(self) -> String {
        if self.was_quoted { self.text } else { self.text.trim().to_owned() }
    }
}

fn names(texts: &[Cow<'_, str>]) -> String {
    let named: Vec<String> = texts.iter().take(NAMED_MAX).map(|text| quoted(text)).collect();
    match texts.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_one_text_is_divided_at_commas() {
        for (joined, texts) in [
            ("a, b ,c", &["a", "b", "c"][..]),
            (r#""a, b", c"#, &["a, b", "c"]),
            (r#" " a" , "" ,"#, &[" a"]),
            (r#"["a, b", 1.0, true]"#, &["a, b", "1", "true"]),
            ("[a], b", &["[a]", "b"]),
            (r#"say "hi", b"#, &["hi", "b"]),
            (r#"unclosed "a, b"#, &["a, b"]),
            (" , ,", &[]),
        ] {
            assert_eq!(divided(joined), texts, "{joined}");
        }
    }
}
