//! `is-html` and `contains-html`: markup as browsers know it.

use std::borrow::Cow;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::quoted;

/// Deepest nesting of elements that is followed.
const DEPTH_MAX: usize = 500;
/// Signs of HTML in a text from which on it is said to contain some, as promptfoo has it.
const SIGNS_MIN: usize = 2;
/// Longest reference to a character, such as `&nbsp;`, in bytes.
const REFERENCE_BYTES_MAX: usize = 34;
/// Elements that have no end.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements whose end may be left out.
const ENDS_BY_ITSELF: [&str; 19] = [
    "body", "caption", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rp", "rt", "tbody",
    "td", "tfoot", "th", "thead", "tr",
];
/// Elements with languages of their own in them.
const FOREIGN: [&str; 2] = ["math", "svg"];
/// The elements of HTML, in the order of the alphabet.
const ELEMENTS: [&str; 112] = [
    "a",
    "abbr",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "base",
    "bdi",
    "bdo",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "data",
    "datalist",
    "dd",
    "del",
    "details",
    "dfn",
    "dialog",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "link",
    "main",
    "map",
    "mark",
    "menu",
    "meta",
    "meter",
    "nav",
    "noscript",
    "object",
    "ol",
    "optgroup",
    "option",
    "output",
    "p",
    "param",
    "picture",
    "pre",
    "progress",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "script",
    "search",
    "section",
    "select",
    "slot",
    "small",
    "source",
    "span",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "track",
    "u",
    "ul",
];
/// Elements of HTML that come after `ul` in the alphabet.
const MORE_ELEMENTS: [&str; 5] = ["math", "svg", "var", "video", "wbr"];

#[derive(Clone, Copy, Debug)]
pub(super) enum Html {
    Whole,
    Within,
}

/// What a text has of HTML.
#[derive(Default)]
struct Seen {
    open: Vec<String>,
    /// How many of the open elements have a language of their own in them.
    foreign: usize,
    /// What keeps it from being HTML as a whole.
    fault: Option<String>,
    known: bool,
    begins: bool,
    ends: bool,
    closes_itself: bool,
    comments: bool,
    doctype: bool,
    attributes: bool,
}

impl Html {
    pub(super) fn compile(source: &Source<'_>, scope: Self) -> Result<Self, AssertionError> {
        source.no_value("HTML is known by its form alone")?;
        source.no_threshold()?;
        source.no_tolerance()?;
        Ok(scope)
    }

    pub(super) fn evaluate(self, subject: &Subject<'_>) -> Evaluation {
        let output = subject.output.trim();
        let seen = Seen::of(output);
        Ok(match self {
            Self::Whole => match seen.lacks() {
                None => Finding { holds: true, fact: "the output is HTML".to_owned() },
                Some(lack) => Finding { holds: false, fact: format!("the output is not HTML: {lack}") },
            },
            Self::Within => {
                let signs = seen.signs() + usize::from(has_reference(output));
                let fact = format!("the output has {signs} signs of HTML, and {SIGNS_MIN} are needed");
                Finding { holds: signs >= SIGNS_MIN, fact }
            }
        })
    }
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut emitter: DefaultEmitter = DefaultEmitter::default();
        // What stands in scripts and styles is no markup.
        emitter.naively_switch_states(true);
        let mut seen = Self { comments: text.contains("<!--"), ..Self::default() };
        for token in Tokenizer::new_with_emitter(text, emitter) {
            let Ok(token) = token;
            seen.take(token);
        }
        seen
    }

    fn take(&mut self, token: Token) {
        match token {
            Token::StartTag(tag) => {
                self.begins = true;
                self.closes_itself |= tag.self_closing;
                self.attributes |= tag.attributes.values().any(|value| !value.is_empty());
                self.opened(name(&tag.name), tag.self_closing);
            }
            Token::EndTag(tag) => {
                self.ends = true;
                self.closed(&name(&tag.name));
            }
            Token::String(words) if self.open.is_empty() && !words.iter().all(u8::is_ascii_whitespace) => {
                self.faulty(|| format!("{} stands outside of its elements", quoted(&String::from_utf8_lossy(&words))));
            }
            Token::Doctype(doctype) => self.doctype |= doctype.name.eq_ignore_ascii_case(b"html"),
            Token::String(_) | Token::Comment(_) | Token::Error(_) => (),
        }
    }

    fn opened(&mut self, name: Cow<'_, str>, closes_itself: bool) {
        let is_foreign = self.foreign > 0;
        if is_element(&name) {
            self.known = true;
        } else if !is_foreign && !name.contains('-') {
            self.faulty(|| format!("<{name}> is no element of HTML"));
        }
        let is_empty = VOID.contains(&&*name) || is_foreign && closes_itself;
        if is_empty {
            return;
        }
        if self.open.len() == DEPTH_MAX {
            self.faulty(|| format!("its elements are nested deeper than {DEPTH_MAX}"));
        } else {
            self.foreign += usize::from(FOREIGN.contains(&&*name));
            self.open.push(name.into_owned());
        }
    }

    fn closed(&mut self, name: &str) {
        while let Some(open) = self.open.pop() {
            self.foreign -= usize::from(FOREIGN.contains(&open.as_str()));
            if open == name {
                return;
            }
            if !ENDS_BY_ITSELF.contains(&open.as_str()) {
                return self.faulty(|| format!("<{open}> is not closed before </{name}>"));
            }
        }
        self.faulty(|| format!("</{name}> closes nothing"));
    }

    fn faulty(&mut self, fault: impl FnOnce() -> String) {
        self.fault.get_or_insert_with(fault);
    }

    /// Why the text is not HTML as a whole.
    fn lacks(&self) -> Option<String> {
        let unclosed = self.open.iter().find(|open| !ENDS_BY_ITSELF.contains(&open.as_str()));
        let unknown = || (!self.known).then(|| "it has no element of HTML".to_owned());
        self.fault.clone().or_else(|| unclosed.map(|open| format!("<{open}> is not closed"))).or_else(unknown)
    }

    /// As promptfoo counts: what is strong counts twice.
    fn signs(&self) -> usize {
        let one = [self.begins, self.ends, self.closes_itself, self.comments, self.attributes];
        let two = [self.doctype, self.known];
        one.into_iter().map(usize::from).sum::<usize>()
            + two.into_iter().map(|sign| 2 * usize::from(sign)).sum::<usize>()
    }
}

fn name(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

fn is_element(name: &str) -> bool {
    ELEMENTS.binary_search(&name).is_ok() || MORE_ELEMENTS.contains(&name)
}

/// Whether there is a reference to a character, such as `&nbsp;` or `&#160;`.
fn has_reference(text: &str) -> bool {
    text.match_indices('&').any(|(start, _)| {
        let rest = &text.as_bytes()[start + 1..];
        let rest = &rest[..rest.len().min(REFERENCE_BYTES_MAX)];
        let Some(end) = rest.iter().position(|byte| *byte == b';') else { return false };
        let name = rest[..end].strip_prefix(b"#").unwrap_or(&rest[..end]);
        !name.is_empty() && name.iter().all(u8::is_ascii_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_in_the_order_of_the_alphabet() {
        assert!(ELEMENTS.is_sorted());
    }
}
