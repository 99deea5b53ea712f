//! A secret of 32 bytes: seals and opens bytes, derives other keys, and makes digests that nobody else can guess.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::SealError;

/// Length of every key, in bytes.
pub const KEY_BYTES: usize = 32;
/// The first byte of what is sealed: AES-256-GCM-SIV with a random nonce behind it. Another way gets another number.
const FORMAT: u8 = 1;

/// A secret key. It is wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// A fresh key.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(bytes.as_mut()).map_err(|_| SealError)?;
        Ok(Self(bytes))
    }

    /// The key of these bytes; none where they are not [`KEY_BYTES`] many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        Some(Self(Zeroizing::new(bytes)))
    }

    /// Its bytes, to be wrapped by another key or written into a key file.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key for one purpose: who has it can't get at this one, nor at those of other purposes.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self(Zeroizing::new(self.digest(purpose.as_bytes())))
    }

    /// A digest that only holders of the key can compute: equal for equal bytes, and no help in guessing them.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> [u8; KEY_BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref());
        let mut digest = [0; KEY_BYTES];
        digest.copy_from_slice(hmac::sign(&key, bytes).as_ref());
        digest
    }

    /// Seals bytes for a place; only the same key at the same place opens them. The same bytes never look the same
    /// twice.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn seal(&self, place: &[u8], bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError)?;
        self.seal_with(nonce, place, bytes)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], place: &[u8], bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut inside = Zeroizing::new(bytes.to_vec());
        let nonced = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher()?.seal_in_place_separate_tag(nonced, Aad::from(place), &mut inside);
        let tag = tag.map_err(|_| SealError)?;
        Ok([&[FORMAT], nonce.as_slice(), inside.as_slice(), tag.as_ref()].concat())
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    /// [`SealError`] for another key, another place or changed bytes.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError)?;
        if *format != FORMAT || rest.len() < NONCE_LEN {
            return Err(SealError);
        }
        let (nonce, inside) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut inside = Zeroizing::new(inside.to_vec());
        let len = self.cipher()?.open_in_place(nonce, Aad::from(place), &mut inside).map_err(|_| SealError)?.len();
        inside.truncate(len);
        Ok(inside)
    }

    /// As [`Self::seal`], as text (base64).
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_text(&self, place: &[u8], bytes: &[u8]) -> Result<String, SealError> {
        Ok(STANDARD_NO_PAD.encode(self.seal(place, bytes)?))
    }

    /// Opens what [`Self::seal_text`] made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_text(&self, place: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.open(place, &STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError)?)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, self.0.as_ref()).map_err(|_| SealError)?;
        Ok(LessSafeKey::new(key))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_bytes(&[byte; KEY_BYTES]).unwrap()
    }

    #[test]
    fn it_is_the_cipher_that_its_name_says() {
        // RFC 8452, appendix C.2: AES-256-GCM-SIV with 8 bytes of text and 1 byte beside it.
        let key = Key::from_bytes(&{
            let mut bytes = [0; KEY_BYTES];
            bytes[0] = 1;
            bytes
        });
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = 3;
        let sealed = key.unwrap().seal_with(nonce, &[1], &hex::decode("0200000000000000").unwrap()).unwrap();
        assert_eq!(hex::encode(&sealed[1 + NONCE_LEN..]), "1de22967237a813291213f267e3b452f02d01ae33e4ec854");
    }

    #[test]
    fn only_the_same_key_at_the_same_place_opens() {
        let sealed = key(1).seal(b"here", b"Ada").unwrap();
        assert_eq!(key(1).open(b"here", &sealed).unwrap().as_slice(), b"Ada");
        assert_eq!(key(2).open(b"here", &sealed), Err(SealError));
        assert_eq!(key(1).open(b"there", &sealed), Err(SealError));
        assert!(!sealed.windows(3).any(|bytes| bytes == b"Ada"));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = key(1).seal(b"here", b"some text").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(key(1).open(b"here", &changed), Err(SealError), "byte {place}");
            assert_eq!(key(1).open(b"here", &sealed[..place]), Err(SealError), "cut at {place}");
        }
    }

    #[test]
    fn equal_bytes_never_look_the_same() {
        assert_ne!(key(1).seal(b"", b"x").unwrap(), key(1).seal(b"", b"x").unwrap());
        assert_ne!(Key::random().unwrap().expose(), Key::random().unwrap().expose());
    }

    #[test]
    fn text_is_opened_as_it_was_sealed() {
        let sealed = key(1).seal_text(b"p", "Zoë".as_bytes()).unwrap();
        assert_eq!(key(1).open_text(b"p", &sealed).unwrap().as_slice(), "Zoë".as_bytes());
        assert_eq!(key(1).open_text(b"p", "not base64!"), Err(SealError));
    }

    #[test]
    fn derived_keys_and_digests_differ_by_purpose_and_key() {
        assert_ne!(key(1).derive("a").expose(), key(1).derive("b").expose());
        assert_ne!(key(1).digest(b"x"), key(2).digest(b"x"));
        assert_eq!(key(1).digest(b"x"), key(1).digest(b"x"));
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key(7)), "Key");
    }
}
