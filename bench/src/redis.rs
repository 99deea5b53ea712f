//! A Redis of our own, where the machine has one: for the peer that works on it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

/// Longest wait for the server.
const READY_MAX: Duration = Duration::from_secs(10);

/// The server; it ends when it is dropped.
pub(crate) struct Redis {
    child: Child,
    url: String,
}

impl Redis {
    /// Starts it with an append-only file that is synced each second, as BullMQ's documentation advises; none where
    /// `redis-server` is not installed.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let data = folder.join("redis");
        std::fs::create_dir_all(&data)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let settings = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
        let spawned = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(&data)
            .args(settings)
            .args(["--maxmemory-policy", "noeviction"])
            .stdout(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("  no redis-server is installed: bullmq is left out");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let redis = Self { child, url: format!("redis://127.0.0.1:{port}") };
        let deadline = Instant::now() + READY_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline {
                bail!("redis-server does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(redis))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
