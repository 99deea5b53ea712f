//! Writes the files of what is new; what is there is never rewritten.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;

use crate::released::digest;
use crate::{Build, Released, ReleasedError};

/// What was written.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Written {
    /// Files that were missing, below the folder.
    pub files: Vec<String>,
    /// Files that the lock did not pin yet.
    pub pinned: Vec<String>,
}

/// The file of a version's schema, below `event-schemas/`.
#[must_use]
pub fn schema_path(name: &str, version: i16) -> String {
    let (category, event) = name.split_once('.').unwrap_or((name, ""));
    format!("{category}/{event}.v{version}.json")
}

/// The file of a version's sample, below `event-schemas/`.
#[must_use]
pub fn sample_path(name: &str, version: i16) -> String {
    format!("samples/{name}.v{version}.json")
}

/// JSON as the released files have it.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes the schemas of the build that have no file yet, the samples that are handed over and have none, and pins every
/// file that the lock does not know.
///
/// # Errors
/// Where a file can't be read or written; those before it are there then, and the next call goes on.
pub fn generate(build: &Build, samples: &[(String, i16, Value)], folder: &Path) -> Result<Written, ReleasedError> {
    let mut written = Written::default();
    let schemas = build.events.iter().map(|event| {
        let newest = event.lineage.newest;
        (schema_path(newest.name, newest.version), &event.schema)
    });
    let samples = samples.iter().map(|(name, version, payload)| (sample_path(name, *version), payload));
    for (path, content) in schemas.chain(samples) {
        let place = folder.join(&path);
        if !place.exists() {
            write(&place, &pretty(content))?;
            written.files.push(path);
        }
    }
    let released = Released::of_folder(folder)?;
    let mut lock = released.lock;
    for (path, text) in &released.files {
        if !lock.contains_key(path) {
            lock.insert(path.clone(), digest(text));
            written.pinned.push(path.clone());
        }
    }
    if !written.pinned.is_empty() {
        let lock = Value::from_iter(lock);
        write(&folder.join("lock.json"), &pretty(&lock))?;
    }
    Ok(written)
}

fn write(path: &Path, text: &str) -> Result<(), ReleasedError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    write().map_err(|source| ReleasedError::Unwritable { path: path.display().to_string(), source })
}
