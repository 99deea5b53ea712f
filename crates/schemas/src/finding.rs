//! What a check found: the rule that is broken, the exact place, and what is wrong there.

use serde::Serialize;

/// The rules, by the names that `--json` prints.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A released file is what it was when it was released.
    Immutable,
    /// Every file is pinned by the lock, and the lock pins only files that are there.
    Locked,
    /// The program writes payloads of exactly the released schema.
    SchemaOfTheBuild,
    /// What was released can be read for ever.
    StillRead,
    /// A type's versions count from 1, and each stored name and version has one meaning.
    Versions,
    /// Every version has a sample, which is of its schema and can be read.
    Sample,
    /// A version that is read without a step of its own is compatible with the next one in both directions.
    Compatible,
    /// The steps from each former version make payloads of the newest schema.
    Upcast,
    /// The program can read what a database holds.
    Database,
    /// `<category>.<past tense>`, in `snake_case`.
    Name,
    /// Everything says what it is.
    Description,
    /// Money is a whole number of a named unit.
    Money,
    /// A field's name and its type belong together: `_id`, `_at`, `is_`.
    FieldType,
    /// Integers have a smallest and a largest value.
    Bounds,
}

impl Rule {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::Locked => "locked",
            Self::SchemaOfTheBuild => "schema_of_the_build",
            Self::StillRead => "still_read",
            Self::Versions => "versions",
            Self::Sample => "sample",
            Self::Compatible => "compatible",
            Self::Upcast => "upcast",
            Self::Database => "database",
            Self::Name => "name",
            Self::Description => "description",
            Self::Money => "money",
            Self::FieldType => "field_type",
            Self::Bounds => "bounds",
        }
    }
}

/// One broken rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// A file under `event-schemas/` or a type and version, and a JSON pointer into it where there is one.
    pub place: String,
    /// What is wrong, for a person.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(rule: Rule, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, place: place.into(), message: message.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.message, self.rule.name())
    }
}
