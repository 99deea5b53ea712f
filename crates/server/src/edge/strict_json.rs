//! JSON as the API takes it: one object without duplicate keys, NUL characters, deep nesting or numbers that would change.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use axum::http::StatusCode;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::problem::Problem;

/// Deepest nesting of a body; what is deeper is an attack or a mistake.
const DEPTH_MAX: usize = 32;

/// Reads a body strictly; the problem tells the field and the reason.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    check(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let body = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = field_of(&error.path().to_string(), error.inner());
        Problem::unprocessable("invalid_body", "the body is not what this route takes")
            .field(field, reason(error.inner()))
    })?;
    Ok(body)
}

/// Checks what types can't say, over the whole body and whatever fields it has.
fn check(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let detail = "the body must be a JSON object";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail));
    }
    if let Some(number) = unsafe_number(bytes) {
        let detail = format!("the number {number} can't be kept as it is; send it as a string");
        return Err(Problem::unprocessable("number_out_of_range", detail));
    }
    let fault = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let checked = Checked { depth: 0, fault: &fault }.deserialize(tracked).and_then(|()| reader.end());
    let Err(error) = checked else {
        return Ok(());
    };
    let path = track.path().to_string();
    Err(match fault.into_inner() {
        Some(Fault { code, message }) => {
            Problem::unprocessable(code, "the body is not acceptable").field(top(&path), message)
        }
        None => Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}")),
    })
}

/// A field's path; the whole body's is empty.
fn top(path: &str) -> &str {
    if path == "." { "" } else { path }
}

/// The path of the field that an error is about: serde names a missing or an unknown field in its text only.
fn field_of(path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let named = ["missing field `", "unknown field `"].iter().find_map(|mark| {
        let name = text.split_once(mark)?.1;
        name.split_once('`').map(|(name, _)| name)
    });
    match (top(path), named) {
        (path, None) => path.to_owned(),
        ("", Some(name)) => name.to_owned(),
        (path, Some(name)) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
    }
}

/// serde's text without the place in the file, which the path says better.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

/// The first integer that no 64 bits hold: it would silently become a rounded floating-point number.
fn unsafe_number(bytes: &[u8]) -> Option<String> {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = &bytes[at..];
                let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let len = rest.iter().position(|byte| !number(byte)).unwrap_or(rest.len());
                let text = String::from_utf8_lossy(&rest[..len]);
                let integer = !text.contains(['.', 'e', 'E']);
                if integer && text.parse::<u64>().is_err() && text.parse::<i64>().is_err() && len > 18 {
                    return Some(text.chars().take(40).collect());
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    None
}

fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// What is wrong, said beside serde's own error, which only carries text.
struct Fault {
    code: &'static str,
    message: String,
}

/// Reads any value and keeps nothing.
#[derive(Clone, Copy)]
struct Checked<'a> {
    depth: usize,
    fault: &'a RefCell<Option<Fault>>,
}

