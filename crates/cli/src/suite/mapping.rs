//! Columns of a table, or keys of records, that are called otherwise than ours: which of them is what.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::node::{Entry, Kind, Node};

/// The fields of a case that a column may be; all others are variables.
const FIELDS: [&str; 6] = ["name", "subject", "expected_output", "assertions", "threshold", "metadata"];
/// The list of tags, which a table has as words with commas between them.
const TAGS: &str = "tags";
/// The variables of a record.
const INPUT: [&str; 2] = ["input", "vars"];
/// In front of a variable that has the name of a field.
const VARIABLE: &str = "input.";
/// Instead of a name: the column is left out.
const NOTHING: &str = "-";

/// What the columns of a file are; without any, its form is ours.
#[derive(Clone, Debug, Default)]
pub struct Mapping(Vec<(String, Target)>);

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Field(String),
    Variable(String),
    Nothing,
}

impl Mapping {
    /// Reads `column=field`, `column=variable`, `column=input.variable` and `column=-`.
    ///
    /// # Errors
    /// What is wrong with the first text that is none of these.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut mapped = Vec::new();
        let mut seen = BTreeSet::new();
        for text in texts {
            let parts = text.split_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty());
            let (from, to) = parts.ok_or_else(|| format!("{text:?} says not which column is what"))?;
            if !seen.insert(from) {
                return Err(format!("the column {from:?} is there twice"));
            }
            let target = match to {
                NOTHING => Target::Nothing,
                to if FIELDS.contains(&to) || to == TAGS => Target::Field(to.to_owned()),
                to => Target::Variable(to.strip_prefix(VARIABLE).unwrap_or(to).to_owned()),
            };
            mapped.push((from.to_owned(), target));
        }
        Ok(Self(mapped))
    }

    /// Whether the form of the file is ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The columns that a record lacks; there may be records without one, but not a file of them.
    pub(crate) fn unknown<'m>(&'m self, columns: &BTreeSet<String>) -> Option<&'m str> {
        self.0.iter().map(|(from, _)| from.as_str()).find(|from| !columns.contains(*from))
    }

    fn target(&self, column: &str) -> Option<&Target> {
        self.0.iter().find(|(from, _)| from == column).map(|(_, target)| target)
    }

    /// A row of a table with its columns as they are called here.
    pub(crate) fn row(&self, columns: Map<String, Value>) -> Map<String, Value> {
        let renamed = columns.into_iter().filter_map(|(column, value)| match self.target(&column) {
            None => Some((column, value)),
            Some(Target::Nothing) => None,
            Some(Target::Field(name) | Target::Variable(name)) => Some((name.clone(), value)),
        });
        renamed.collect()
    }

    /// A record with its keys as they are called here: what is no field of a case is a variable.
    pub(crate) fn record(&self, node: Node) -> Node {
        let Node { place, kind: Kind::Table(entries) } = node else { return node };
        let (mut fields, mut input) = (Vec::new(), Vec::new());
        for entry in entries {
            match self.target(&entry.key) {
                Some(Target::Nothing) => (),
                Some(Target::Variable(name)) => input.push(Entry { key: name.clone(), ..entry }),
                Some(Target::Field(name)) => fields.push(field(name, entry)),
                None if INPUT.contains(&entry.key.as_str()) => match entry.value.kind {
                    Kind::Table(entries) => input.extend(entries),
                    kind => input.push(Entry { value: Node { place: entry.value.place, kind }, ..entry }),
                },
                None if FIELDS.contains(&entry.key.as_str()) || entry.key == TAGS => fields.push(entry),
                None => input.push(entry),
            }
        }
        fields.push(Entry { key: INPUT[0].to_owned(), place, value: Node { place, kind: Kind::Table(input) } });
        Node { place, kind: Kind::Table(fields) }
    }
}

/// A field by its name here: numbers are the texts that they are written as, and words with commas are tags.
fn field(name: &str, entry: Entry) -> Entry {
    let place = entry.value.place;
    let kind = match (name, entry.value.kind) {
        ("name" | "subject" | "expected_output", Kind::Number(number)) => Kind::Text(number.to_string()),
        ("name" | "subject" | "expected_output", Kind::Bool(yes)) => Kind::Text(yes.to_string()),
        (TAGS, Kind::Text(words)) => {
            let tags = words.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            Kind::List(tags.map(|tag| Node { place, kind: Kind::Text(tag.to_owned()) }).collect())
        }
        (_, kind) => kind,
    };
    Entry { key: name.to_owned(), place: entry.place, value: Node { place, kind } }
}

/// The keys of a record.
pub(crate) fn keys(node: &Node) -> impl Iterator<Item = String> {
    let entries = match &node.kind {
        Kind::Table(entries) => entries.as_slice(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => &[],
    };
    entries.iter().map(|entry| entry.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_says_what_each_column_is() {
        let texts = ["answer=expected_output", "question=q", "name=input.name", "id=-"].map(str::to_owned);
        let mapping = Mapping::parse(&texts).unwrap();
        assert_eq!(mapping.target("name"), Some(&Target::Variable("name".to_owned())));
        assert_eq!(mapping.target("id"), Some(&Target::Nothing));
        assert_eq!(mapping.unknown(&["answer", "question"].map(str::to_owned).into()), Some("name"));
        for bad in [vec!["answer"], vec!["=q"], vec!["q="], vec!["a=b", "a=c"]] {
            assert!(Mapping::parse(&bad.into_iter().map(str::to_owned).collect::<Vec<_>>()).is_err());
        }
    }
}
