//! What an API key looks like: `pcs_<prefix>_<secret><checksum>`, so that scanners find leaks and typos cost no look-up.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What every key starts with; secret scanners look for it.
pub const KEY_MARK: &str = "pcs_";
/// Hex digits that find the key's row; not secret.
const PREFIX_LEN: usize = 12;
/// Hex digits of the secret: two random UUIDs, 2 x 122 random bits.
const SECRET_LEN: usize = 64;
/// Hex digits of the checksum over all that is before it.
const CHECKSUM_LEN: usize = 8;

/// A key's text, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct KeyText<'a> {
    /// Finds the row.
    pub(crate) prefix: &'a str,
    /// Proves the right to use it.
    pub(crate) secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// Takes a text apart that has the form of a key and the right checksum.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(KEY_MARK)?;
        if !rest.is_ascii() || rest.len() != PREFIX_LEN + 1 + SECRET_LEN + CHECKSUM_LEN {
            return None;
        }
        let (prefix, rest) = rest.split_once('_')?;
        if prefix.len() != PREFIX_LEN || checksum(&text[..text.len() - CHECKSUM_LEN]) != rest[SECRET_LEN..] {
            return None;
        }
        Some(Self { prefix, secret: &rest[..SECRET_LEN] })
    }
}

/// The beginning of a key that is not secret, `pcs_` and its prefix; none of a text that has no such beginning.
#[must_use]
pub fn public_part(text: &str) -> Option<&str> {
    let (prefix, _) = text.strip_prefix(KEY_MARK)?.split_once('_')?;
    (prefix.len() == PREFIX_LEN).then(|| &text[..KEY_MARK.len() + PREFIX_LEN])
}

/// A fresh prefix for a key's id, and the key's text.
pub(crate) fn fresh(key_id: Uuid) -> (String, String) {
    let prefix = key_id.simple().to_string()[..PREFIX_LEN].to_owned();
    let body = format!("{KEY_MARK}{prefix}_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let text = format!("{body}{}", checksum(&body));
    (prefix, text)
}

/// What is kept of a secret.
pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn checksum(body: &str) -> String {
    hex::encode(&digest(body)[..CHECKSUM_LEN / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_recognised_and_no_two_are_alike() {
        let key_id = Uuid::new_v4();
        let (prefix, text) = fresh(key_id);
        let parsed = KeyText::parse(&text).unwrap();
        assert_eq!(parsed.prefix, prefix);
        assert_eq!(parsed.secret.len(), 64);
        assert_ne!(fresh(key_id).1, text);
    }

    #[test]
    fn the_public_part_of_a_key_is_its_beginning_without_the_secret() {
        let (prefix, text) = fresh(Uuid::new_v4());
        assert_eq!(public_part(&text), Some(format!("pcs_{prefix}").as_str()));
        for text in ["", "pcs_", "pcs_0123456789ab", "pcs_short_x", "sk-lf-1", "pcs_é_x"] {
            assert_eq!(public_part(text), None, "{text}");
        }
    }

    #[test]
    fn a_typo_is_found_without_a_look_up() {
        let (_, text) = fresh(Uuid::new_v4());
        for at in [4, 20, text.len() - 1] {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(KeyText::parse(&String::from_utf8(wrong).unwrap()), None);
        }
    }

    #[test]
    fn what_is_no_key_at_all_is_none() {
        for text in ["", "pcs_", "pcs__", "Bearer", "pcs_é", &"x".repeat(10_000), "pcs_0123456789ab_short"] {
            assert_eq!(KeyText::parse(text), None);
        }
        let unicode = format!("pcs_0123456789ab_{}é", "a".repeat(70));
        assert_eq!(KeyText::parse(&unicode), None);
    }
}
