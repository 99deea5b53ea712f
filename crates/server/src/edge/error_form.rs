//! The form of errors: our own everywhere, and that of Langfuse below the paths that its clients ask.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{FieldError, Problem};

/// Where Langfuse's clients look for its API.
pub(crate) const LANGFUSE: &str = "/api/public/";

/// Who reads the errors of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ErrorForm {
    Problem,
    Langfuse,
}

/// An error, as Langfuse's clients read it.
#[derive(Serialize, ToSchema)]
#[schema(as = LangfuseError)]
pub(crate) struct LangfuseErrorBody<'a> {
    /// What happened, for a person.
    message: String,
    /// The kind of the error, as Langfuse names it.
    error: &'a str,
    /// What happened, for a program; it does not change.
    code: &'a str,
}

impl ErrorForm {
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with(LANGFUSE) { Self::Langfuse } else { Self::Problem }
    }

    /// The error's answer, in this form.
    pub(super) fn render(self, problem: &Problem, request_id: Option<&str>) -> Response {
        match self {
            Self::Problem => problem.render(request_id),
            Self::Langfuse => langfuse(problem),
        }
    }
}

fn langfuse(problem: &Problem) -> Response {
    let status = langfuse_status(problem.status);
    let body = LangfuseErrorBody { message: message(problem), error: langfuse_name(status), code: problem.code };
    let mut response = (status, axum::Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }
    response
}

/// Langfuse has one status for what can't be accepted; its clients take 409 for a reason to ask again.
fn langfuse_status(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => StatusCode::BAD_REQUEST,
        status => status,
    }
}

fn langfuse_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UnauthorizedError",
        StatusCode::FORBIDDEN => "ForbiddenError",
        StatusCode::NOT_FOUND => "LangfuseNotFoundError",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedError",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableError",
        status if status.is_client_error() => "InvalidRequestError",
        _ => "InternalServerError",
    }
}

/// The fields belong into the text: these clients show nothing else.
fn message(problem: &Problem) -> String {
    let fields = problem.errors.iter().map(|FieldError { field, message }| match field.as_str() {
        "" => message.clone(),
        field => format!("{field}: {message}"),
    });
    let mut parts = vec![problem.detail.clone()];
    parts.extend(fields);
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn langfuse_has_its_form_below_its_paths_only() {
        assert_eq!(ErrorForm::of("/api/public/v2/prompts/x"), ErrorForm::Langfuse);
        for path in ["/api/v1/prompts/x", "/api/publicity", "/"] {
            assert_eq!(ErrorForm::of(path), ErrorForm::Problem, "{path}");
        }
    }

    #[tokio::test]
    async fn what_langfuse_has_no_status_for_is_a_bad_request_that_names_the_field() {
        let problem = Problem::invalid_query("page", "must be at least 1");
        let response = ErrorForm::Langfuse.render(&problem, None);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "message": "the query is not what this route takes; page: must be at least 1",
            "error": "InvalidRequestError",
            "code": "invalid_query",
        });
        assert_eq!(body, expected);
        let ambiguous = Problem::new(StatusCode::CONFLICT, "prompt_ambiguous", "two of them");
        assert_eq!(ErrorForm::Langfuse.render(&ambiguous, None).status(), StatusCode::BAD_REQUEST);
        assert_eq!(ErrorForm::Problem.render(&ambiguous, None).status(), StatusCode::CONFLICT);
    }
}
