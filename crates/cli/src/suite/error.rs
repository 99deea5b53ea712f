//! One mistake in a suite: where it is, what is wrong, and how to mend it.

use std::fmt;

/// A place in a text file; both numbers start at 1, and a column of 0 is not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The line, from 1; 0 where none is known.
    pub line: u64,
    /// The column in characters, from 1; 0 where none is known.
    pub column: u64,
}

impl Place {
    /// The start of a line.
    #[must_use]
    pub fn line(line: u64) -> Self {
        Self { line, column: 0 }
    }
}

/// Why a suite can't run; nothing was sent to the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SuiteError {
    /// The file as the user named it.
    pub file: String,
    /// Where in the file, as far as it is known.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl SuiteError {
    /// A mistake of a whole file.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { file: file.into(), place: Place::default(), message: message.into(), mend: mend.into() }
    }

    /// The same mistake, found at a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.place.line > 0 {
            write!(f, ":{}", self.place.line)?;
        }
        if self.place.column > 0 {
            write!(f, ":{}", self.place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if self.mend.is_empty() { Ok(()) } else { write!(f, "\n  mend: {}", self.mend) }
    }
}

impl std::error::Error for SuiteError {}
