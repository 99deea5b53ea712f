//! The cases of a suite: inline, in a YAML or JSON list, or one JSON object per line.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use pcs_domain::canonical::canonical_json;
use pcs_domain::data_subject::SubjectName;
use pcs_domain::limits;
use pcs_domain::prompt_card::CaseDraft;
use serde_json::{Value, json};

use super::error::{Place, SuiteError};
use super::fields::Fields;
use super::json as json_text;
use super::mapping::{self, Mapping};
use super::node::{self, Kind, Node};
use super::only::Only;
use super::source::{CASES_BYTES_MAX, Format, Source};
use super::{assertion, check};
use crate::promptfoo::csv as table;

const KEYS: [&str; 9] =
    ["name", "subject", "input", "vars", "expected_output", "assertions", "threshold", "tags", "metadata"];
const EMPTY_MEND: &str = "give at least one case: `- input: { question: \"…\" }`";

/// A case and where it was written.
#[derive(Clone, Debug)]
pub struct SuiteCase {
    /// What is sent to the server.
    pub draft: CaseDraft,
    /// Whose data it is made of, as people call them.
    pub subject: Option<String>,
    /// The number in its list, from 1.
    pub number: usize,
    /// The file that holds it.
    pub file: Arc<str>,
    /// Where it begins.
    pub place: Place,
    /// Which prompts and models it meets, and how often.
    pub only: Only,
}

impl SuiteCase {
    /// What the case is called: the name it has, or the one that its number gives it.
    #[must_use]
    pub fn name(&self) -> String {
        if self.draft.name.is_empty() { format!("case {}", self.number) } else { self.draft.name.clone() }
    }
}

/// Reads the cases that stand in the suite file, or in the file that it names.
pub(crate) fn read(source: &Source, node: Node, folder: &Path) -> Result<Vec<SuiteCase>, SuiteError> {
    let place = node.place;
    let cases = match node.kind {
        Kind::List(nodes) => list(source, place, nodes)?,
        Kind::Text(path) => from_file(source, place, &folder.join(path))?,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Table(_) => {
            let message = format!("`cases` must be a list or the path of a file, and this is {}", node.what());
            return Err(source.error(place, message, EMPTY_MEND));
        }
    };
    no_duplicates(&cases)?;
    Ok(cases)
}

fn from_file(suite: &Source, place: Place, path: &Path) -> Result<Vec<SuiteCase>, SuiteError> {
    let Some(format) = Format::of(path) else {
        let message = format!("the cases file {} is neither .jsonl, .json, .yaml nor .csv", path.display());
        return Err(suite.error(place, message, "give it the extension of what it holds"));
    };
    of_format(path, format, &Mapping::default())
}

/// Reads a file of cases on its own, for a card that exists; its columns may be called otherwise than ours.
pub fn load(path: &Path, mapping: &Mapping) -> Result<Vec<SuiteCase>, SuiteError> {
    let format = Format::of(path).ok_or_else(|| {
        let message = "a cases file is a .jsonl, .json, .yaml or .csv file";
        SuiteError::of_file(path.display().to_string(), message, "give it the extension of what it holds")
    })?;
    let cases = of_format(path, format, mapping)?;
    no_duplicates(&cases)?;
    Ok(cases)
}

fn of_format(path: &Path, format: Format, mapping: &Mapping) -> Result<Vec<SuiteCase>, SuiteError> {
    let source = Source::read(path, CASES_BYTES_MAX)?;
    match format {
        Format::JsonLines => return lines(&source, mapping),
        Format::Csv => return rows(&source, mapping),
        Format::Yaml | Format::Json => (),
    }
    let document = source.document(format)?;
    let first = document.place;
    match document.kind {
        Kind::List(nodes) => list(&source, first, mapped(&source, first, mapping, nodes)?),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Table(_) => {
            let message = format!("a cases file must be a list, and this is {}", document.what());
            Err(source.error(first, message, "begin it with `[` or `- `"))
        }
    }
}

