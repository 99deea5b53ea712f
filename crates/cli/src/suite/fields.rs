//! Takes a table apart: each key is known, each value has its type, and what is left over is a mistake.

use serde_json::{Map, Value};

use super::error::{Place, SuiteError};
use super::node::{Entry, Kind, Node, json_object};
use super::source::Source;

/// How alike two keys must be for one to be offered for the other, from 0 to 1.
const LIKENESS_MIN: f32 = 0.6;

/// The entries of a table that nobody has taken yet.
pub(crate) struct Fields<'a> {
    source: &'a Source,
    /// What the table is, in messages: `case 3`, `the card`.
    owner: String,
    place: Place,
    entries: Vec<Entry>,
}

impl<'a> Fields<'a> {
    /// Opens a table; a key beside the known ones is refused, with the known one that it looks like.
    pub(crate) fn open(source: &'a Source, node: Node, owner: &str, known: &[&str]) -> Result<Self, SuiteError> {
        let place = node.place;
        let what = node.what();
        let Kind::Table(entries) = node.kind else {
            let message = format!("{owner} must be a table of keys and values, and this is {what}");
            return Err(source.error(place, message, format!("write keys such as `{}:`", known.join(":`, `"))));
        };
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            let message = format!("{owner} has the unknown key `{}`", entry.key);
            return Err(source.error(entry.place, message, spelling(&entry.key, known)));
        }
        Ok(Self { source, owner: owner.to_owned(), place, entries })
    }

    /// The place of the table.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The value of a key, unless it is absent or nothing.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        let node = self.entries.swap_remove(index).value;
        if matches!(node.kind, Kind::Null) { None } else { Some(node) }
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&mut self, key: &str, mend: &str) -> Result<Node, SuiteError> {
        let place = self.entries.iter().find(|entry| entry.key == key).map_or(self.place, |entry| entry.place);
        self.take(key).ok_or_else(|| self.source.error(place, format!("{} has no `{key}`", self.owner), mend))
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, SuiteError> {
        self.take(key).map(|node| self.as_text(key, node)).transpose()
    }

    pub(crate) fn as_text(&self, key: &str, node: Node) -> Result<String, SuiteError> {
        let mend = match &node.kind {
            Kind::Bool(value) => format!("put it in quotes: {key}: \"{value}\""),
            Kind::Number(value) => format!("put it in quotes: {key}: \"{value}\""),
            Kind::Null | Kind::Text(_) | Kind::List(_) | Kind::Table(_) => "write a text".to_owned(),
        };
        match node.kind {
            Kind::Text(text) => Ok(text),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Table(_) => {
                Err(self.wrong_type(key, "a text", &node, &mend))
            }
        }
    }

    pub(crate) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, SuiteError> {
        let Some(nodes) = self.list(key, "a list of texts")? else { return Ok(None) };
        nodes.into_iter().map(|node| self.as_text(key, node)).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn list(&mut self, key: &str, expected: &str) -> Result<Option<Vec<Node>>, SuiteError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.kind {
            Kind::List(nodes) => Ok(Some(nodes)),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Table(_) => {
                Err(self.wrong_type(key, expected, &node, &format!("write `{key}: [ … ]`, or one `- …` per line")))
            }
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Map<String, Value>>, SuiteError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.kind {
            Kind::Table(entries) => Ok(Some(json_object(entries))),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => Err(self.wrong_type(
                key,
                "a table of keys and values",
                &node,
                &format!("write `{key}: {{ name: value }}`"),
            )),
        }
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, SuiteError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.kind {
            Kind::Bool(value) => Ok(Some(value)),
            Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Table(_) => {
                Err(self.wrong_type(key, "true or false", &node, "write true or false, without quotes"))
            }
        }
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<f64>, SuiteError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        if let Kind::Number(number) = &node.kind
            && let Some(value) = number.as_f64()
        {
            return Ok(Some(value));
        }
        Err(self.wrong_type(key, "a number", &node, "write a number, without quotes"))
    }

    /// A whole number from 0 to `max`, with the place where it stands.
    pub(crate) fn whole(&mut self, key: &str, max: u64) -> Result<Option<u64>, SuiteError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        if let Kind::Number(number) = &node.kind
            && let Some(value) = number.as_u64()
            && value <= max
        {
            return Ok(Some(value));
        }
        let expected = format!("a whole number from 0 to {max}");
        Err(self.wrong_type(key, &expected, &node, "write such a number, without quotes"))
    }

    fn wrong_type(&self, key: &str, expected: &str, node: &Node, mend: &str) -> SuiteError {
        let message = format!("`{key}` of {} must be {expected}, and this is {}", self.owner, node.what());
        self.source.error(node.place, message, mend)
    }
}

/// The known word that a word looks like.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    similar::get_close_matches(word, known, 1, LIKENESS_MIN).first().copied()
}

/// What to do about an unknown word.
pub(crate) fn spelling(word: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? Known are {all}"),
        None => format!("known are {all}"),
    }
}
