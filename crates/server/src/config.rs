//! How the server listens, and its limits: every one has a name, a unit and a reason.

use std::net::SocketAddr;
use std::time::Duration;

/// Settings of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerConfig {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Longest time until a request's head is there, which is also the longest that an idle connection stays.
    pub header_read_timeout: Duration,
    /// Longest time until a request's body is there.
    pub body_read_timeout: Duration,
    /// Longest time for a request from its head to its answer.
    pub request_timeout: Duration,
    /// How long requests may go on after the server was told to stop.
    pub shutdown_grace: Duration,
    /// Most connections at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Most headers of a request.
    pub headers_max: usize,
    /// Largest head of a request, in bytes.
    pub head_bytes_max: usize,
}

impl ServerConfig {
    /// 30 s: longer than a browser keeps an idle connection in use, short enough for a slow-header attack.
    pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
    /// 30 s: 10 MB, the largest body, at 350 kB/s.
    pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
    /// 60 s: the largest import decides and appends within a few seconds; the database's own limits are shorter.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
    /// 20 s: below the 30 s after which Kubernetes kills.
    pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
    /// 1,024: the usual limit of open files of a process.
    pub const CONNECTIONS_MAX: usize = 1_024 - 128;
    /// 64: a browser behind two proxies sends about 30.
    pub const HEADERS_MAX: usize = 64;
    /// 32 KiB: four times what a large cookie and token take.
    pub const HEAD_BYTES_MAX: usize = 32 * 1024;

    /// The usual settings at an address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            header_read_timeout: Self::HEADER_READ_TIMEOUT,
            body_read_timeout: Self::BODY_READ_TIMEOUT,
            request_timeout: Self::REQUEST_TIMEOUT,
            shutdown_grace: Self::SHUTDOWN_GRACE,
            connections_max: Self::CONNECTIONS_MAX,
            headers_max: Self::HEADERS_MAX,
            head_bytes_max: Self::HEAD_BYTES_MAX,
        }
    }
}
