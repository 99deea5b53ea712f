//! Blackens credentials in messages: providers quote them in their errors, and messages are recorded for ever.

use crate::call::CallError;
use crate::config::Secret;

/// What stands in a credential's place.
const BLACKENED: &str = "[redacted]";
/// How the credentials of common providers begin.
const KEY_STARTS: [&str; 9] = ["sk-", "sk_", "AIza", "gsk_", "xai-", "hf_", "ghp_", "AKIA", "eyJ"];
/// Shorter words are names and not credentials.
const KEY_BYTES_MIN: usize = 12;

/// A shorter start of a credential says nothing.
const CUT_BYTES_MIN: usize = 4;

/// Knows the operator's credentials.
pub(crate) struct Redactor {
    secrets: Vec<Secret>,
}

impl Redactor {
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        Self { secrets: secrets.cloned().collect() }
    }

    pub(crate) fn clean(&self, error: CallError) -> CallError {
        let mut message = error.message;
        for secret in &self.secrets {
            message = message.replace(secret.expose(), BLACKENED);
            let rest = cut_off_start(&message, secret.expose());
            message.truncate(message.len() - rest);
        }
        CallError::new(error.class, blacken_words(&message)).with_retry_after(error.retry_after)
    }
}

/// How many bytes at the end of a message are the start of a credential: messages are cut wherever they are too long.
fn cut_off_start(message: &str, secret: &str) -> usize {
    let is_start = |bytes: &usize| secret.get(..*bytes).is_some_and(|start| message.ends_with(start));
    (CUT_BYTES_MIN..secret.len()).rev().find(is_start).unwrap_or(0)
}

/// Blackens each word that begins as credentials do, and each that follows `Bearer`.
fn blacken_words(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut after_bearer = false;
    for piece in message.split_inclusive(|c: char| !is_word(c)) {
        let word = piece.trim_end_matches(|c: char| !is_word(c));
        let is_key = word.len() >= KEY_BYTES_MIN && KEY_STARTS.iter().any(|start| word.starts_with(start));
        let is_black = is_key || (after_bearer && word.len() >= KEY_BYTES_MIN);
        out.push_str(if is_black { BLACKENED } else { word });
        out.push_str(&piece[word.len()..]);
        if !word.is_empty() {
            after_bearer = word.eq_ignore_ascii_case("bearer");
        }
    }
    out
}

/// The characters of credentials; a `*` because providers quote them half hidden.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::execution::FailureClass;

    #[test]
    fn credentials_are_blackened_and_the_rest_stays() {
        let secret = Secret::parse("hunter2hunter2").unwrap();
        let redactor = Redactor::new([&secret].into_iter());
        let message = "Incorrect API key provided: sk-proj-abc*****wxyz. Sent hunter2hunter2, \
                       Authorization: Bearer 0123456789abcdef; model sk-1 größer";
        let cleaned = redactor.clean(CallError::new(FailureClass::AuthFailed, message));
        let cut = redactor.clean(CallError::new(FailureClass::AuthFailed, "You sent hunter2hun"));
        assert_eq!(cut.message, "You sent ");
        assert_eq!(
            cleaned.message,
            "Incorrect API key provided: [redacted] Sent [redacted], Authorization: Bearer [redacted]; model sk-1 größer"
        );
    }
}
