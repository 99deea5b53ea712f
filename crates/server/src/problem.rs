//! Errors as clients see them: `application/problem+json` (RFC 9457) with a stable code, and nothing from inside.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pcs_auth::{AuthError, Forbidden};
use pcs_domain::RejectionCode;
use pcs_projections::{ProjectionError, ReadError};
use pcs_store::{ExecuteError, PrivacyError, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of all error bodies.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// When to come back to a database that does not answer.
const DATABASE_RETRY_AFTER: Duration = Duration::from_secs(5);
/// When to come back where the keys of personal data are not at hand: a person has to do something.
const KEYS_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Most field errors of one answer; the rest would say the same.
pub(crate) const FIELD_ERRORS_MAX: usize = 20;

/// An error on its way to a client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
    /// What really happened; logged once at the edge and never sent.
    pub(crate) cause: Option<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The path of the field, such as `cases[3].input`; empty for the whole body.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// An error, as RFC 9457 has it, with a stable code.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// `urn:pcs:problem:<code>`.
    r#type: String,
    /// The status in words.
    title: &'a str,
    /// The status code.
    status: u16,
    /// What happened, for a person.
    detail: &'a str,
    /// What happened, for a program; it does not change.
    code: &'a str,
    /// The request's id, as in the header `X-Request-Id` and in the logs.
    request_id: Option<&'a str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None, cause: None }
    }

    /// What the client sent can't be accepted, whenever it is sent.
    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// A query parameter that can't be taken.
    pub(crate) fn invalid_query(parameter: &str, message: impl Into<String>) -> Self {
        Self::unprocessable("invalid_query", "the query is not what this route takes").field(parameter, message)
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Something is wrong here and not at the client.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let detail = "something went wrong here; the log has it under the request id";
        Self { cause: Some(cause.into()), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail) }
    }

    /// Something that the server needs does not answer now.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let retry_after = Some(retry_after);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    pub(crate) fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The answer with the request's id in its body.
    pub(crate) fn render(&self, request_id: Option<&str>) -> Response {
        let body = ProblemBody {
            r#type: format!("urn:pcs:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            errors: &self.errors,
        };
        // Strings and numbers can always be written; an empty body still has the status.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], json).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// The edge renders it again with the request's id, and logs its cause.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// Whether the database itself is out of reach, as opposed to a statement that it refuses.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08 connection, 53 out of resources, 57P going down, 25006 a standby, 40 deadlock or serialisation.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["08", "53", "57P", "25006", "40"].iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) {
            let detail = "the database does not answer; the same request may be sent again";
            return Self::unavailable("database_unavailable", detail, DATABASE_RETRY_AFTER).because(error);
        }
        Self::internal(error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Closed => {
                Self::unavailable("shutting_down", "the server is going down", DATABASE_RETRY_AFTER).because(error)
            }
            StoreError::ReadOnly => {
                Self::unavailable("read_only", "the database takes no writes now", DATABASE_RETRY_AFTER).because(error)
            }
            StoreError::Unknowable(_) => {
                let detail = "it is not known whether the command took effect; sending it again with the same \
                              Idempotency-Key is safe";
                Self::unavailable("outcome_unknown", detail, DATABASE_RETRY_AFTER).because(error)
            }
            StoreError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "event_too_large", error.to_string())
            }
            StoreError::Privacy(error) => error.into(),
            StoreError::Archive(_) => {
                let detail = "events that this needs are archived, and the archive can't be read now; what is not \
                              archived works";
                Self::unavailable("archive_unavailable", detail, DATABASE_RETRY_AFTER).because(error)
            }
            StoreError::Migrate(_)
            | StoreError::Decode { .. }
            | StoreError::Unknown { .. }
            | StoreError::Schema { .. }
            | StoreError::StreamTwice { .. }
            | StoreError::UnknownState { .. }
            | StoreError::Damaged { .. }
            | StoreError::Encode(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<PrivacyError> for Problem {
    fn from(error: PrivacyError) -> Self {
        match error {
            PrivacyError::Shredded { .. } => Self::new(StatusCode::CONFLICT, "subject_shredded", error.to_string()),
            PrivacyError::UnknownSubject => Self::not_found("subject_not_found", error.to_string()),
            PrivacyError::NoMasterKey
            | PrivacyError::File { .. }
            | PrivacyError::Ring(_)
            | PrivacyError::UnknownMasterKey { .. }
            | PrivacyError::KeyMissing { .. } => {
                let detail = "the keys of personal data are not at hand; an administrator has to provide them";
                Self::unavailable("keys_unavailable", detail, KEYS_RETRY_AFTER).because(error)
            }
            PrivacyError::Cipher(_)
            | PrivacyError::Misplaced { .. }
            | PrivacyError::Unsealable { .. }
            | PrivacyError::Unfitting => Self::internal(error.to_string()),
        }
    }
}

impl From<ProjectionError> for Problem {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::Store(error) => error.into(),
            ProjectionError::Database(error) => error.into(),
            ProjectionError::Encode(_) | ProjectionError::Fold(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cursor(invalid) => {
                Self::unprocessable("invalid_query", "the query is not acceptable").field("cursor", invalid.to_string())
            }
            ReadError::Database(error) => error.into(),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Database(error) => error.into(),
            AuthError::UnknownRole(_) | AuthError::NoSuchAccount => Self::internal(error.to_string()),
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", forbidden.to_string())
    }
}

impl<R: RejectionCode> From<ExecuteError<R>> for Problem
where
    Problem: From<R>,
{
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => rejection.into(),
            ExecuteError::Conflict { expected, actual } => {
                let detail = format!("the revision is {actual}, and {expected} was expected: read it again");
                Self::new(StatusCode::PRECONDITION_FAILED, "stale_revision", detail)
            }
            ExecuteError::StreamClosed { state, .. } => {
                let detail =
                    format!("its history is {state}: an administrator can open it again unless it is tombstoned");
                Self::new(StatusCode::CONFLICT, "stream_closed", detail)
            }
            ExecuteError::KeyReused => {
                let detail = "this Idempotency-Key was sent before, with another method, path or body";
                Self::unprocessable("idempotency_key_reused", detail)
            }
            ExecuteError::Overloaded { retry_after } => {
                Self::unavailable("overloaded", "too many commands are waiting", retry_after)
            }
            ExecuteError::Store(error) => error.into(),
        }
    }
}
