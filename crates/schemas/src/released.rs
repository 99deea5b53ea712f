//! The released files: schemas, samples, and the lock that pins each by its digest.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The files as they were when this library was built.
const COMPILED_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/released_files.rs"));
/// The lock's name in the folder.
const LOCK: &str = "lock.json";
/// Folders below `event-schemas/`, from a category's to its files.
const DEPTH_MAX: usize = 4;

/// Why the released files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ReleasedError {
    /// A file or the folder can't be read.
    #[error("{path} can't be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is not JSON of the form that it should have.
    #[error("{path} is not of its format: {source}")]
    Format {
        /// Which.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file can't be written.
    #[error("{path} can't be written: {source}")]
    Unwritable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The name and version that a released file is for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SchemaName {
    /// Such as `prompt_card.revised`.
    pub name: String,
    /// From 1.
    pub version: i16,
}

impl SchemaName {
    /// Reads `prompt_card.revised.v2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, version) = text.rsplit_once(".v")?;
        let version = version.parse().ok().filter(|version| *version > 0)?;
        name.contains('.').then(|| Self { name: name.to_owned(), version })
    }

    fn of_schema(path: &str) -> Option<Self> {
        let (category, event) = path.strip_suffix(".json")?.split_once('/')?;
        (category != "samples").then(|| Self::parse(&format!("{category}.{event}")))?
    }

    fn of_sample(path: &str) -> Option<Self> {
        Self::parse(path.strip_prefix("samples/")?.strip_suffix(".json")?)
    }
}

impl std::fmt::Display for SchemaName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.v{}", self.name, self.version)
    }
}

/// The content of `event-schemas/`.
#[derive(Clone, Debug, Default)]
pub struct Released {
    /// Text by path below the folder, without the lock.
    pub(crate) files: BTreeMap<String, String>,
    /// Digest by path, as the lock has it.
    pub(crate) lock: BTreeMap<String, String>,
}

impl Released {
    /// Those that are part of this program.
    ///
    /// # Errors
    /// [`ReleasedError::Format`] where the program was built with a lock that is not a map of texts.
    pub fn compiled_in() -> Result<Self, ReleasedError> {
        let files = COMPILED_IN.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self::of_files(files.collect())
    }

    /// Those of a folder.
    ///
    /// # Errors
    /// Where the folder can't be read, or its lock is not a map of texts.
    pub fn of_folder(folder: &Path) -> Result<Self, ReleasedError> {
        let mut files = BTreeMap::new();
        collect(folder, folder, DEPTH_MAX, &mut files)?;
        Self::of_files(files)
    }

    fn of_files(mut files: BTreeMap<String, String>) -> Result<Self, ReleasedError> {
        let text = files.remove(LOCK).unwrap_or_else(|| "{}".to_owned());
        let lock =
            serde_json::from_str(&text).map_err(|source| ReleasedError::Format { path: LOCK.to_owned(), source })?;
        Ok(Self { files, lock })
    }

    /// The versions that have a schema, each with its file.
    pub fn schemas(&self) -> impl Iterator<Item = (SchemaName, &str)> {
        self.files.keys().filter_map(|path| Some((SchemaName::of_schema(path)?, path.as_str())))
    }

    /// The versions that have a sample, each with its file.
    pub fn samples(&self) -> impl Iterator<Item = (SchemaName, &str)> {
        self.files.keys().filter_map(|path| Some((SchemaName::of_sample(path)?, path.as_str())))
    }

    /// Every version that the lock or a file speaks of.
    pub(crate) fn names(&self) -> std::collections::BTreeSet<SchemaName> {
        let of = |path: &String| SchemaName::of_schema(path).or_else(|| SchemaName::of_sample(path));
        self.lock.keys().chain(self.files.keys()).filter_map(of).collect()
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The schema of a name and version; none where there is no such file or it is not JSON.
    #[must_use]
    pub fn schema(&self, name: &str, version: i16) -> Option<Value> {
        serde_json::from_str(self.text(&crate::schema_path(name, version))?).ok()
    }
}

/// The digest that the lock keeps.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), ReleasedError> {
    let unreadable = |path: &Path, source| ReleasedError::Unreadable { path: path.display().to_string(), source };
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        if path.is_dir() {
            if depth > 0 {
                collect(root, &path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.insert(name, text);
        }
    }
    Ok(())
}
