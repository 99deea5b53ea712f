//! What a look through the archive found wrong, with its place.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArchiveFinding {
    /// The partition.
    pub number: i64,
    /// The address of the object.
    pub object: String,
    /// The positions of the first and last event that it is about; none where it is about the whole object.
    pub positions: Option<(i64, i64)>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ArchiveFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.positions {
            Some((first, last)) if first == last => write!(f, "event {first} in {}: {}", self.object, self.what),
            Some((first, last)) => write!(f, "events {first} to {last} in {}: {}", self.object, self.what),
            None => write!(f, "{}: {}", self.object, self.what),
        }
    }
}
