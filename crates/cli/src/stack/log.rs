//! Keeps the log file of one server: opens it for the child, bounds it, and reads its end for error messages.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::StackError;

/// A log above this size is set aside (one old file is kept) at the next start of its server.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of the end of a log is read to explain a failure.
const TAIL_BYTES_MAX: u64 = 16 * 1024;
/// How many lines of it are shown.
const TAIL_LINES_MAX: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct ServerLog {
    pub(super) path: PathBuf,
    /// Where the present run began: older lines would explain the wrong failure.
    run_began_at: u64,
}

impl ServerLog {
    /// Opens the log for one run; the returned file becomes the child's output.
    pub(super) fn open(path: &Path) -> Result<(Self, File), StackError> {
        let fail = |source| StackError::file("open the log", path, source);
        if fs::metadata(path).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
            fs::rename(path, path.with_extension("log.old")).map_err(fail)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        let run_began_at = file.metadata().map_err(fail)?.len();
        Ok((Self { path: path.to_owned(), run_began_at }, file))
    }

    /// What the present run wrote last; empty when the log cannot be read, since this only serves error messages.
    pub(super) fn tail(&self) -> String {
        let Ok(mut file) = File::open(&self.path) else {
            return String::new();
        };
        let length = file.metadata().map_or(0, |file| file.len());
        let from = self.run_began_at.max(length.saturating_sub(TAIL_BYTES_MAX));
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(from)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The last lines of a text, indented for an error message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(TAIL_LINES_MAX)..];
    if shown.is_empty() {
        return "  (nothing was logged)".to_owned();
    }
    shown.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_shown() {
        let text = (0..40).map(|number| format!("line {number}\n\n")).collect::<String>();
        let shown = last_lines(&text);
        assert_eq!(shown.lines().count(), TAIL_LINES_MAX);
        assert!(shown.ends_with("  line 39"));
        assert_eq!(last_lines(" \n"), "  (nothing was logged)");
    }

    #[test]
    fn the_tail_holds_only_the_present_run() {
        let path = std::env::temp_dir().join(format!("pcs-log-{}.log", uuid::Uuid::new_v4().simple()));
        fs::write(&path, "old run\n").unwrap();
        let (log, mut file) = ServerLog::open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"new run\n").unwrap();
        assert_eq!(log.tail(), "new run\n");
        fs::remove_file(path).unwrap();
    }
}
