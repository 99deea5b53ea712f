//! What a provider's refusal means: from an HTTP status or an error inside a stream to our classes of failures.

use pcs_domain::execution::FailureClass;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use time::OffsetDateTime;

use crate::call::CallError;
use crate::retry_after;

/// Longest piece of a provider's own words in a message, in bytes.
const WORDS_BYTES_MAX: usize = 1024;

/// Marks of a prompt that is longer than the context, as OpenAI, llama.cpp, Anthropic, Gemini and vLLM write them.
const OVERFLOW_MARKS: [&str; 6] = [
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "prompt is too long",
    "input token count",
    "context window",
];
/// Marks of a content filter, as OpenAI and Azure write them.
const FILTER_MARKS: [&str; 3] = ["content_filter", "content_policy_violation", "responsibleaipolicyviolation"];
/// Marks of a server that fails over the request's own syntax and calls it an error of its own (llama.cpp).
const SYNTAX_MARKS: [&str; 3] = ["parse_error", "parse error", "json.exception"];

/// The refusal of a whole request.
pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, body: &str, now: OffsetDateTime) -> CallError {
    let words = match serde_json::from_str::<Value>(body) {
        Ok(value) => words_of(&value),
        Err(_) => body.trim().to_owned(),
    };
    let message = match status.is_redirection() {
        true => format!("HTTP {}: redirects are not followed", status.as_u16()),
        false => format!("HTTP {}: {}", status.as_u16(), cut(&words)),
    };
    let class = class_of(status.as_u16(), body);
    let wait = match class {
        FailureClass::RateLimited | FailureClass::Overloaded => retry_after::read(headers, now),
        _ => None,
    };
    CallError::new(class, message).with_retry_after(wait)
}

/// An error that a provider reports within a stream that began well.
pub(crate) fn in_stream(error: &Value) -> CallError {
    let text = error.to_string().to_lowercase();
    let inner = error.get("error").unwrap_or(error);
    let status = ["code", "status"].iter().find_map(|key| inner.get(key)?.as_u64()).and_then(|s| u16::try_from(s).ok());
    let class = match status {
        Some(status @ 400..=599) => class_of(status, &text),
        _ if holds(&text, &["rate_limit", "resource_exhausted"]) => FailureClass::RateLimited,
        _ if holds(&text, &OVERFLOW_MARKS) => FailureClass::ContextOverflow,
        _ if holds(&text, &FILTER_MARKS) => FailureClass::ContentFiltered,
        _ if holds(&text, &["invalid_request"]) => FailureClass::BadRequest,
        _ if holds(&text, &["authentication_error", "permission_error"]) => FailureClass::AuthFailed,
        // The request was taken on and then failed: the provider's trouble, worth another attempt.
        _ => FailureClass::Overloaded,
    };
    CallError::new(class, format!("the provider reported an error within its answer: {}", cut(&words_of(error))))
}

fn class_of(status: u16, body: &str) -> FailureClass {
    let body = body.to_lowercase();
    match status {
        401 | 403 => FailureClass::AuthFailed,
        408 => FailureClass::Timeout,
        429 => FailureClass::RateLimited,
        // A lock on the provider's side.
        409 => FailureClass::Overloaded,
        500..=599 if holds(&body, &SYNTAX_MARKS) => FailureClass::BadRequest,
        500..=599 => FailureClass::Overloaded,
        _ if holds(&body, &OVERFLOW_MARKS) => FailureClass::ContextOverflow,
        _ if holds(&body, &FILTER_MARKS) => FailureClass::ContentFiltered,
        _ => FailureClass::BadRequest,
    }
}

fn holds(text: &str, marks: &[&str]) -> bool {
    marks.iter().any(|mark| text.contains(mark))
}

/// The sentence for a person in an error body, wherever the provider puts it.
fn words_of(body: &Value) -> String {
    let places = ["/error/message", "/message", "/error", "/detail"];
    let found = places.iter().find_map(|place| body.pointer(place)?.as_str());
    found.map_or_else(|| body.to_string(), str::to_owned)
}

fn cut(words: &str) -> &str {
    if words.is_empty() { "no reason given" } else { &words[..words.floor_char_boundary(WORDS_BYTES_MAX)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(status: u16, body: &str) -> FailureClass {
        of_status(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body, OffsetDateTime::UNIX_EPOCH).class
    }

    #[test]
    fn every_status_has_its_class() {
        let table = [
            (429, FailureClass::RateLimited),
            (500, FailureClass::Overloaded),
            (502, FailureClass::Overloaded),
            (503, FailureClass::Overloaded),
            (504, FailureClass::Overloaded),
            (529, FailureClass::Overloaded),
            (408, FailureClass::Timeout),
            (400, FailureClass::BadRequest),
            (404, FailureClass::BadRequest),
            (413, FailureClass::BadRequest),
            (422, FailureClass::BadRequest),
            (302, FailureClass::BadRequest),
            (401, FailureClass::AuthFailed),
            (403, FailureClass::AuthFailed),
        ];
        for (status, expected) in table {
            assert_eq!(class(status, "{}"), expected, "{status}");
        }
    }

    #[test]
    fn bodies_say_more_than_statuses() {
        let overflow = [
            r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
            r#"{"error":{"code":400,"type":"exceed_context_size_error","n_ctx":2048}}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
            r#"{"error":{"message":"The input token count (9) exceeds the maximum number of tokens allowed (8)."}}"#,
        ];
        for body in overflow {
            assert_eq!(class(400, body), FailureClass::ContextOverflow, "{body}");
        }
        assert_eq!(class(400, r#"{"error":{"code":"content_filter"}}"#), FailureClass::ContentFiltered);
        let syntax = r#"{"error":{"code":500,"message":"[json.exception.parse_error.101] parse error at line 1"}}"#;
        assert_eq!(class(500, syntax), FailureClass::BadRequest);
    }

    #[test]
    fn errors_within_a_stream_have_their_class_too() {
        let table = [
            (json!({ "type": "error", "error": { "type": "overloaded_error" } }), FailureClass::Overloaded),
            (json!({ "error": { "type": "rate_limit_error" } }), FailureClass::RateLimited),
            (json!({ "code": 429, "message": "slow down" }), FailureClass::RateLimited),
            (json!({ "error": { "code": 503, "status": "UNAVAILABLE" } }), FailureClass::Overloaded),
            (json!({ "code": "content_filter" }), FailureClass::ContentFiltered),
            (json!({ "type": "server_error", "message": "boom" }), FailureClass::Overloaded),
        ];
        for (body, expected) in table {
            assert_eq!(in_stream(&body).class, expected, "{body}");
        }
    }

    #[test]
    fn the_providers_sentence_is_what_a_person_reads() {
        let error = of_status(
            StatusCode::NOT_FOUND,
            &HeaderMap::new(),
            r#"{"error":{"message":"no such model","type":"x"}}"#,
            OffsetDateTime::UNIX_EPOCH,
        );
        assert_eq!(error.message, "HTTP 404: no such model");
    }
}
