//! Connections: accepted up to a limit, read with time-outs, and finished before the process ends.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServerConfig;
use crate::edge::{self, Edge};
use crate::routes;
use crate::state::AppState;

/// How long to wait when no connection can be accepted, because the process is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("can't listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// The API on a port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: ServerConfig,
    router: Router,
}

impl Server {
    /// Takes the port; requests wait until [`Server::run`].
    ///
    /// # Errors
    /// [`ServerError::Listen`] where the port can't be had.
    pub async fn bind(config: ServerConfig, state: AppState) -> Result<Self, ServerError> {
        let edge = Edge::new(&config, state.metrics().clone());
        Self::bind_router(config, edge::around(routes::router(state), edge)).await
    }

    /// Like [`Server::bind`], for any routes.
    pub(crate) async fn bind_router(config: ServerConfig, router: Router) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local_addr, config, router })
    }

    /// Where it listens; with port 0 in the settings, the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stop`, then lets the requests that are under way finish, for at most the grace.
    ///
    /// # Errors
    /// None today: a connection that fails ends alone.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self { listener, config, router, .. } = self;
        let places = Arc::new(Semaphore::new(config.connections_max));
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let http = http(&config);
        while let Some((stream, place)) = accept(&listener, &places, &stop).await {
            let service = TowerToHyperService::new(router.clone());
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            let (stop, cut) = (stop.clone(), cut.clone());
            connections.spawn(async move {
                let _place = place;
                let mut connection = pin!(connection);
                // A client that breaks off or sends no HTTP is its own affair.
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
                }
                tokio::select! {
                    _ = connection => (),
                    () = cut.cancelled() => (),
                }
            });
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(config.shutdown_grace, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests were cut off at shutdown");
        }
        cut.cancel();
        connections.wait().await;
        Ok(())
    }
}

/// HTTP/1.1 only: HTTP/2 is spoken by the proxy in front, and its detection has no time-out of its own.
fn http(config: &ServerConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.header_read_timeout)
        .max_headers(config.headers_max)
        .max_buf_size(config.head_bytes_max)
        .keep_alive(true);
    http
}

/// The next connection together with its place; none once the server stops.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Answers are small and whole: waiting for more to send only makes them late.
                    drop(stream.set_nodelay(true));
                    return Some((stream, place));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        next = next => next,
    }
}
