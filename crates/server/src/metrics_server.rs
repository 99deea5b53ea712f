//! Metrics of processes that serve nothing else: one small listener, for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::routes::OPENMETRICS;

/// Answers `/metrics` and `/healthz` until told to stop.
///
/// # Errors
/// Where the listener fails.
pub async fn metrics_server(
    listener: TcpListener,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    let metrics = get(move || {
        let registry = Arc::clone(&registry);
        async move { encode(&registry) }
    });
    let router = Router::new().route("/metrics", metrics).route("/healthz", get(|| async { "ok\n" }));
    axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

fn encode(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