fn lines(source: &Source, mapping: &Mapping) -> Result<Vec<SuiteCase>, SuiteError> {
    let mut nodes = Vec::new();
    for (line, text) in (1u64..).zip(source.text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        room_for(source, Place::line(line), nodes.len() + 1)?;
        let node = json_text::parse(source, text, line)?;
        node::refuse_nul(source, &node)?;
        nodes.push(node);
    }
    list(source, Place::default(), mapped(source, Place::default(), mapping, nodes)?)
}

/// Records with their keys as they are called here.
fn mapped(source: &Source, place: Place, mapping: &Mapping, nodes: Vec<Node>) -> Result<Vec<Node>, SuiteError> {
    if mapping.is_empty() {
        return Ok(nodes);
    }
    known(source, place, mapping, nodes.iter().flat_map(mapping::keys))?;
    Ok(nodes.into_iter().map(|node| mapping.record(node)).collect())
}

/// A column that nothing has is a slip of the pen.
fn known(
    source: &Source,
    place: Place,
    mapping: &Mapping,
    columns: impl Iterator<Item = String>,
) -> Result<(), SuiteError> {
    let columns = columns.collect();
    let Some(unknown) = mapping.unknown(&columns) else { return Ok(()) };
    let there = columns.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(source.error(
        place,
        format!("there is no column {unknown:?}"),
        format!("map one of those that are there: {there}"),
    ))
}

/// A table: its columns are variables, but for these and those that begin with `__`, which are promptfoo's.
fn rows(source: &Source, mapping: &Mapping) -> Result<Vec<SuiteCase>, SuiteError> {
    let file: Arc<str> = source.name.as_str().into();
    let mut cases = Vec::new();
    let rows = table::rows(source)?;
    known(source, Place::default(), mapping, rows.iter().flat_map(|row| row.vars.keys().cloned()))?;
    for row in rows {
        let (place, number) = (Place::line(row.line), cases.len() + 1);
        room_for(source, place, number)?;
        let owner = format!("case {number}");
        let mut input = mapping.row(row.vars);
        let mut column = |name: &str| match input.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (name, expected_output) =
            (column("name").or(row.description).unwrap_or_default(), column("expected_output"));
        let subject = subject(source, place, &owner, column("subject"))?;
        let tags = column("tags").unwrap_or_default();
        let tags = tags.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        for assertion in &row.expected {
            if let Some(path) =
                assertion.value.as_ref().and_then(Value::as_str).filter(|text| text.starts_with("file://"))
            {
                let message = format!("an expectation of {owner} is in another file: {path}");
                return Err(source.error(place, message, "write the code or the text itself into the table"));
            }
            check::assertion(assertion).map_err(|problem| {
                source.error(place, format!("an expectation of {owner}: {}", problem.message), problem.mend)
            })?;
        }
        let (assertions, threshold, metadata) = (row.expected, row.threshold, row.metadata);
        let draft = CaseDraft { name, subject: None, input, expected_output, assertions, threshold, tags, metadata };
        bounded(source, place, &owner, &draft)?;
        cases.push(SuiteCase { draft, subject, number, file: Arc::clone(&file), place, only: Only::default() });
    }
    not_empty(source, Place::default(), cases)
}

fn list(source: &Source, place: Place, nodes: Vec<Node>) -> Result<Vec<SuiteCase>, SuiteError> {
    let file: Arc<str> = source.name.as_str().into();
    room_for(source, place, nodes.len())?;
    let numbered = (1..).zip(nodes);
    let cases = numbered.map(|(number, node)| one(source, node, &file, number)).collect::<Result<_, _>>()?;
    not_empty(source, place, cases)
}

fn not_empty(source: &Source, place: Place, cases: Vec<SuiteCase>) -> Result<Vec<SuiteCase>, SuiteError> {
    if cases.is_empty() {
        return Err(source.error(place, "the suite has no cases: the matrix is empty", EMPTY_MEND));
    }
    Ok(cases)
}

