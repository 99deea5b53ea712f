//! Signatures: what a holder of a master key says, and anybody can check with the public key alone.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::SealError;
use crate::key::Key;

/// What the signing key is derived for.
const PURPOSE: &str = "pcs signatures v1";

/// Signs for all holders of one master key.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The signer of a master key: derived, so that every process that has the master key signs alike.
    ///
    /// # Errors
    /// Where the library fails.
    pub fn of_master(master: &Key) -> Result<Self, SealError> {
        Ed25519KeyPair::from_seed_unchecked(master.derive(PURPOSE).expose()).map(Self).map_err(|_| SealError)
    }

    /// The public key, in hexadecimal.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex::encode(self.0.public_key().as_ref())
    }

    /// The Ed25519 signature of bytes, in hexadecimal.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.sign(bytes).as_ref())
    }
}

/// Whether a signature is of these bytes by the holder of this public key; both in hexadecimal.
#[must_use]
pub fn is_signed(public_key: &str, bytes: &[u8], signature: &str) -> bool {
    let (Ok(key), Ok(signature)) = (hex::decode(public_key), hex::decode(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(bytes, &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_these_bytes_by_this_key_and_no_other() {
        let master = Key::from_bytes(&[7; 32]).unwrap();
        let (signer, again) = (Signer::of_master(&master).unwrap(), Signer::of_master(&master).unwrap());
        let other = Signer::of_master(&Key::from_bytes(&[8; 32]).unwrap()).unwrap();
        let signature = signer.sign(b"passed");
        assert_eq!(signer.public_key(), again.public_key());
        assert!(is_signed(&again.public_key(), b"passed", &signature));
        assert!(!is_signed(&signer.public_key(), b"failed", &signature));
        assert!(!is_signed(&other.public_key(), b"passed", &signature));
        for garbage in ["", "zz", "00", &signature[2..]] {
            assert!(!is_signed(&signer.public_key(), b"passed", garbage));
            assert!(!is_signed(garbage, b"passed", &signature));
        }
    }
}
