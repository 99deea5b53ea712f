//! Who sends a request: one `Authorization: Bearer` header, and one answer for everything that is wrong with it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use pcs_auth::{Authenticator, Principal};

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
}

/// Lets only known accounts pass, and puts the principal beside the request.
pub(crate) async fn authenticated(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = bearer(request.headers()).ok_or_else(unauthenticated)?;
    let principal = gate.authenticator.verify(token).await?.ok_or_else(unauthenticated)?;
    let span = tracing::Span::current();
    span.record("tenant", principal.tenant.0);
    span.record("actor", tracing::field::display(principal.account_id));
    gate.metrics.seen(principal.account_id);
    request.extensions_mut().insert(Caller(principal));
    Ok(next.run(request).await)
}

/// One body for a missing, malformed, unknown and revoked key: it must not tell them apart.
fn unauthenticated() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "send a valid API key as 'Authorization: Bearer <key>'")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
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