fn room_for(source: &Source, place: Place, count: usize) -> Result<(), SuiteError> {
    if count > limits::CASES_MAX {
        let message = format!("there are more than {} cases, the most that a card may have", limits::CASES_MAX);
        return Err(source.error(place, message, "split them over several cards"));
    }
    Ok(())
}

fn one(source: &Source, node: Node, file: &Arc<str>, number: usize) -> Result<SuiteCase, SuiteError> {
    let owner = format!("case {number}");
    let mut fields = Fields::open(source, node, &owner, &KEYS)?;
    let place = fields.place();
    let (input, vars) = (fields.object("input")?, fields.object("vars")?);
    let input = match (input, vars) {
        (Some(input), None) | (None, Some(input)) => input,
        (None, None) => {
            let mend = "write `input: { name: value }`, or `input: {}` where the prompt has no variables";
            return Err(source.error(place, format!("{owner} has no `input`"), mend));
        }
        (Some(_), Some(_)) => {
            let message = format!("{owner} has both `input` and `vars`, which are the same");
            return Err(source.error(place, message, "keep `input`"));
        }
    };
    let name = fields.text("name")?.unwrap_or_default();
    let expected_output = fields.text("expected_output")?;
    let subject = subject(source, place, &owner, fields.text("subject")?)?;
    let nodes = fields.list("assertions", "a list of assertions")?.unwrap_or_default();
    let assertions = assertion::list(source, nodes, &owner)?;
    let threshold = assertion::threshold(source, &mut fields, &owner)?;
    let tags = fields.texts("tags")?.unwrap_or_default();
    let metadata = fields.object("metadata")?.unwrap_or_default();
    let draft = CaseDraft { metadata, tags, name, subject: None, input, expected_output, assertions, threshold };
    bounded(source, place, &owner, &draft)?;
    Ok(SuiteCase { draft, subject, number, file: Arc::clone(file), place, only: Only::default() })
}

fn subject(source: &Source, place: Place, owner: &str, name: Option<String>) -> Result<Option<String>, SuiteError> {
    let Some(name) = name else { return Ok(None) };
    match SubjectName::parse(&name) {
        Ok(name) => Ok(Some(name.as_str().to_owned())),
        Err(error) => {
            let message = format!("the `subject` of {owner} can't be used: {error}");
            Err(source.error(place, message, "write whose data it is, such as the number of a customer"))
        }
    }
}

fn bounded(source: &Source, place: Place, owner: &str, draft: &CaseDraft) -> Result<(), SuiteError> {
    let bytes = serde_json::to_string(draft).map_or(0, |json| json.len());
    if bytes > limits::CASE_BYTES_MAX {
        let message = format!("{owner} has {bytes} bytes, and at most {} are allowed", limits::CASE_BYTES_MAX);
        return Err(source.error(place, message, "make its input or its assertions shorter"));
    }
    let chars = draft.name.chars().count();
    if chars > limits::NAME_CHARS_MAX {
        let message =
            format!("the name of {owner} has {chars} characters, and at most {} are allowed", limits::NAME_CHARS_MAX);
        return Err(source.error(place, message, "make it shorter"));
    }
    Ok(())
}

/// Two cases with the same input and expected output are one case to the card, so their results would be one.
fn no_duplicates(cases: &[SuiteCase]) -> Result<(), SuiteError> {
    let mut seen: HashMap<String, &SuiteCase> = HashMap::with_capacity(cases.len());
    for case in cases {
        let draft = &case.draft;
        let content =
            json!({ "subject": case.subject, "input": draft.input, "expected_output": draft.expected_output });
        let content = canonical_json(&content);
        if let Some(first) = seen.insert(content, case) {
            let (one, other, line) = (first.number, case.number, first.place.line);
            let message = format!("case {other} has the same input and expected output as case {one} (line {line})");
            let mend = "keep one of them; to ask several times, use `repeats`";
            return Err(SuiteError::of_file(case.file.as_ref(), message, mend).at(case.place));
        }
    }
    Ok(())
}
