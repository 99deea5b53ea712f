//! What is around every route: the request's name, its time-outs, its log line and metrics, and the form of all errors.

pub(crate) mod as_of;
pub(crate) mod authenticate;
pub(crate) mod command;
pub(crate) mod error_form;
pub(crate) mod idempotency;
pub(crate) mod parameters;
pub(crate) mod precondition;
pub(crate) mod request_id;
pub(crate) mod strict_json;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use self::error_form::ErrorForm;
use self::request_id::RequestId;
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};

/// The route of a request that matches none: the raw path would be a label without bounds.
const NO_ROUTE: &str = "none";

/// What machines ask again and again: no trace is begun for it.
const UNTRACED: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/api/public/health"];

/// Sent with every answer. The UI will bring its own content policy; the API has nothing to show.
const SECURITY_HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// What the layers around the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    body_read_timeout: Duration,
    request_timeout: Duration,
    metrics: Arc<Metrics>,
}

/// What every part of a request's handling may ask for; an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) request_id: RequestId,
    /// Of the request's own span where that is exported, else as the client sent it.
    pub(crate) traceparent: Option<String>,
    /// The whole path, also within nested routes.
    pub(crate) path: String,
    pub(crate) body_deadline: Instant,
}

impl Edge {
    pub(crate) fn new(config: &ServerConfig, metrics: Arc<Metrics>) -> Self {
        let ServerConfig { body_read_timeout, request_timeout, .. } = *config;
        Self { body_read_timeout, request_timeout, metrics }
    }
}

/// Puts the edge around routes.
pub(crate) fn around(routes: Router, edge: Edge) -> Router {
    routes
        .fallback(no_route)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(edge.clone(), in_time))
        .layer(from_fn(problems_only))
        .layer(from_fn_with_state(edge, observed))
}

async fn no_route() -> Problem {
    Problem::not_found("no_such_route", "there is no such route; GET /api/v1/openapi.json lists them all")
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}

/// Ends a request that takes too long.
async fn in_time(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(edge.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; a command may or may not have taken effect, and sending it again \
                          with the same Idempotency-Key is safe";
            Problem::unavailable("request_timeout", detail, Duration::from_secs(1)).into_response()
        }
    }
}

/// Gives every error the one form of its path, with the request's id, and logs what is our own fault, once.
async fn problems_only(request: Request, next: Next) -> Response {
    let form = ErrorForm::of(request.uri().path());
    let request_id = request.extensions().get::<RequestContext>().map(|context| context.request_id.clone());
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let is_ours = response.extensions().get::<Problem>().cloned();
    let Some(problem) = is_ours.or_else(|| foreign(&response)) else {
        return response;
    };
    if let Some(cause) = &problem.cause {
        tracing::error!(error = %cause, code = problem.code, "a request failed");
    }
    let mut rendered = form.render(&problem, request_id.as_ref().map(RequestId::as_str));
    // What the error was about: the methods that there are, when to come back.
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// The problem of an answer that some library gave; none where it is a report of its own, such as that of `/readyz`.
fn foreign(response: &Response) -> Option<Problem> {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media == problem::MEDIA_TYPE || media.starts_with("application/json") {
        return None;
    }
    let status = response.status();
    let (code, detail) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "the route has no such method; Allow lists them"),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too large for this route"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "the body must be application/json"),
        StatusCode::NOT_FOUND => ("not_found", "there is nothing here"),
        _ => ("refused", status.canonical_reason().unwrap_or("the request was refused")),
    };
    Some(Problem::new(status, code, detail))
}

/// Names the request, opens its span, and counts it when it is answered.
async fn observed(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = RequestId::of(request.headers());
    let sent = request_id::traceparent(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = method_name(request.method());
    let exported = exported_span(method, &route);
    pcs_traces::continue_from(&exported, sent.as_deref());
    let traceparent = pcs_traces::traceparent(&exported).or(sent);
    let span = tracing::info_span!(
        "server.request",
        http.method = method,
        http.route = route,
        request.id = request_id.as_str(),
        traceparent,
        tenant = Empty,
        actor = Empty,
    );
    let context = RequestContext {
        request_id: request_id.clone(),
        traceparent,
        path: request.uri().path().to_owned(),
        body_deadline: started + edge.body_read_timeout,
    };
    request.extensions_mut().insert(context);
    let mut response = next.run(request).instrument(exported.clone()).instrument(span.clone()).await;
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    end(&exported, status);
    span.in_scope(|| tracing::info!(http.status = status, latency_ms = elapsed.as_secs_f64() * 1e3, "answered"));
    edge.metrics.observe_request(method, &route, status, elapsed);
    finish(&mut response, &request_id);
    response
}

/// The request in its trace, without its path: a path names what users made.
fn exported_span(method: &'static str, route: &str) -> Span {
    if UNTRACED.contains(&route) {
        return Span::none();
    }
    tracing::info_span!(
        target: pcs_traces::TARGET,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

fn end(exported: &Span, status: u16) {
    // Unsigned numbers would be exported as text.
    exported.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        exported.record("otel.status_code", "ERROR");
        exported.record("error.type", status.to_string());
    }
}

/// The method as a label: one of a closed set.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn finish(response: &mut Response, request_id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(request_id::HEADER, value);
    }
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
