//! The cryptography of personal data, and nothing else: keys, sealed bytes, rings of master keys, worker sessions.
//!
//! [`Key`] seals bytes for one purpose and place (the associated data). [`KeyRing`] holds the master keys that wrap the
//! keys of data subjects. [`Hello`] and [`Session`] hide what a worker and a relay tell each other about a subject from
//! everybody who listens on the broker. [`Signer`] lets others check what a holder of a master key said. What is sealed, and when, is decided elsewhere (`crates/store/src/privacy`).

mod key;
mod ring;
mod session;
mod signing;

pub use self::key::{KEY_BYTES, Key};
pub use self::ring::{KeyRing, RingError};
pub use self::session::{Hello, Session, relay_public_key};
pub use self::signing::{Signer, is_signed};

/// Sealed bytes could not be opened, or nothing could be sealed. It says no more on purpose: a wrong key, a wrong place
/// and a changed byte must look the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it can't be opened with this key at this place")]
pub struct SealError;