impl Checked<'_> {
    fn refuse<E: de::Error>(&self, code: &'static str, message: String) -> E {
        let error = E::custom(&message);
        self.fault.replace(Some(Fault { code, message }));
        error
    }

    fn text<E: de::Error>(&self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            let message = "holds a NUL character (\\u0000); take it out".to_owned();
            return Err(self.refuse("nul_character", message));
        }
        Ok(())
    }

    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            let message = format!("is nested more than {DEPTH_MAX} levels deep");
            return Err(self.refuse("nested_too_deep", message));
        }
        Ok(Self { depth: self.depth + 1, fault: self.fault })
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while items.next_element_seed(deeper)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.text(&key)?;
            if keys.contains(&key) {
                return Err(self.refuse("duplicate_key", format!("has the key {key:?} twice")));
            }
            keys.insert(key);
            entries.next_value_seed(deeper)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::{Map, Value};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        free: Map<String, Value>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: Vec<u32>,
    }

    fn refusal(text: &str) -> (u16, &'static str, String) {
        let problem = from_slice::<Sample>(text.as_bytes()).unwrap_err();
        let field = problem.errors.first().map(|error| error.field.clone()).unwrap_or_default();
        (problem.status.as_u16(), problem.code, field)
    }

    #[test]
    fn a_good_body_is_read() {
        let sample: Sample =
            from_slice(br#" {"name": "a\\\"\u00e9", "inner": {"count": [1]}, "free": {"x": -1.5e3, "n": null}} "#)
                .unwrap();
        assert_eq!(sample.name, "a\\\"é");
        assert_eq!(sample.inner.unwrap().count, [1]);
        assert_eq!(sample.free.len(), 2);
    }

    #[test]
    fn what_is_not_an_object_is_malformed() {
        for text in [
            "",
            "  ",
            "[]",
            "[\"a\",1]",
            "\"a\"",
            "1",
            "null",
            "{",
            "{} {}",
            "{\"name\": 1e400}",
            "{\"a\":\"\\ud800\"}",
        ] {
            assert_eq!((refusal(text).0, refusal(text).1), (400, "malformed_json"), "{text}");
        }
    }

    #[test]
    fn the_field_and_the_reason_are_told() {
        assert_eq!(refusal("{}"), (422, "invalid_body", "name".into()));
        assert_eq!(refusal(r#"{"name": "a", "x": 1}"#), (422, "invalid_body", "x".into()));
        assert_eq!(refusal(r#"{"name": 1}"#), (422, "invalid_body", "name".into()));
        assert_eq!(refusal(r#"{"name":"a","inner":{"count":[1,-1]}}"#), (422, "invalid_body", "inner.count[1]".into()));
        assert_eq!(refusal(r#"{"name":"a","inner":{}}"#), (422, "invalid_body", "inner.count".into()));
        let problem = from_slice::<Sample>(br#"{"name": "a", "x": 1}"#).unwrap_err();
        assert_eq!(problem.errors[0].message, "unknown field `x`, expected one of `name`, `inner`, `free`");
    }

    #[test]
    fn duplicate_keys_are_refused_also_where_the_body_is_free() {
        assert_eq!(refusal(r#"{"name":"a","name":"b"}"#).1, "duplicate_key");
        assert_eq!(refusal(r#"{"name":"a","free":{"k":{"z":1,"z":1}}}"#), (422, "duplicate_key", "free.k".into()));
    }

    #[test]
    fn nul_characters_are_refused_in_strings_and_keys() {
        assert_eq!(refusal("{\"name\":\"a\\u0000\"}"), (422, "nul_character", "name".into()));
        assert_eq!(
            refusal("{\"name\":\"a\",\"free\":{\"x\":[\"\\u0000\"]}}"),
            (422, "nul_character", "free.x[0]".into())
        );
        assert_eq!(refusal("{\"name\":\"a\",\"free\":{\"\\u0000\":1}}").1, "nul_character");
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested =
            |depth: usize| format!("{{\"name\":\"a\",\"free\":{{\"x\":{}{}}}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(from_slice::<Sample>(nested(DEPTH_MAX - 2).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(DEPTH_MAX - 1)).1, "nested_too_deep");
        assert!(matches!(refusal(&nested(100_000)).0, 400 | 422));
    }

    #[test]
    fn numbers_that_would_be_rounded_are_refused() {
        for number in ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"] {
            assert_eq!(refusal(&format!("{{\"name\":\"a\",\"free\":{{\"x\":{number}}}}}")).1, "number_out_of_range");
        }
        for number in ["18446744073709551615", "-9223372036854775808", "1e300", "0.1", "-0"] {
            assert!(from_slice::<Sample>(format!("{{\"name\":\"a\",\"free\":{{\"x\":{number}}}}}").as_bytes()).is_ok());
        }
        assert!(from_slice::<Sample>(br#"{"name":"123456789012345678901234567890 \" 99999999999999999999"}"#).is_ok());
    }
}
