//! `is-xml` and `contains-xml`: well-formed XML, and the elements that it must have.

use std::collections::HashSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::cut;

/// Deepest nesting of elements that is followed.
const DEPTH_MAX: usize = 500;
/// Most elements that may be demanded: each is looked at with each element of the output.
const DEMANDED_MAX: usize = 100;
/// How much of a text is read in all to find XML in it, in bytes: what looks like the beginning of a document may be
/// read to the end, and there may be many.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const NEEDS: &str = "nothing, or the elements that there must be: a list or a text of paths such as \"order.item\"";
const REQUIRED_ELEMENTS: &str = "requiredElements";
/// What needs no declaration.
const ENTITIES: [&[u8]; 5] = [b"amp", b"lt", b"gt", b"apos", b"quot"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    Whole,
    Within,
}

#[derive(Debug)]
pub(super) struct Xml {
    scope: Scope,
    demanded: Vec<Path>,
}

/// The names of the elements on the way to one, from the root.
#[derive(Debug)]
struct Path {
    written: String,
    names: Vec<String>,
}

/// Text that is no document, and how much of it was read to see it.
struct Unfit {
    why: String,
    read: usize,
}

/// A document: which demanded elements it has, and where it ends.
struct Document {
    has: Vec<bool>,
    end: usize,
}

impl Xml {
    pub(super) fn whole(source: &Source<'_>) -> Result<Self, AssertionError> {
        Self::compile(source, Scope::Whole)
    }

    pub(super) fn within(source: &Source<'_>) -> Result<Self, AssertionError> {
        Self::compile(source, Scope::Within)
    }

    fn compile(source: &Source<'_>, scope: Scope) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let wrong = || source.wrong_value(NEEDS);
        let listed = match source.value() {
            Some(Value::Object(map)) if map.len() == 1 => Some(map.get(REQUIRED_ELEMENTS).ok_or_else(wrong)?),
            other => other,
        };
        let written: Vec<String> = match listed {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(',').map(|path| path.trim().to_owned()).collect(),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        let names = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let demanded: Vec<Path> = written.into_iter().map(|written| Path { names: names(&written), written }).collect();
        let is_nameless = demanded.iter().any(|path| path.names.iter().any(String::is_empty));
        if is_nameless || demanded.len() > DEMANDED_MAX {
            return Err(wrong());
        }
        Ok(Self { scope, demanded })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        match self.scope {
            Scope::Whole => Ok(match self.document(subject.output.trim(), Scope::Whole) {
                Ok(document) => self.complete(&document),
                Err(unfit) => Finding { holds: false, fact: format!("the output is not XML: {}", unfit.why) },
            }),
            Scope::Within => self.search(subject.output),
        }
    }

    fn complete(&self, document: &Document) -> Finding {
        let absent = self.demanded.iter().zip(&document.has).filter(|(_, has)| !**has);
        let absent: Vec<&str> = absent.map(|(path, _)| path.written.as_str()).collect();
        let fact = if absent.is_empty() {
            "the output has well-formed XML".to_owned()
        } else {
            format!("the XML lacks {}", cut(&absent.join(", ")))
        };
        Finding { holds: absent.is_empty(), fact }
    }

    /// Looks for an element that has all that is demanded, from the left.
    fn search(&self, output: &str) -> Evaluation {
        let mut nearest = Finding { holds: false, fact: "the output contains no XML".to_owned() };
        let (mut rest, mut read) = (output, 0_usize);
        while let Some(start) = rest.find('<') {
            rest = &rest[start..];
            let end = match self.document(rest, Scope::Within) {
                Ok(document) => {
                    let finding = self.complete(&document);
                    if finding.holds {
                        return Ok(finding);
                    }
                    nearest = finding;
                    read += document.end;
                    document.end
                }
                // Elements may follow within what is none.
                Err(unfit) => {
                    read += unfit.read;
                    1
                }
            };
            if read > READ_BYTES_MAX {
                return Err("too much in the output begins like XML and is none".to_owned());
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        Ok(nearest)
    }

    /// Reads the document that a text is, or begins with.
    fn document(&self, text: &str, scope: Scope) -> Result<Document, Unfit> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        let mut walk = Walk::new(&self.demanded);
        loop {
            let event = reader.read_event().map_err(|error| error.to_string());
            let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(text.len());
            let ended = event.and_then(|event| walk.take(&event)).map_err(|why| Unfit { why: cut(&why), read: end })?;
            if ended == Ended::Text || ended == Ended::Root && scope == Scope::Within {
                return Ok(Document { has: walk.has, end });
            }
        }
    }
}

/// What an event ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    Nothing,
    Root,
    Text,
}

/// The way through a document.
struct Walk<'d> {
    demanded: &'d [Path],
    /// How many names of each demanded path the open elements have, from the root.
    agreed: Vec<usize>,
    has: Vec<bool>,
    depth: usize,
    /// Whether the root element has begun.
    has_root: bool,
    /// Whether there may be entities that are declared.
    has_doctype: bool,
    is_first: bool,
}

