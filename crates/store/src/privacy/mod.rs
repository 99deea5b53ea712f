//! Personal data: the fields that the schemas mark are sealed on their way into the log, and opened for those who ask.
//!
//! Writing: [`marking`] finds the marked fields of a payload by its schema, [`envelope`] seals them with the key of
//! their data subject; [`Store::append`] does it for every event, so no command can forget it. Reading: events, states
//! and read models hold what is sealed; [`Store::reveal`] opens it, for a command's decision or for an answer. A key is
//! wrapped by the master key of the [`KeySource`], kept in `es.subject_key`, believed for [`KEY_FRESH`] and destroyed
//! by [`Store::shred`]. Nothing else is deleted or rewritten: hashes are over what is sealed.

mod envelope;
mod error;
mod keys;
mod marking;
mod master;
mod reveal;
mod shred;
mod subjects;
mod writing;

pub use self::error::PrivacyError;
pub use self::keys::KEY_FRESH;
pub use self::master::{KeySource, KeyUse};
pub use self::shred::ShreddedSubject;
pub use self::subjects::{KnownSubject, SubjectEntry};

pub(crate) use self::envelope::sealed_for;
pub(crate) use self::keys::Keys;
pub(crate) use self::marking::Markings;
