//! Writes the report to a file in one step: a reader finds the old file or the new one, never half of it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::format::Format;
use super::report::Report;
use crate::commands::exit::CliError;

/// Refuses a path that can't be written, before the run costs anything.
pub(super) fn check(path: &Path) -> Result<(), CliError> {
    let shown = path.display();
    if path.is_dir() || path.file_name().is_none() {
        return Err(CliError::usage(format!("{shown} is a folder"), "name a file in it"));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        let message = format!("{shown}: there is no folder {}", folder.display());
        return Err(CliError::usage(message, "create it, or name another file"));
    }
    // Trying is the only true answer to whether we may write there.
    let temporary = beside(path);
    File::create(&temporary).map_err(|error| {
        CliError::usage(format!("{shown} can't be written: {error}"), "give this user access, or name another file")
    })?;
    Ok(fs::remove_file(temporary)?)
}

pub(super) fn write(path: &Path, report: &Report) -> Result<(), CliError> {
    let temporary = beside(path);
    let written = fill(&temporary, Format::of(path), report).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The error itself matters more than a file that is left behind.
        drop(fs::remove_file(&temporary));
        let reason = format!("{} can't be written: {error}", path.display());
        return Err(CliError::System(reason));
    }
    Ok(())
}

/// Adds text to a file, which others may have begun, as CI does with its summaries.
pub(super) fn append(path: &Path, text: &str) -> Result<(), CliError> {
    let added =
        File::options().create(true).append(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    added.map_err(|error| CliError::System(format!("{} can't be written: {error}", path.display())))
}

fn fill(path: &Path, format: Format, report: &Report) -> std::io::Result<()> {
    let mut writer = BufWriter::new(File::create(path)?);
    format.write(&mut writer, report)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}.{}.tmp", std::process::id()))
}
