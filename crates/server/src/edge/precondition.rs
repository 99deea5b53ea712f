//! `If-Match`: the revision that a client has seen, and that its command expects.

use axum::http::{HeaderMap, StatusCode, header};
use pcs_store::Expected;

use crate::problem::Problem;

/// What the request's `If-Match` expects; none without the header.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let invalid = || {
        let detail = "If-Match must be one ETag as it was sent, such as \"7\", or *";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_if_match", detail)
    };
    let text = value.to_str().map_err(|_| invalid())?.trim();
    if values.next().is_some() {
        return Err(invalid());
    }
    if text == "*" {
        return Ok(Some(Expected::Exists));
    }
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(invalid)?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let revision: i64 = digits.parse().ok().filter(|_| plain).ok_or_else(invalid)?;
    Ok(Some(Expected::Exact(revision)))
}

/// What the request's `If-Match` expects; a command that must not overwrite unseen changes requires one.
pub(crate) fn required(expected: Option<Expected>) -> Result<Expected, Problem> {
    expected.ok_or_else(|| {
        let detail =
            "send the ETag of the revision that you have seen as If-Match, so that no change of others is lost";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition_required", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Result<Option<Expected>, u16> {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, value.parse().unwrap())]);
        if_match(&headers).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn one_etag_or_a_star_is_taken() {
        assert_eq!(parsed("\"7\""), Ok(Some(Expected::Exact(7))));
        assert_eq!(parsed(" * "), Ok(Some(Expected::Exists)));
        assert!(matches!(if_match(&HeaderMap::new()), Ok(None)));
    }

    #[test]
    fn anything_else_is_refused() {
        for value in
            ["", "7", "\"\"", "\"-1\"", "\"+1\"", "W/\"7\"", "\"7\", \"8\"", "\"x\"", "\"99999999999999999999\""]
        {
            assert_eq!(parsed(value), Err(400), "{value}");
        }
    }

    #[test]
    fn without_one_a_change_is_refused() {
        assert_eq!(required(None).unwrap_err().status.as_u16(), 428);
        assert_eq!(required(Some(Expected::Exact(3))).unwrap(), Expected::Exact(3));
    }
}
