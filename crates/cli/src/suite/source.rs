//! Reads the files of a suite: bounded in size, UTF-8, and refused with the exact byte where they are not.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::error::{Place, SuiteError};
use super::node::{self, Node};
use super::{json, yaml};

/// Largest suite file, in bytes.
pub(crate) const SUITE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest file of cases, in bytes.
pub(crate) const CASES_BYTES_MAX: usize = 256 * 1024 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text file and the name it has in messages.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file as the user named it.
    pub(crate) name: String,
    /// Its whole text, without a byte order mark.
    pub(crate) text: String,
}

/// How a file is written, by its extension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Yaml,
    Json,
    JsonLines,
    /// A table: only cases are written as one.
    Csv,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl Source {
    /// Reads a file of at most so many bytes.
    pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Self, SuiteError> {
        let name = path.display().to_string();
        let bytes = read_bounded(path, &name, bytes_max)?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(&name, &error))?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text);
        if let Some(offset) = text.find('\0') {
            let message = format!("the file holds a NUL character at byte {offset}");
            let mend = "take it out; a file full of them is UTF-16 or not a text: save it as UTF-8";
            return Err(SuiteError::of_file(name, message, mend).at(place_of(&text, offset)));
        }
        Ok(Self { name, text })
    }

    /// An error of this file.
    pub(crate) fn error(&self, place: Place, message: impl Into<String>, mend: impl Into<String>) -> SuiteError {
        SuiteError::of_file(&self.name, message, mend).at(place)
    }

    /// The file as one document.
    pub(crate) fn document(&self, format: Format) -> Result<Node, SuiteError> {
        let node = match format {
            Format::Yaml => yaml::parse(self)?,
            Format::Json | Format::JsonLines | Format::Csv => json::parse(self, &self.text, 1)?,
        };
        node::refuse_nul(self, &node)?;
        Ok(node)
    }
}

fn read_bounded(path: &Path, name: &str, bytes_max: usize) -> Result<Vec<u8>, SuiteError> {
    let file = File::open(path).map_err(|error| not_readable(name, &error))?;
    let metadata = file.metadata().map_err(|error| not_readable(name, &error))?;
    if metadata.is_dir() {
        return Err(SuiteError::of_file(name, "this is a folder, not a file", "name the file inside it"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a full file from one that is too large, pipes and devices included.
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| not_readable(name, &error))?;
    if bytes.len() > bytes_max {
        let found = metadata.len().max(limit);
        let message = format!("the file has {found} bytes, and at most {bytes_max} are allowed");
        return Err(SuiteError::of_file(name, message, "split it, or keep long texts in files of their own"));
    }
    Ok(bytes)
}

fn not_readable(name: &str, error: &std::io::Error) -> SuiteError {
    match error.kind() {
        ErrorKind::NotFound => SuiteError::of_file(name, "there is no such file", "check the path and its spelling"),
        ErrorKind::PermissionDenied => {
            SuiteError::of_file(name, "no permission to read the file", "give this user access to it")
        }
        ErrorKind::IsADirectory => SuiteError::of_file(name, "this is a folder, not a file", "name the file inside it"),
        // The many other kinds have no advice of their own: their text is the best there is.
        _ => SuiteError::of_file(name, format!("the file can't be read: {error}"), ""),
    }
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> SuiteError {
    let offset = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let before = &bytes[..offset];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    let found = bytes.get(offset).copied().unwrap_or_default();
    let message = format!("the file is not UTF-8: byte {offset} is 0x{found:02x}");
    SuiteError::of_file(name, message, "save it as UTF-8").at(place(line, column))
}

/// The place of a byte of a text.
pub(crate) fn place_of(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let start = before.rfind('\n').map_or(0, |index| index + 1);
    place(line, 1 + before[start..].chars().count())
}

fn place(line: usize, column: usize) -> Place {
    let wide = |number| u64::try_from(number).unwrap_or(u64::MAX);
    Place { line: wide(line), column: wide(column) }
}
