//! `is-xml`, `contains-xml`, `is-html` and `contains-html`: markup in the output, and the elements that it must have.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};

/// Deepest nesting of elements that is followed.
const DEPTH_MAX: usize = 500;
/// Places at which the beginning of a document is looked for in a text.
const STARTS_MAX: usize = 1_000;
const NEEDS: &str = "nothing, or the elements that there must be: a list or a text of paths such as \"order.item\"";
/// Elements of HTML that need no end.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements by which HTML is known in a text.
const KNOWN: [&str; 48] = [
    "html", "head", "body", "div", "span", "p", "a", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody",
    "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "form", "input", "button", "select", "option", "label",
    "img", "br", "hr", "b", "i", "u", "em", "strong", "code", "pre", "section", "article", "header", "footer", "nav",
    "script", "style",
];
/// Signs of HTML in a text from which on it is said to contain some, as promptfoo has it.
const SIGNS_MIN: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Xml,
    XmlWithin,
    Html,
    HtmlWithin,
}

#[derive(Debug)]
pub(super) struct Markup {
    wanted: Wanted,
    elements: Vec<String>,
}

impl Markup {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let wanted = match base {
            "is-xml" => Wanted::Xml,
            "contains-xml" => Wanted::XmlWithin,
            "is-html" => Wanted::Html,
            _ => Wanted::HtmlWithin,
        };
        if matches!(wanted, Wanted::Html | Wanted::HtmlWithin) {
            source.no_value("HTML is known by its form alone")?;
            return Ok(Self { wanted, elements: Vec::new() });
        }
        let listed = match source.value() {
            Some(Value::Object(map)) => map.get("requiredElements"),
            other => other,
        };
        let elements = match listed {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(',').map(|path| path.trim().to_owned()).collect(),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.ok_or_else(|| source.wrong_value(NEEDS))?
            }
            Some(_) => return Err(source.wrong_value(NEEDS)),
        };
        Ok(Self { wanted, elements })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let output = subject.output.trim();
        Ok(match self.wanted {
            Wanted::Xml => self.judged(output),
            Wanted::XmlWithin => self.within(output),
            Wanted::Html => {
                let (signs, open) = html(output);
                let holds = output.starts_with('<') && output.ends_with('>') && signs > 0 && open.is_none();
                let fact = match open {
                    _ if holds => "the output is HTML".to_owned(),
                    Some(name) => format!("the output is not HTML: <{name}> is not closed where it should be"),
                    None => "the output is not HTML".to_owned(),
                };
                Finding { holds, fact }
            }
            Wanted::HtmlWithin => {
                let (signs, _) = html(output);
                let fact = format!("the output has {signs} signs of HTML, and {SIGNS_MIN} are needed");
                Finding { holds: signs >= SIGNS_MIN, fact }
            }
        })
    }

    fn judged(&self, text: &str) -> Finding {
        match paths(text, true) {
            Err(why) => Finding { holds: false, fact: format!("the output is not XML: {why}") },
            Ok((found, _)) => self.complete(&found),
        }
    }

    fn complete(&self, found: &[String]) -> Finding {
        let missing: Vec<&str> =
            self.elements.iter().filter(|path| !found.contains(path)).map(String::as_str).collect();
        let fact = if missing.is_empty() {
            "the output has well-formed XML".to_owned()
        } else {
            format!("the XML lacks {}", missing.join(", "))
        };
        Finding { holds: missing.is_empty(), fact }
    }

    /// The first document in the text that has all elements.
    fn within(&self, text: &str) -> Finding {
        let mut last = Finding { holds: false, fact: "the output contains no XML".to_owned() };
        let mut at = 0;
        for _ in 0..STARTS_MAX {
            let Some(start) = text[at..].find('<') else { break };
            let rest = &text[at + start..];
            match paths(rest, false) {
                Ok((found, length)) => {
                    last = self.complete(&found);
                    if last.holds {
                        break;
                    }
                    at += start + length.max(1);
                }
                Err(_) => at += start + 1,
            }
        }
        last
    }
}

/// The paths of all elements of a document from its root, and where it ends; the whole text has to be it, or its
/// beginning.
fn paths(text: &str, whole: bool) -> Result<(Vec<String>, usize), String> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let position = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let is_inside = !open.is_empty();
        match event {
            Event::Start(element) => {
                if !is_inside && !found.is_empty() {
                    return Err("there is more than one root element".to_owned());
                }
                open.push(String::from_utf8_lossy(element.name().as_ref()).into_owned());
                found.push(open.join("."));
                if open.len() > DEPTH_MAX {
                    return Err(format!("its elements are nested deeper than {DEPTH_MAX}"));
                }
            }
            Event::Empty(_) if !is_inside && !found.is_empty() => {
                return Err("there is more than one root element".to_owned());
            }
            Event::Empty(element) => {
                let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
                found.push(open.iter().map(String::as_str).chain([name.as_str()]).collect::<Vec<_>>().join("."));
                if !is_inside && !whole {
                    return Ok((found, position(&reader)));
                }
            }
            Event::End(_) => {
                open.pop();
                if open.is_empty() && !whole {
                    return Ok((found, position(&reader)));
                }
            }
            Event::Text(words) if !is_inside && !words.iter().all(u8::is_ascii_whitespace) => {
                return Err("there is text outside of the root element".to_owned());
            }
            Event::Eof if found.is_empty() => return Err("it has no element".to_owned()),
            Event::Eof if is_inside => return Err("its last element is not closed".to_owned()),
            Event::Eof => return Ok((found, position(&reader))),
            _ => (),
        }
    }
}

/// How many known elements and declarations a text has, and the first element that is not closed where it should be.
fn html(text: &str) -> (usize, Option<String>) {
    let mut open: Vec<String> = Vec::new();
    let (mut signs, mut fault) = (0, None);
    for tag in text.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)) {
        let lower = tag.to_ascii_lowercase();
        if lower.starts_with("!doctype html") {
            signs += 1;
            continue;
        }
        let is_end = lower.starts_with('/');
        let name: String = lower.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if name.is_empty() || lower.starts_with('!') {
            continue;
        }
        signs += usize::from(KNOWN.contains(&name.as_str()));
        if is_end {
            if open.pop().as_deref() != Some(name.as_str()) {
                fault.get_or_insert(name);
            }
        } else if !lower.ends_with('/') && !VOID.contains(&name.as_str()) && open.len() < DEPTH_MAX {
            open.push(name);
        }
    }
    let unclosed = open.pop();
    (signs, fault.or(unclosed))
}
