//! The sets of tables that a projection may have: the one that is read, one that is built, and the one before.

/// Which set of a projection's tables is meant.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Generation {
    /// What people read.
    Live,
    /// Built anew beside the living one, and not read yet.
    Next,
    /// What was live before the last promotion; it stands still until it is rolled back to, or dropped.
    Old,
}

impl Generation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Next, Self::Old];

    /// Its name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Next => "next",
            Self::Old => "old",
        }
    }

    /// The schema of its tables. A fold names its tables without one, and finds them by the transaction's search path.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Self::Live => "read",
            Self::Next => "read_next",
            Self::Old => "read_old",
        }
    }

    /// The generation with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generation| generation.name() == name)
    }
}
