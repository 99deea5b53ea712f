//! Tables: a column for each variable, and columns whose names begin with `__` for everything else.

use std::path::Path;

use serde_json::{Map, Value};

use super::expectation;
use crate::suite::error::{Place, SuiteError};
use crate::suite::source::{CASES_BYTES_MAX, Source};
use pcs_domain::assertion::Assertion;

/// Columns that say something else than a variable's value.
const SPECIAL: [&str; 7] =
    ["__expected", "__prefix", "__suffix", "__description", "__providerOutput", "__metric", "__threshold"];

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) vars: Map<String, Value>,
    pub(crate) expected: Vec<Assertion>,
    pub(crate) description: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) suffix: Option<String>,
    pub(crate) threshold: Option<f64>,
    pub(crate) metadata: Map<String, Value>,
    /// The row's line in the file.
    pub(crate) line: u64,
}

/// What a row says of its demands beside themselves.
#[derive(Default)]
struct More {
    metric: Option<String>,
    /// Of the demand with this number, from 1.
    thresholds: Vec<(usize, f64)>,
}

fn reader(source: &Source) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().flexible(false).from_reader(source.text.as_bytes())
}

fn refused(source: &Source, error: &csv::Error) -> SuiteError {
    let line = error.position().map_or(0, csv::Position::line);
    let message = format!("the table can't be read: {error}");
    source.error(Place::line(line), message, "each row needs as many cells as the first one; put commas in quotes")
}

/// The rows of a table.
pub(crate) fn rows(source: &Source) -> Result<Vec<Row>, SuiteError> {
    let mut reader = reader(source);
    let headers = reader.headers().map_err(|error| refused(source, &error))?.clone();
    for header in &headers {
        check_header(source, header)?;
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| refused(source, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut row = Row { line, ..Row::default() };
        let mut more = More::default();
        for (header, cell) in headers.iter().zip(&record) {
            put(source, &mut row, &mut more, (header.trim(), cell))?;
        }
        for assertion in &mut row.expected {
            assertion.metric.clone_from(&more.metric);
        }
        for (number, threshold) in more.thresholds {
            let Some(assertion) = row.expected.get_mut(number - 1) else {
                let message =
                    format!("there is a threshold for demand {number} of the row, which has {}", row.expected.len());
                let mend = "demands count from 1 and without empty cells; take the threshold out, or add the demand";
                return Err(source.error(Place::line(line), message, mend));
            };
            assertion.threshold = Some(threshold);
        }
        rows.push(row);
    }
    Ok(rows)
}

fn check_header(source: &Source, header: &str) -> Result<(), SuiteError> {
    let name = header.trim();
    let alike = SPECIAL.iter().find(|known| !name.starts_with("__") && format!("_{name}") == **known);
    if let Some(known) = alike {
        let message = format!("the column `{name}` would be a variable");
        return Err(source.error(
            Place::line(1),
            message,
            format!("write `{known}`, or give the variable another name"),
        ));
    }
    let is_known = !name.starts_with("__")
        || SPECIAL.contains(&name)
        || name.strip_prefix("__expected").is_some_and(|number| number.parse::<u32>().is_ok())
        || name.starts_with("__metadata:")
        || demand_of(name).is_some();
    if is_known {
        return Ok(());
    }
    let message = format!("there is no special column `{name}`");
    Err(source.error(
        Place::line(1),
        message,
        format!("known are {}, __metadata:KEY and __config:__expectedN:threshold", SPECIAL.join(", ")),
    ))
}

/// The demand of which `__config:__expected2:threshold` says something: the second.
fn demand_of(header: &str) -> Option<usize> {
    let which = header.strip_prefix("__config:__expected")?.strip_suffix(":threshold")?;
    if which.is_empty() { Some(1) } else { which.parse().ok().filter(|number| *number > 0) }
}

fn put(source: &Source, row: &mut Row, more: &mut More, (header, cell): (&str, &str)) -> Result<(), SuiteError> {
    let text = || Some(cell.to_owned()).filter(|cell| !cell.is_empty());
    let number = |what: &str| {
        cell.trim().parse::<f64>().map_err(|_| {
            source.error(
                Place::line(row.line),
                format!("`{what}` is {cell:?}, and not a number"),
                "write a number, or nothing",
            )
        })
    };
    match header {
        "__description" => row.description = text(),
        "__prefix" => row.prefix = text(),
        "__suffix" => row.suffix = text(),
        "__metric" => more.metric = text(),
        "__threshold" if !cell.trim().is_empty() => row.threshold = Some(number(header)?),
        "__threshold" => (),
        "__providerOutput" if cell.is_empty() => (),
        "__providerOutput" => {
            let message = "answers that are there already can't be graded by a run";
            return Err(source.error(
                Place::line(row.line),
                message,
                "use the provider `recorded`, or `pcs runs regrade`",
            ));
        }
        _ if header.starts_with("__expected") => {
            row.expected.extend(Some(cell).filter(|cell| !cell.trim().is_empty()).map(expectation::read));
        }
        _ if header.starts_with("__config:") => {
            if let (Some(which), false) = (demand_of(header), cell.trim().is_empty()) {
                more.thresholds.push((which, number(header)?));
            }
        }
        _ if header.starts_with("__metadata:") => {
            let key = header.trim_start_matches("__metadata:");
            match key.strip_suffix("[]") {
                Some(key) => drop(row.metadata.insert(key.to_owned(), list(cell))),
                None => drop(row.metadata.insert(key.to_owned(), Value::from(cell))),
            }
        }
        _ => drop(row.vars.insert(header.to_owned(), Value::from(cell))),
    }
    Ok(())
}

/// Items between commas, of which `\,` is none.
fn list(cell: &str) -> Value {
    const ESCAPED: char = '\u{1}';
    let cell = cell.replace("\\,", &ESCAPED.to_string());
    let items = cell.split(',').map(|item| item.trim().replace(ESCAPED, ","));
    Value::from(items.filter(|item| !item.is_empty()).collect::<Vec<_>>())
}

/// The prompts of a table: its column `prompt`, or one in each line.
pub(super) fn prompts(path: &Path) -> Result<Vec<String>, SuiteError> {
    let source = Source::read(path, CASES_BYTES_MAX)?;
    let mut reader = reader(&source);
    let headers = reader.headers().map_err(|error| refused(&source, &error))?.clone();
    let Some(column) = headers.iter().position(|header| header.trim() == "prompt") else {
        return Ok(source.text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect());
    };
    let cells = reader.records().map(|record| {
        let record = record.map_err(|error| refused(&source, &error))?;
        Ok(record.get(column).unwrap_or_default().to_owned())
    });
    cells.collect()
}
