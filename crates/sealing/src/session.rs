//! What a worker and a relay say about a data subject, hidden from others on the broker: one handshake for each case.
//!
//! The worker sends a fresh public key with its question. The relay's secret is derived from the master key, so that
//! every relay can open what was sealed for another one, and keeps nothing about the worker.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

use crate::SealError;
use crate::key::{KEY_BYTES, Key};

/// What the relay's secret is derived for.
const RELAY_PURPOSE: &str = "pcs worker session v1";
/// The salt of what both sides compute.
const SALT: [u8; KEY_BYTES] = *b"pcs worker session v1, x25519   ";

/// A worker's side, before it has an answer.
pub struct Hello {
    secret: PrivateKey,
    public: [u8; KEY_BYTES],
}

/// Both directions of one handshake.
#[derive(Clone, Debug)]
pub struct Session {
    answer: Key,
    report: Key,
}

impl Hello {
    /// A fresh secret.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new() -> Result<Self, SealError> {
        let secret = PrivateKey::generate(&X25519).map_err(|_| SealError)?;
        Ok(Self { public: public_of(&secret)?, secret })
    }

    /// What the worker sends: its public key, in hexadecimal.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex::encode(self.public)
    }

    /// The session with a relay whose public key this is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn meet(&self, relay: &str) -> Result<Session, SealError> {
        let relay = read(relay)?;
        Session::agree(&self.secret, &relay, &self.public, &relay)
    }
}

/// The public key of the relays that have this master key, in hexadecimal.
///
/// # Errors
/// Where the library fails.
pub fn relay_public_key(master: &Key) -> Result<String, SealError> {
    Ok(hex::encode(public_of(&relay_secret(master)?)?))
}

impl Session {
    /// The relay's side: the session with the worker whose public key this is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn with_worker(master: &Key, worker: &str) -> Result<Self, SealError> {
        let secret = relay_secret(master)?;
        let (worker, relay) = (read(worker)?, public_of(&secret)?);
        Self::agree(&secret, &worker, &worker, &relay)
    }

    fn agree(
        mine: &PrivateKey,
        theirs: &[u8; KEY_BYTES],
        worker: &[u8; KEY_BYTES],
        relay: &[u8; KEY_BYTES],
    ) -> Result<Self, SealError> {
        let salt = Key::from_bytes(&SALT).ok_or(SealError)?;
        let theirs = UnparsedPublicKey::new(&X25519, theirs.as_slice());
        let shared = agree(mine, theirs, SealError, |secret| {
            // The public keys are part of it, so that a session is of these two only.
            let all = Zeroizing::new([secret, worker.as_slice(), relay.as_slice()].concat());
            Key::from_bytes(&salt.digest(&all)).ok_or(SealError)
        })?;
        Ok(Self { answer: shared.derive("answer"), report: shared.derive("report") })
    }

    /// Seals what the relay answers.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn seal_answer(&self, place: &[u8], bytes: &[u8]) -> Result<String, SealError> {
        self.answer.seal_text(place, bytes)
    }

    /// Opens what the relay answered.
    ///
    /// # Errors
    /// Where it is not of this session and place.
    pub fn open_answer(&self, place: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.answer.open_text(place, sealed)
    }

    /// Seals what the worker reports.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn seal_report(&self, place: &[u8], bytes: &[u8]) -> Result<String, SealError> {
        self.report.seal_text(place, bytes)
    }

    /// Opens what the worker reported.
    ///
    /// # Errors
    /// Where it is not of this session and place.
    pub fn open_report(&self, place: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.report.open_text(place, sealed)
    }
}

fn relay_secret(master: &Key) -> Result<PrivateKey, SealError> {
    PrivateKey::from_private_key(&X25519, master.derive(RELAY_PURPOSE).expose()).map_err(|_| SealError)
}

fn public_of(secret: &PrivateKey) -> Result<[u8; KEY_BYTES], SealError> {
    let public = secret.compute_public_key().map_err(|_| SealError)?;
    public.as_ref().try_into().map_err(|_| SealError)
}

fn read(public: &str) -> Result<[u8; KEY_BYTES], SealError> {
    hex::decode(public).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(SealError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_and_relay_understand_each_other_and_nobody_else_does() {
        let (master, other) = (Key::random().unwrap(), Key::random().unwrap());
        let (hello, stranger) = (Hello::new().unwrap(), Hello::new().unwrap());
        let relay = Session::with_worker(&master, &hello.public_key()).unwrap();
        let worker = hello.meet(&relay_public_key(&master).unwrap()).unwrap();
        let answer = relay.seal_answer(b"cell", b"Ada").unwrap();
        assert_eq!(worker.open_answer(b"cell", &answer).unwrap().as_slice(), b"Ada");
        let report = worker.seal_report(b"cell", b"Hello Ada").unwrap();
        assert_eq!(relay.open_report(b"cell", &report).unwrap().as_slice(), b"Hello Ada");
        // Not the other direction, not another place, not another worker, not another relay.
        assert!(relay.open_report(b"cell", &answer).is_err());
        assert!(worker.open_answer(b"other cell", &answer).is_err());
        assert!(stranger.meet(&relay_public_key(&master).unwrap()).unwrap().open_answer(b"cell", &answer).is_err());
        assert!(Session::with_worker(&other, &hello.public_key()).unwrap().open_report(b"cell", &report).is_err());
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for bad in ["", "00", "zz", &"0".repeat(64)] {
            assert!(Hello::new().unwrap().meet(bad).is_err(), "{bad}");
        }
    }
}
