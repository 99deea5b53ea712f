//! The master keys: the first seals what is new, the others still open what they sealed before the last rotation.

use zeroize::Zeroizing;

use crate::key::Key;

/// Longest name of a master key, in characters; it is stored beside everything that the key wraps.
const NAME_CHARS_MAX: usize = 64;

/// Master keys by name, the one in use first. Written as one `<name> <64 hexadecimal digits>` a line (or separated by
/// commas); empty lines and lines that start with `#` do not count.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<(String, Key)>,
}

/// Why a text is not a ring of keys. It never quotes the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RingError {
    /// There is no key in it.
    #[error("there is no key in it; one is a name, a space and 64 hexadecimal digits")]
    Empty,
    /// A line is not a name and a key.
    #[error("key {number} is not a name, a space and 64 hexadecimal digits")]
    Malformed {
        /// Which one, from 1.
        number: usize,
    },
    /// Two keys have one name.
    #[error("two keys are called {name}")]
    Twice {
        /// The name.
        name: String,
    },
}

impl KeyRing {
    /// Reads a ring.
    ///
    /// # Errors
    /// [`RingError`] where the text is not one.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let mut keys: Vec<(String, Key)> = Vec::new();
        let lines = text.split(['\n', ',']).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (index, line) in lines.enumerate() {
            let malformed = || RingError::Malformed { number: index + 1 };
            let (name, digits) = line.split_once(char::is_whitespace).ok_or_else(malformed)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
                return Err(malformed());
            }
            let bytes = Zeroizing::new(hex::decode(digits.trim()).map_err(|_| malformed())?);
            let key = Key::from_bytes(&bytes).ok_or_else(malformed)?;
            if keys.iter().any(|(known, _)| known == name) {
                return Err(RingError::Twice { name: name.to_owned() });
            }
            keys.push((name.to_owned(), key));
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self { keys }) }
    }

    /// The line of a key, as a ring is written.
    #[must_use]
    pub fn line(name: &str, key: &Key) -> Zeroizing<String> {
        Zeroizing::new(format!("{name} {}", hex::encode(key.expose())))
    }

    /// The key in use, with its name. A ring has at least one.
    #[must_use]
    pub fn current(&self) -> (&str, &Key) {
        let (name, key) = &self.keys[0];
        (name, key)
    }

    /// The key of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|(known, _)| known == name).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

    #[test]
    fn the_first_key_is_in_use_and_the_others_are_kept() {
        for text in [format!("# ours\nb {TWO}\n\na {ONE}\n"), format!("b {TWO},a {ONE}")] {
            let ring = KeyRing::parse(&text).unwrap();
            assert_eq!((ring.current().0, ring.current().1.expose()), ("b", &[2; 32]));
            assert_eq!(ring.get("a").unwrap().expose(), &[1; 32]);
            assert!(ring.get("c").is_none());
        }
    }

    #[test]
    fn a_written_line_is_read_again() {
        let key = Key::random().unwrap();
        let ring = KeyRing::parse(&KeyRing::line("k1", &key)).unwrap();
        assert_eq!(ring.current().1.expose(), key.expose());
    }

    #[test]
    fn what_is_no_ring_is_refused_without_being_quoted() {
        assert_eq!(KeyRing::parse("# nothing\n").unwrap_err(), RingError::Empty);
        assert_eq!(
            KeyRing::parse(&format!("a {ONE}\na {TWO}")).unwrap_err(),
            RingError::Twice { name: "a".to_owned() }
        );
        for bad in [ONE.to_owned(), format!("a {}", &ONE[2..]), "a secret".to_owned(), format!("a/b {ONE}")] {
            let error = KeyRing::parse(&bad).unwrap_err();
            assert_eq!(error, RingError::Malformed { number: 1 }, "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
