//! What can go wrong with personal data. No text quotes any of it.

use pcs_domain::ids::SubjectId;
use pcs_sealing::{RingError, SealError};
use uuid::Uuid;

/// Personal data could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// This process has no master key.
    #[error("no master key is set, so personal data can be neither kept nor read: set PCS_KEY_FILE or PCS_KEYS")]
    NoMasterKey,
    /// The file of master keys can't be read.
    #[error("the master keys can't be read from {path}: {source}; set PCS_KEY_FILE to the file that has them")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a ring of master keys.
    #[error("the master keys can't be used: {0}")]
    Ring(#[from] RingError),
    /// A key is wrapped by a master key that this process does not have.
    #[error(
        "a key is wrapped by the master key {name}, which this process does not have: add its line to PCS_KEY_FILE or \
         PCS_KEYS"
    )]
    UnknownMasterKey {
        /// Its name.
        name: String,
    },
    /// A subject's key is not in this database: it was not restored with the data.
    #[error("the key of data subject {subject} is not in this database: restore es.subject_key")]
    KeyMissing {
        /// The subject.
        subject: SubjectId,
    },
    /// The subject was shredded: nothing new is kept of them.
    #[error("data subject {subject} was shredded; nothing new is kept of them")]
    Shredded {
        /// The subject.
        subject: SubjectId,
    },
    /// Nothing was ever kept of such a subject.
    #[error("nothing was ever kept of this data subject")]
    UnknownSubject,
    /// What is sealed can't be opened: it was changed, or is not of this place.
    #[error("sealed data can't be opened: it was changed, or moved")]
    Cipher(#[from] SealError),
    /// Sealed fields claim to be of another event.
    #[error("the sealed fields of event {event} are those of another event or place")]
    Misplaced {
        /// The event that holds them.
        event: Uuid,
    },
    /// A payload that holds sealed, or shredded and yet filled, fields was about to be written: a bug.
    #[error("an event of type {event_type} can't be sealed at {place}: its fields are not in clear")]
    Unsealable {
        /// The type.
        event_type: String,
        /// The place in the payload.
        place: String,
    },
    /// Opened fields are not what the part that they are of takes.
    #[error("opened fields do not fit where they belong")]
    Unfitting,
}
