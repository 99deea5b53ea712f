//! Why an assertion can't be used, in words for its author.

use super::{KNOWN_KINDS, NOT};
use crate::excerpt::cut;
use crate::template::TemplateError;

/// How many letters a misspelt kind may be off to be recognised.
const MISSPELT_MAX: usize = 3;

/// Why an assertion can't be used; found before a run starts, as far as no variable is needed to see it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AssertionError {
    /// No such kind.
    #[error("there is no assertion type {kind:?}; {}", mend(.nearest.as_deref()))]
    UnknownKind {
        /// The kind asked for.
        kind: String,
        /// The kind that was probably meant.
        nearest: Option<String>,
    },
    /// The value is absent or of the wrong type.
    #[error("{kind} needs {needs} as its value, and has {given}")]
    WrongValue {
        /// The kind.
        kind: String,
        /// What it needs.
        needs: &'static str,
        /// What it has.
        given: String,
    },
    /// A field that the kind has no use for: it would be ignored, and its author would not know.
    #[error("{kind} has no {field}; {instead}")]
    Superfluous {
        /// The kind.
        kind: String,
        /// The field.
        field: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// A number is absent or out of its range.
    #[error("the {field} of {kind} must be a number, 0 or more")]
    OutOfRange {
        /// The kind.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// A regular expression can't be used.
    #[error("the regular expression {pattern} can't be used: {why}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A JSON Schema can't be used.
    #[error("the value of {kind} can't be used as a JSON Schema: {why}")]
    Schema {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that is a template can't be parsed.
    #[error("the value of {kind} is a template that can't be used: {source}")]
    Template {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// It compares meanings, and names no model that makes vectors of texts.
    #[error(
        "{kind} needs a model that makes vectors of texts, as `config: {{ embedder: {{ id: \"openai:text-embedding-3-small\" }} }}`"
    )]
    NoEmbedder {
        /// The kind.
        kind: String,
    },
    /// It sorts texts, and names no model that does.
    #[error("{kind} needs a model that sorts texts, as `provider: {{ id: \"huggingface:facebook/bart-large-mnli\" }}`")]
    NoSorter {
        /// The kind.
        kind: String,
    },
    /// A setting of its `config` is of the wrong type.
    #[error("`config.{name}` of {kind} can't be used: {why}")]
    Setting {
        /// The kind.
        kind: String,
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Code is no JavaScript.
    #[error("the code of {kind} can't be used: {source}")]
    Code {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        source: pcs_scripting::ScriptError,
    },
    /// A member of a set is no assertion.
    #[error("{kind} has a list of assertions as its value, and one is none: {why}")]
    Member {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        why: String,
    },
    /// One of several can't be used.
    #[error("assertion {number}: {source}")]
    Numbered {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<AssertionError>,
    },
}

fn mend(nearest: Option<&str>) -> String {
    match nearest {
        Some(kind) => format!("did you mean {kind:?}?"),
        None => format!("there are {}, each also with {NOT} in front", KNOWN_KINDS.join(", ")),
    }
}

/// There is no such kind; perhaps another one was meant.
pub(super) fn unknown(kind: &str, base: &str) -> AssertionError {
    let candidates = KNOWN_KINDS.iter().map(|known| (distance(base, known), *known));
    let nearest = candidates.min().filter(|(off, known)| *off <= MISSPELT_MAX && off * 2 <= known.len());
    let prefix = if base.len() < kind.len() { NOT } else { "" };
    AssertionError::UnknownKind { kind: cut(kind), nearest: nearest.map(|(_, known)| format!("{prefix}{known}")) }
}

/// How many letters have to be added, taken away or exchanged (Levenshtein); letter case and `_` for `-` don't count.
fn distance(asked: &str, known: &str) -> usize {
    let asked: Vec<char> = asked.to_lowercase().replace('_', "-").chars().take(64).collect();
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in asked.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, k) in known.iter().enumerate() {
            let exchanged = diagonal + usize::from(a != k);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[known.len()]
}