impl<'d> Walk<'d> {
    fn new(demanded: &'d [Path]) -> Self {
        let count = demanded.len();
        let (agreed, has) = (vec![0; count], vec![false; count]);
        Self { demanded, agreed, has, depth: 0, has_root: false, has_doctype: false, is_first: true }
    }

    fn take(&mut self, event: &Event<'_>) -> Result<Ended, String> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let is_inside = self.depth > 0;
        match event {
            Event::Start(element) => self.open(element)?,
            Event::Empty(element) => {
                self.open(element)?;
                return Ok(self.close());
            }
            Event::End(_) => return Ok(self.close()),
            Event::Text(words) if !is_inside && !words.iter().all(u8::is_ascii_whitespace) => {
                return Err("there is text outside of the root element".to_owned());
            }
            Event::Text(words) if words.windows(3).any(|part| part == b"]]>") => {
                return Err("there is ]]> in its text".to_owned());
            }
            Event::CData(_) | Event::GeneralRef(_) if !is_inside => {
                return Err("there is text outside of the root element".to_owned());
            }
            Event::GeneralRef(name) => self.referred(name)?,
            Event::Decl(_) if !is_first => return Err("its declaration is not at its beginning".to_owned()),
            Event::DocType(_) if self.has_root => return Err("its DOCTYPE is behind its root element".to_owned()),
            Event::DocType(_) => self.has_doctype = true,
            Event::Eof if is_inside => return Err("its last element is not closed".to_owned()),
            Event::Eof if !self.has_root => return Err("it has no element".to_owned()),
            Event::Eof => return Ok(Ended::Text),
            _ => (),
        }
        Ok(Ended::Nothing)
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        if self.depth == 0 && self.has_root {
            return Err("there is more than one root element".to_owned());
        }
        if self.depth >= DEPTH_MAX {
            return Err(format!("its elements are nested deeper than {DEPTH_MAX}"));
        }
        self.has_root = true;
        let name = element.name();
        named(name.as_ref())?;
        attributed(element)?;
        for (index, path) in self.demanded.iter().enumerate() {
            let agrees = self.agreed[index] == self.depth
                && path.names.get(self.depth).is_some_and(|wanted| wanted.as_bytes() == name.as_ref());
            if agrees {
                self.agreed[index] += 1;
                self.has[index] |= self.agreed[index] == path.names.len();
            }
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) -> Ended {
        self.depth = self.depth.saturating_sub(1);
        for agreed in &mut self.agreed {
            *agreed = (*agreed).min(self.depth);
        }
        if self.depth == 0 { Ended::Root } else { Ended::Nothing }
    }

    fn referred(&self, name: &[u8]) -> Result<(), String> {
        if self.has_doctype || name.starts_with(b"#") || ENTITIES.contains(&name) {
            return Ok(());
        }
        Err(format!("the entity {} is not known", String::from_utf8_lossy(name)))
    }
}

/// Attributes have values in quotation marks, and each its own name.
fn attributed(element: &BytesStart<'_>) -> Result<(), String> {
    let mut names = HashSet::new();
    // The library would compare each name with all before it.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| format!("an attribute is wrong: {error}"))?;
        let name = attribute.key.into_inner();
        named(name)?;
        if attribute.value.contains(&b'<') {
            return Err("there is < in an attribute".to_owned());
        }
        if !names.insert(name) {
            return Err(format!("it has the attribute {} twice", String::from_utf8_lossy(name)));
        }
    }
    Ok(())
}

fn named(name: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(name);
    let begins = text.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == ':');
    let goes_on = |letter: char| letter.is_alphanumeric() || "_:-.\u{b7}".contains(letter);
    if begins && text.chars().all(goes_on) { Ok(()) } else { Err(format!("{text:?} is no name")) }
}
