//! The name of a request: taken from the client where it is sane, made here otherwise.

use axum::http::HeaderMap;
use pcs_domain::ports::{IdSource, System};
use uuid::Uuid;

/// The header that carries it, in both directions.
pub(crate) const HEADER: &str = "x-request-id";
/// Longest id that is taken from a client.
const LEN_MAX: usize = 64;
/// Under which correlation ids are derived from request ids.
const CORRELATION: Uuid = Uuid::from_u128(0x5a2f_6e04_8c0b_4b6f_9d0e_7c53_1d1e_a001);

/// What everything that a request does carries: log lines, problems, events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The client's id, if it has one that is safe in a log line, else a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(|text| is_sane(text));
        Self(sent.map_or_else(|| System.next().simple().to_string(), str::to_owned))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id under which the request's events can be found.
    pub(crate) fn correlation_id(&self) -> Uuid {
        Uuid::new_v5(&CORRELATION, self.0.as_bytes())
    }
}

fn is_sane(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The client's W3C trace context, if it is well-formed (version 00).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let given = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        ["00", trace, parent, flags]
            if hex(trace, 32) && given(trace) && hex(parent, 16) && given(parent) && hex(flags, 2) =>
        {
            Some(text.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            axum::http::HeaderName::from_static(name),
            axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )])
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(RequestId::of(&headers(HEADER, "abc-DEF_1")).as_str(), "abc-DEF_1");
        for insane in ["", "a b", "a;b", "a\"b", "é", &"x".repeat(65)] {
            let made = RequestId::of(&headers(HEADER, insane));
            assert!(is_sane(made.as_str()) && made.as_str() != insane);
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }

    #[test]
    fn the_same_request_id_has_the_same_correlation_id() {
        let of = |text| RequestId::of(&headers(HEADER, text)).correlation_id();
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
    }

    #[test]
    fn only_a_well_formed_trace_context_is_passed_on() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&headers("traceparent", good)).as_deref(), Some(good));
        let zero = good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        for bad in ["", "00-x-y-z", &good.to_uppercase(), &good[1..], &zero, &format!("{good}-x")] {
            assert_eq!(traceparent(&headers("traceparent", bad)), None, "{bad}");
        }
    }
}
