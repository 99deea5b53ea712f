//! How well each item of a configuration is understood.

use serde::Serialize;

use crate::suite::error::{Place, SuiteError};

/// How an item stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It means the same here, or nearly; the note says what is different.
    Approximate,
    /// There is nothing like it here.
    Unsupported,
    /// It would run code or fetch something.
    Refused,
}

/// An item of which something is to be said; all others are exact.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Item {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where none is known.
    pub line: u64,
    /// The item, such as `defaultTest.options.prefix`.
    pub item: String,
    /// How it stands.
    pub standing: Standing,
    /// What is different, or why it can't be done.
    pub note: String,
}

/// What is to be said about a configuration.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    #[serde(skip)]
    file: String,
    /// The items.
    pub items: Vec<Item>,
}

impl Report {
    pub(super) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), items: Vec::new() }
    }

    pub(super) fn approximate(&mut self, place: Place, item: &str, note: impl Into<String>) {
        self.add(place, item, Standing::Approximate, note.into());
    }

    /// The same of another file.
    pub(super) fn approximate_in(&mut self, file: &str, place: Place, item: &str, note: impl Into<String>) {
        let own = std::mem::replace(&mut self.file, file.to_owned());
        self.approximate(place, item, note);
        self.file = own;
    }

    pub(super) fn unsupported(&mut self, place: Place, item: &str, note: impl Into<String>) {
        self.add(place, item, Standing::Unsupported, note.into());
    }

    pub(super) fn refused(&mut self, place: Place, item: &str, note: impl Into<String>) {
        self.add(place, item, Standing::Refused, note.into());
    }

    fn add(&mut self, place: Place, item: &str, standing: Standing, note: String) {
        let said = Item { file: self.file.clone(), line: place.line, item: item.to_owned(), standing, note };
        // A default is said once, however many tests have it.
        if !self.items.contains(&said) {
            self.items.push(said);
        }
    }

    /// The first item that can't be done here, as the error that stops a run.
    pub(super) fn first_obstacle(&self) -> Option<SuiteError> {
        let obstacles: Vec<&Item> = self.items.iter().filter(|item| item.standing != Standing::Approximate).collect();
        let first = obstacles.first()?;
        let more = match obstacles.len() - 1 {
            0 => String::new(),
            count => format!(" (and {count} more: `pcs suite check` shows all)"),
        };
        let what = if first.standing == Standing::Refused { "refused" } else { "not supported" };
        let message = format!("`{}` is {what}: {}{more}", first.item, first.note);
        let mend = "take it out, or leave such items out with --allow-unsupported";
        Some(SuiteError::of_file(&first.file, message, mend).at(Place::line(first.line)))
    }
}
