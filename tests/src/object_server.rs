//! A server that speaks as much S3 as an archive needs: objects in memory, and failures on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use pcs_store::ArchiveConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The only account.
const KEY_ID: &str = "AKIATEST";
/// What a real one never has: it must not get into any message.
pub const SECRET: &str = "not-a-secret-of-anybody";
const BUCKET: &str = "history";
const MODIFIED: &str = "Wed, 25 Nov 2026 12:00:00 GMT";

/// The server; dropping it ends it.
pub struct ObjectServer {
    address: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<BTreeMap<String, Bytes>>,
    failures: AtomicUsize,
}

impl ObjectServer {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, shared, _serving: serving }
    }

    /// The settings of an archive on it.
    #[must_use]
    pub fn config(&self) -> ArchiveConfig {
        let options = [
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", self.address.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_NOBODY_KNOWS_THIS", "1"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        ArchiveConfig { url: Some(format!("s3://{BUCKET}/log/one")), options }
    }

    /// Answers the next requests with 503.
    pub fn fail(&self, requests: usize) {
        self.shared.failures.store(requests, Ordering::Relaxed);
    }

    /// The names of its objects.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.shared.objects.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let failing = |left: usize| left.checked_sub(1);
    if shared.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, failing).is_ok() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "<Error><Code>SlowDown</Code></Error>");
    }
    let (head, body) = request.into_parts();
    let signed = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signed.starts_with("AWS4-HMAC-SHA256 ") || !signed.contains(KEY_ID) {
        return plain(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
    }
    let name = head.uri.path().trim_start_matches('/').to_owned();
    let stored = shared.objects.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    if head.method == Method::PUT {
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("the whole body");
        shared.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(name, body);
        return found(StatusCode::OK, Bytes::new(), 0, None, false);
    }
    let Some(object) = stored else {
        return plain(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>");
    };
    let len = object.len();
    if head.method == Method::HEAD {
        return found(StatusCode::OK, Bytes::new(), len, None, true);
    }
    match range(&head.headers, len) {
        Some((first, last)) => {
            let range = format!("bytes {first}-{last}/{len}");
            let part = object.slice(first..=last);
            found(StatusCode::PARTIAL_CONTENT, part, last - first + 1, Some(range), false)
        }
        None => found(StatusCode::OK, object, len, None, false),
    }
}

fn range(headers: &HeaderMap, len: usize) -> Option<(usize, usize)> {
    let text = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    let last: usize = last.parse().ok()?;
    Some((first.parse().ok()?, last.min(len - 1)))
}

fn found(status: StatusCode, body: Bytes, len: usize, range: Option<String>, is_head: bool) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header(header::ETAG, "\"1\"")
        .header(header::LAST_MODIFIED, MODIFIED)
        .header(header::CONTENT_LENGTH, len);
    if let Some(range) = range {
        response = response.header(header::CONTENT_RANGE, range);
    }
    let body = if is_head { Body::empty() } else { Body::from(body) };
    response.body(body).expect("a response")
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    Response::builder().status(status).body(Body::from(text)).expect("a response")
}
