//! Who sends a request: one `Authorization` header, and one answer for everything that is wrong with it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pcs_auth::{Authenticator, KEY_MARK, Principal, public_part};

use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::state::AppState;

/// What the layer needs.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Arc<Metrics>,
}

impl Gate {
    pub(crate) fn of(state: &AppState) -> Self {
        Self { authenticator: state.authenticator().clone(), metrics: state.metrics().clone() }
    }

    /// Whose key this is; none where there is none, or where it is nobody's.
    async fn known(&self, key: Option<&str>) -> Result<Option<Principal>, Problem> {
        match key {
            Some(key) => Ok(self.authenticator.verify(key).await?),
            None => Ok(None),
        }
    }

    /// Puts the principal beside the request.
    fn let_in(&self, principal: Principal, request: &mut Request) {
        let span = tracing::Span::current();
        span.record("tenant", principal.tenant.0);
        span.record("actor", tracing::field::display(principal.account_id));
        self.metrics.seen(principal.account_id);
        request.extensions_mut().insert(Caller(principal));
    }
}

/// Lets only known accounts pass that send their key as `Authorization: Bearer`.
pub(crate) async fn authenticated(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let principal = gate.known(bearer(request.headers())).await?.ok_or_else(unauthenticated)?;
    gate.let_in(principal, &mut request);
    Ok(next.run(request).await)
}

/// Lets only known accounts pass that send their key as the password of `Authorization: Basic`.
pub(crate) async fn authenticated_by_password(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let password = password(request.headers());
    let principal = gate.known(password.as_deref()).await?.ok_or_else(unauthenticated_by_password)?;
    gate.let_in(principal, &mut request);
    Ok(next.run(request).await)
}

/// One body for a missing, malformed, unknown and revoked key: it must not tell them apart.
fn unauthenticated() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "send a valid API key as 'Authorization: Bearer <key>'")
}

/// As above, in the words of those who configure a Langfuse client.
fn unauthenticated_by_password() -> Problem {
    let detail = "send a valid API key as the secret key (LANGFUSE_SECRET_KEY); the public key (LANGFUSE_PUBLIC_KEY) is \
                  any name, or the key's own beginning: pcs_ and 12 digits";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// The password beside a user's name, which is not empty; one that looks like a key's public part has to be this key's,
/// or somebody has mixed up two keys.
fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    let is_other = user.starts_with(KEY_MARK) && public_part(password) != Some(user);
    (!user.is_empty() && !is_other).then(|| password.to_owned())
}

/// What follows the scheme in the one `Authorization` header.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (found, credentials) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
}

/// The account that sends the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Missing only where a route was registered outside of the gate: refuse rather than trust.
        parts.extensions.get::<Self>().copied().ok_or_else(unauthenticated)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(user_and_password: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", BASE64_STANDARD.encode(user_and_password));
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap());
        password(&headers)
    }

    #[test]
    fn the_password_is_the_key_whoever_the_user_says_to_be() {
        assert_eq!(sent("pk-lf-1:secret:with:colons").as_deref(), Some("secret:with:colons"));
        assert_eq!(sent("x:").as_deref(), Some(""));
        for not in [":secret", "no colon", ""] {
            assert_eq!(sent(not), None, "{not}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic no base64!"));
        assert_eq!(password(&headers), None);
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer eDp5"));
        assert_eq!(password(&headers), None);
    }

    #[test]
    fn the_public_part_of_another_key_is_a_mistake() {
        let key = format!("pcs_0123456789ab_{}", "f".repeat(72));
        assert_eq!(sent(&format!("pcs_0123456789ab:{key}")), Some(key.clone()));
        assert_eq!(sent(&format!("pcs_0123456789ac:{key}")), None);
        assert_eq!(sent(&format!("{key}:{key}")), None, "a secret is no user name");
    }
}
