//! JSON to nodes. serde_json reads the text; the place of a value follows from where its raw text lies in the whole.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::error::{Place, SuiteError};
use super::node::{DEPTH_MAX, Entry, Kind, NUMBER_TOO_LARGE, Node};
use super::source::Source;

/// Parses one JSON value of a file; `first_line` is the line of the file on which the text begins.
pub(crate) fn parse(source: &Source, text: &str, first_line: u64) -> Result<Node, SuiteError> {
    let reader = Reader { source, text, first_line, line_starts: line_starts(text) };
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| reader.syntax(&error))?;
    reader.node(raw, 1)
}

struct Reader<'a> {
    source: &'a Source,
    text: &'a str,
    first_line: u64,
    line_starts: Vec<usize>,
}

/// Columns beyond are counted in bytes: counting characters from the start of a line of megabytes, once for each
/// value on it, would take for ever.
const COLUMN_CHARS_MAX: usize = 4096;

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0).chain(breaks.map(|(index, _)| index + 1)).collect()
}

impl<'a> Reader<'a> {
    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, SuiteError> {
        let json = raw.get();
        let place = self.place(json);
        if depth > DEPTH_MAX {
            let message = format!("lists and tables are nested deeper than {DEPTH_MAX}");
            return Err(self.source.error(place, message, "make the file flatter"));
        }
        let kind = match json.as_bytes().first() {
            Some(b'{') => Kind::Table(self.table(json, depth)?),
            Some(b'[') => {
                let items: Vec<&'a RawValue> = self.read(json, place)?;
                Kind::List(items.into_iter().map(|item| self.node(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Kind::Text(self.read(json, place)?),
            Some(b't' | b'f') => Kind::Bool(self.read(json, place)?),
            Some(b'n') => Kind::Null,
            Some(_) | None => Kind::Number(self.number(json, place)?),
        };
        Ok(Node { place, kind })
    }

    fn table(&self, json: &'a str, depth: usize) -> Result<Vec<Entry>, SuiteError> {
        let pairs: Pairs<'a> = self.read(json, self.place(json))?;
        let mut seen = HashSet::with_capacity(pairs.0.len());
        let mut entries = Vec::with_capacity(pairs.0.len());
        for (key, raw) in pairs.0 {
            // serde_json gives no place of a key; that of its value is on the same line nearly always.
            let place = self.place(raw.get());
            let value = self.node(raw, depth + 1)?;
            if !seen.insert(key.clone()) {
                let message = format!("the key `{key}` appears twice");
                return Err(self.source.error(place, message, "keep one of the two"));
            }
            entries.push(Entry { key, place, value });
        }
        Ok(entries)
    }

    fn number(&self, json: &'a str, place: Place) -> Result<Number, SuiteError> {
        let number: Number = self.read(json, place)?;
        if number.is_f64() && !json.contains(['.', 'e', 'E']) {
            return Err(self.source.error(place, NUMBER_TOO_LARGE, "put it in quotes"));
        }
        Ok(number)
    }

    fn read<T: Deserialize<'a>>(&self, json: &'a str, place: Place) -> Result<T, SuiteError> {
        // The text has been read once as a whole, so what fails here is a number or an escape out of range.
        serde_json::from_str(json)
            .map_err(|error| self.source.error(place, format!("this is not JSON: {}", plain(&error)), ""))
    }

    fn place(&self, part: &str) -> Place {
        let offset = part.as_ptr() as usize - self.text.as_ptr() as usize;
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied().unwrap_or_default();
        let before = offset - start;
        let column = if before > COLUMN_CHARS_MAX { before } else { self.text[start..offset].chars().count() };
        Place { line: wide(line) + self.first_line - 1, column: wide(column) + 1 }
    }

    fn syntax(&self, error: &serde_json::Error) -> SuiteError {
        let place = Place { line: wide(error.line()) + self.first_line - 1, column: wide(error.column()) };
        self.source.error(place, format!("this is not JSON: {}", plain(error)), "mend the JSON at this place")
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The message without " at line 1 column 2", which counts within the part and not within the file.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// The entries of an object in their order, duplicates included.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}
