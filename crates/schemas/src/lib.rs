//! The released schemas of events: what is frozen, what may change, and what a person reads about it.
//!
//! [`Released`] holds the files of `event-schemas/`, and [`Build`] what this program writes and reads. [`check`]
//! compares the two and names each place where events that are stored, or the readers of events that will be, would be
//! broken. [`diff`] tells two versions apart, [`lint`] holds the conventions, [`catalogue`] is the page for people, and
//! [`generate`] writes the files of what is new. Nothing here changes a file that was released.

mod build;
mod catalogue;
mod check;
mod compatibility;
mod difference;
mod field;
mod finding;
mod instances;
mod lint;
mod released;
mod write;

pub use self::build::{Build, BuiltEvent};
pub use self::catalogue::catalogue;
pub use self::check::{Checked, check};
pub use self::compatibility::{Incompatible, refusals};
pub use self::difference::{Change, Difference, diff};
pub use self::field::{Field, fields};
pub use self::finding::{Finding, Rule};
pub use self::instances::Instances;
pub use self::lint::lint;
pub use self::released::{Released, ReleasedError, SchemaName};
pub use self::write::{Written, generate, sample_path, schema_path};
