//! A command as a request: its body read strictly and in time, its identity, its precondition and who sends it.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pcs_auth::Principal;
use pcs_domain::ids::TenantId;
use pcs_store::{CommandContext, Expected};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::authenticate::Caller;
use super::idempotency::{self, Identity};
use super::{RequestContext, precondition, strict_json};
use crate::problem::Problem;
use crate::state::AppState;

/// Largest body of most commands.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// From this size on a body is parsed beside the event loop, which it would hold up for milliseconds.
const PARSED_INLINE_BYTES_MAX: usize = 256 * 1024;

/// What a command's body is made of, and how large it may be.
pub(crate) trait CommandBody: DeserializeOwned + Send + 'static {
    /// Largest body, in bytes.
    const BYTES_MAX: usize = BODY_BYTES_MAX;
    /// Whether no body at all is the same as `{}`.
    const OPTIONAL: bool = false;
}

/// A command that has passed the edge.
#[derive(Debug)]
pub(crate) struct Command<T> {
    /// What it says.
    pub(crate) body: T,
    /// Who sends it.
    pub(crate) principal: Principal,
    /// What its events will carry.
    pub(crate) context: CommandContext,
    /// What its `If-Match` expects, if it has one.
    pub(crate) if_match: Option<Expected>,
}

/// Keeps the digest of a command's content so that whoever has the database can't find the content out by trying.
pub(crate) trait Blinding: Sync {
    /// The digest as it may be kept.
    fn blind(&self, tenant: TenantId, fingerprint: Uuid) -> impl Future<Output = Result<Uuid, Problem>> + Send;
}

impl Blinding for AppState {
    async fn blind(&self, tenant: TenantId, fingerprint: Uuid) -> Result<Uuid, Problem> {
        Ok(self.store().blind(tenant, fingerprint).await?)
    }
}

impl<T: CommandBody, S: Blinding> FromRequest<S> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(principal) = Caller::from_request_parts(&mut parts, state).await?;
        let missing = || Problem::internal("the route is not behind the edge");
        let edge = parts.extensions.get::<RequestContext>().ok_or_else(missing)?;
        let key = idempotency::key(&parts.headers)?;
        let if_match = precondition::if_match(&parts.headers)?;
        let bytes = read(body, &parts.headers, T::BYTES_MAX, edge.body_deadline).await?;
        let identity = idempotency::identity(key, &principal, &parts.method, &edge.path, &bytes);
        let mut context = context(edge, &principal, identity);
        if let Some(fingerprint) = context.fingerprint {
            context.fingerprint = Some(state.blind(context.tenant, fingerprint).await?);
        }
        let body = parse(bytes, &parts.headers, T::OPTIONAL).await?;
        Ok(Self { body, principal, context, if_match })
    }
}

impl<T> Command<T> {
    /// What the command expects of a card or a run: its `If-Match`, or at least that there is one.
    pub(crate) fn expected(&self) -> Expected {
        self.if_match.unwrap_or(Expected::Any)
    }
}

fn context(edge: &RequestContext, principal: &Principal, identity: Identity) -> CommandContext {
    CommandContext {
        tenant: principal.tenant,
        actor: Some(principal.account_id),
        command_id: identity.command_id,
        fingerprint: identity.fingerprint,
        correlation_id: Some(edge.request_id.correlation_id()),
        causation_id: None,
        traceparent: edge.traceparent.clone(),
    }
}

/// Reads a body of bounded size by its deadline.
async fn read(body: Body, headers: &HeaderMap, bytes_max: usize, deadline: Instant) -> Result<Bytes, Problem> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "a compressed body is not taken; send it as it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail));
    }
    let too_large = || {
        let detail = format!("the body is larger than the {bytes_max} bytes that this route takes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > bytes_max) {
        return Err(too_large());
    }
    match timeout_at(deadline, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "body_broken_off", "the body broke off")),
        Err(_) => {
            let detail = "the body did not arrive in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        }
    }
}

async fn parse<T: CommandBody>(bytes: Bytes, headers: &HeaderMap, optional: bool) -> Result<T, Problem> {
    if bytes.is_empty() && optional {
        return strict_json::from_slice(b"{}");
    }
    if !is_json(headers) {
        let detail = "the body must be JSON: send Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    if bytes.len() <= PARSED_INLINE_BYTES_MAX {
        return strict_json::from_slice(&bytes);
    }
    let parsed = tokio::task::spawn_blocking(move || strict_json::from_slice(&bytes)).await;
    parsed.unwrap_or_else(|error| Err(Problem::internal(error.to_string())))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next().and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let in_utf8 =
        |part: &str| part.eq_ignore_ascii_case("charset=utf-8") || part.eq_ignore_ascii_case("charset=\"utf-8\"");
    values.next().is_none() && media.eq_ignore_ascii_case("application/json") && parts.all(in_utf8)
}

/// The body of a command that says nothing more than its route.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl CommandBody for Nothing {
    const OPTIONAL: bool = true;
}
