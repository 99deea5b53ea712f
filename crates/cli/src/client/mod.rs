//! The HTTP client of the command line: one request at a time, tried again while that can help, and never twice done.

pub mod connection;
pub mod error;
pub mod wire;
pub mod run_wire;
pub mod cards;
pub mod runs;
pub mod jobs;
mod retry;
#[cfg(test)]
pub(crate) mod fake_server;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use self::connection::Connection;
use self::error::{ApiError, Problem};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A whole request; the longest is an import of many cases over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer that is read: a page of results, each with an output of up to a mebibyte, is far below.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const POSITION: &str = "pcs-position";
const PREFIX: &str = "api/v1/";

/// The server's API.
///
/// It remembers the position of its last command and asks every read to have come at least so far, so that a command
/// line reads what it wrote.
#[derive(Debug)]
pub struct Api {
    client: Client,
    base: Url,
    position: AtomicI64,
}

/// A request that can be sent several times.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    spread: u8,
}

/// What became of one try.
enum Attempt {
    Answered(Vec<u8>),
    Failed { error: ApiError, again: bool, retry_after: Option<Duration> },
}

impl Api {
    /// A client of the server that the environment or the nearest credentials name.
    pub fn new(connection: &Connection) -> Result<Self, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, connection.api_key.header());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("pcs/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirect would carry the key to an address that nobody configured.
            .redirect(reqwest::redirect::Policy::none());
        if connection.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ApiError::Client { reason: reason(&error) })?;
        let mut base = connection.url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { client, base, position: AtomicI64::new(0) })
    }

    /// The server's address, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Reads.
    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, ApiError> {
        let mut url = self.url(path)?;
        let position = self.position.load(Ordering::Relaxed);
        if !query.is_empty() || position > 0 {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(query);
            // The past is not waited for.
            if position > 0 && !query.iter().any(|(name, _)| *name == "as_of") {
                pairs.append_pair("min_position", &position.to_string());
            }
        }
        let call = Call { method: Method::GET, url, headers: HeaderMap::new(), body: None, spread: spread() };
        self.send(&call).await
    }

    /// Commands, with an `Idempotency-Key` that all tries of it share.
    async fn command<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
        revision: Option<i64>,
    ) -> Result<T, ApiError> {
        let key = Uuid::new_v4();
        let client = |reason: String| ApiError::Client { reason };
        let mut headers = HeaderMap::new();
        let key_header = HeaderValue::from_str(&key.to_string()).map_err(|error| client(error.to_string()))?;
        headers.insert(IDEMPOTENCY_KEY, key_header);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(revision) = revision {
            let tag = format!("\"{revision}\"");
            headers.insert(IF_MATCH, HeaderValue::from_str(&tag).map_err(|error| client(error.to_string()))?);
        }
        let body = serde_json::to_vec(body).map_err(|error| client(error.to_string()))?;
        let call = Call { method, url: self.url(path)?, headers, body: Some(body), spread: spread() };
        self.send(&call).await
    }

    /// The address of a path whose parts may hold anything, as a label or an id typed by a user does.
    fn url(&self, path: &[&str]) -> Result<Url, ApiError> {
        let unexpected = |reason: &str| ApiError::Client { reason: reason.to_owned() };
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(unexpected("an id is empty or consists of dots"));
        }
        let mut url = self.base.join(PREFIX).map_err(|error| unexpected(&error.to_string()))?;
        url.path_segments_mut().map_err(|()| unexpected("the address has no path"))?.pop_if_empty().extend(path);
        Ok(url)
    }

    async fn send<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ApiError> {
        let mut attempt = 1;
        let bytes = loop {
            match self.attempt(call).await {
                Attempt::Answered(bytes) => break bytes,
                Attempt::Failed { again: true, retry_after, .. } if attempt < retry::ATTEMPTS_MAX => {
                    tokio::time::sleep(retry::wait(attempt, retry_after, call.spread)).await;
                    attempt += 1;
                }
                Attempt::Failed { error, .. } => return Err(error),
            }
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| self.unexpected(call, format!("an answer that can't be read: {error}")))
    }

    async fn attempt(&self, call: &Call) -> Attempt {
        let mut request = self.client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return self.unreachable(&error),
        };
        let status = response.status();
        let headers = response.headers().clone();
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > ANSWER_BYTES_MAX => {
                    let reason = format!("more than {ANSWER_BYTES_MAX} bytes");
                    return Attempt::Failed { error: self.unexpected(call, reason), again: false, retry_after: None };
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return self.unreachable(&error),
            }
        }
        if status.is_success() {
            self.remember(&headers, &call.method);
            return Attempt::Answered(bytes);
        }
        let error = self.refusal(call, status, &headers, &bytes);
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry::retry_after);
        Attempt::Failed { error, again: retry::is_worth_it(status), retry_after }
    }

    fn remember(&self, headers: &HeaderMap, method: &Method) {
        let position = headers.get(POSITION).and_then(|value| value.to_str().ok()?.parse().ok());
        if let (Some(position), false) = (position, *method == Method::GET) {
            self.position.fetch_max(position, Ordering::Relaxed);
        }
    }

    fn refusal(&self, call: &Call, status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> ApiError {
        if status.is_redirection() {
            let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("another address");
            return self.unexpected(call, format!("a redirect to {target}, which is not followed"));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match serde_json::from_slice::<Problem>(bytes) {
            Ok(problem) if kind.starts_with("application/problem+json") => {
                ApiError::Problem(Box::new(Problem { status: status.as_u16(), ..problem }))
            }
            // A proxy in between answers in its own words: its status still says whether waiting helps.
            Ok(_) | Err(_) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let detail = format!("{} without a reason", status.canonical_reason().unwrap_or("an unknown error"));
                ApiError::Problem(Box::new(Problem { status: status.as_u16(), detail, ..Problem::default() }))
            }
            Ok(_) | Err(_) => self.unexpected(call, format!("{status} with a body of the type {kind:?}")),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Attempt {
        let again = error.is_connect() || error.is_timeout() || error.is_request() || error.is_body();
        let error = ApiError::Unreachable { url: self.address().to_owned(), reason: reason(error) };
        Attempt::Failed { error, again, retry_after: None }
    }

    fn unexpected(&self, call: &Call, reason: String) -> ApiError {
        ApiError::Unexpected { url: format!("{} {}", call.method, call.url), reason }
    }
}

/// Chance from an id, for there is no other source of it here.
fn spread() -> u8 {
    Uuid::new_v4().as_bytes()[0]
}

/// The innermost cause: `Connection refused` says more than `error sending request`.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
