//! What a configuration refers to: other files, patterns of file names, and its own `$ref`s.

use std::path::{Path, PathBuf};

use crate::suite::error::{Place, SuiteError};
use crate::suite::node::{Kind, Node};
use crate::suite::source::{CASES_BYTES_MAX, Format, Source};

/// The prefix of a reference to a file.
pub(super) const FILE: &str = "file://";
/// Most files that one pattern may stand for.
const FILES_MAX: usize = 1_000;
/// References inside of references.
const REFERENCES_DEPTH_MAX: usize = 8;

/// The document with each `$ref: "#/a/b"` replaced by what stands there.
pub(super) fn with_references(source: &Source, document: Node) -> Result<Node, SuiteError> {
    let whole = document.clone();
    resolved(source, document, &whole, 0)
}

fn resolved(source: &Source, node: Node, whole: &Node, depth: usize) -> Result<Node, SuiteError> {
    let place = node.place;
    if let Some(target) = reference(&node) {
        let found = target.strip_prefix("#/").and_then(|path| at(whole, path)).cloned();
        let found = found.filter(|_| depth < REFERENCES_DEPTH_MAX).ok_or_else(|| {
            let mend = "refer to a part of this file, such as \"#/assertionTemplates/short\"";
            source.error(place, format!("the reference {target:?} leads nowhere"), mend)
        })?;
        return resolved(source, found, whole, depth + 1);
    }
    let kind = match node.kind {
        Kind::List(items) => {
            Kind::List(items.into_iter().map(|item| resolved(source, item, whole, depth)).collect::<Result<_, _>>()?)
        }
        Kind::Table(mut entries) => {
            for entry in &mut entries {
                let value = std::mem::replace(&mut entry.value, Node { place, kind: Kind::Null });
                entry.value = resolved(source, value, whole, depth)?;
            }
            Kind::Table(entries)
        }
        kind => kind,
    };
    Ok(Node { place, kind })
}

fn reference(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Table(entries) => match entries.as_slice() {
            [entry] if entry.key == "$ref" => match &entry.value.kind {
                Kind::Text(target) => Some(target.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn at<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('/').try_fold(node, |node, key| match &node.kind {
        Kind::Table(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        _ => None,
    })
}

/// The files of a path or a pattern with `*`, beside the configuration; there has to be one.
pub(super) fn matching(
    source: &Source,
    place: Place,
    folder: &Path,
    written: &str,
) -> Result<Vec<PathBuf>, SuiteError> {
    let path = folder.join(written.strip_prefix(FILE).unwrap_or(written));
    let files = if written.contains('*') { globbed(&path) } else { vec![path.clone()] };
    if files.len() > FILES_MAX {
        let message = format!("{written:?} stands for {} files, and at most {FILES_MAX} are read", files.len());
        return Err(source.error(place, message, "choose fewer"));
    }
    match files.iter().find(|file| !file.is_file()) {
        None if !files.is_empty() => Ok(files),
        Some(_) | None => {
            let message = format!("there is no file {}", path.display());
            Err(source.error(place, message, "check the path; it is looked for beside the configuration"))
        }
    }
}

/// Files whose names match the last part of a pattern, sorted; `**` stands for folders.
fn globbed(pattern: &Path) -> Vec<PathBuf> {
    let parts: Vec<String> = pattern.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let mut found = vec![PathBuf::new()];
    for part in parts {
        found = found.into_iter().flat_map(|folder| step(&folder, &part)).take(FILES_MAX + 1).collect();
    }
    found.sort();
    found
}

fn step(folder: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains('*') {
        return vec![folder.join(part)];
    }
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    if part == "**" {
        let folders = names.map(|name| folder.join(name)).filter(|path| path.is_dir());
        let inner = folders.flat_map(|path| step(&path, part));
        return std::iter::once(folder.to_owned()).chain(inner).take(FILES_MAX + 1).collect();
    }
    names.filter(|name| fits(part, name)).map(|name| folder.join(name)).collect()
}

/// Whether a name is of a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// A file of JSON or YAML as nodes.
pub(super) fn document(path: &Path) -> Result<(Source, Node), SuiteError> {
    let source = Source::read(path, CASES_BYTES_MAX)?;
    let format = Format::of(path).unwrap_or(Format::Yaml);
    let node = source.document(format)?;
    Ok((source, node))
}

/// The extension of a path, in small letters.
pub(super) fn extension(path: &str) -> String {
    Path::new(path).extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default()
}
