//! The private nats-server with JetStream: started on the loopback address, killed, restarted and wiped by tests.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::account::private_folder;
use super::child::{Launch, Reach, Supervised};
use super::error::StackError;
use super::programs::NatsBinary;
use super::settings::NATS_PORT;
use super::stale;
use super::state;

pub(super) const SERVER_NAME: &str = "nats-server";
/// The users of `nats/server.conf`, each with the file of its password.
const USERS: [(&str, &str); 3] =
    [("pcs", "nats.password"), ("worker", "nats-worker.password"), ("server", "nats-server.password")];
const FOLDER: &str = "nats";
const CONFIG_FILE: &str = "server.conf";
const PID_FILE: &str = "nats.pid";
const LOG_FILE: &str = "logs/nats.log";
/// The name nats-server gives to its folder below `store_dir`.
const JETSTREAM_FOLDER: &str = "jetstream";
const TEMPLATE: &str = include_str!("../../../../nats/server.conf");
/// JetStream reads its streams before it is healthy: seconds per gigabyte on a slow disk.
const READY_DEADLINE: Duration = Duration::from_secs(30);
const FAREWELL: &[Signal] = &[Signal::SIGINT, Signal::SIGKILL];
const MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// A health answer is a few hundred bytes.
const HEALTH_BYTES_MAX: u64 = 4096;

/// The two ports of one nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatsPorts {
    pub client: u16,
    pub monitor: u16,
}

/// A running nats-server; dropping it without `stop` ends it all the same, by its watcher.
#[derive(Debug)]
pub struct NatsServer {
    binary: NatsBinary,
    folder: PathBuf,
    log: PathBuf,
    /// In the order of [`USERS`].
    passwords: [String; 3],
    ports: NatsPorts,
    process: Supervised,
}

impl NatsServer {
    /// Starts the server with its streams in `data_dir`.
    pub async fn start(binary: NatsBinary, data_dir: &Path, ports: NatsPorts) -> Result<Self, StackError> {
        let (folder, log) = (data_dir.join(FOLDER), data_dir.join(LOG_FILE));
        private_folder(&folder)?;
        private_folder(log.parent().unwrap_or(data_dir))?;
        // Streams do not depend on the passwords, so a lost one is simply made anew.
        let [pcs, worker, server] = USERS.map(|(_, file)| state::password(&data_dir.join(file), None));
        let passwords = [pcs?, worker?, server?];
        state::write_secret(&folder.join(CONFIG_FILE), &render_config(&folder, &passwords, ports))?;
        let process = launch(&binary, &folder, &log, ports)?;
        let mut server = Self { binary, folder, log, passwords, ports, process };
        server.until_ready().await?;
        Ok(server)
    }

    /// The process of the server itself.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The address for the relay and for operators.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    /// The address for workers.
    pub fn worker_url(&self) -> String {
        self.url_of(1)
    }

    /// The address for servers and projections.
    pub fn server_url(&self) -> String {
        self.url_of(2)
    }

    fn url_of(&self, user: usize) -> String {
        let ((user, _), password) = (USERS[user], &self.passwords[user]);
        format!("nats://{user}:{password}@127.0.0.1:{}", self.ports.client)
    }

    pub fn ports(&self) -> NatsPorts {
        self.ports
    }

    /// Where health and numbers are served over HTTP.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitor)
    }

    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    /// Starts again on the same port with the same streams, after stopping what still runs.
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.stop().await;
        self.process = launch(&self.binary, &self.folder, &self.log, self.ports)?;
        self.until_ready().await
    }

    /// Starts again with nothing: every stream, consumer and message is gone.
    pub async fn wipe_and_restart(&mut self) -> Result<(), StackError> {
        self.stop().await;
        let streams = self.folder.join(JETSTREAM_FOLDER);
        match fs::remove_dir_all(&streams) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StackError::file("remove", &streams, error)),
        }
        self.restart().await
    }

    /// Stops cleanly; `restart` works afterwards.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Resolves when the server ends.
    pub(super) async fn exited(&mut self) -> StackError {
        self.process.exited().await
    }

    async fn until_ready(&mut self) -> Result<(), StackError> {
        let monitor = self.ports.monitor;
        self.process.until_ready(READY_DEADLINE, async || Ok(is_healthy(monitor).await.unwrap_or(false))).await
    }
}

/// Ends a server that an earlier start left behind on these streams.
pub(super) async fn end_stale(data_dir: &Path) -> Result<(), StackError> {
    let folder = data_dir.join(FOLDER);
    stale::end_server(&folder.join(PID_FILE), &folder, FAREWELL).await
}

fn launch(binary: &NatsBinary, folder: &Path, log: &Path, ports: NatsPorts) -> Result<Supervised, StackError> {
    Supervised::spawn(&Launch {
        server: SERVER_NAME,
        program: &binary.path,
        arguments: vec!["-c".into(), folder.join(CONFIG_FILE).into_os_string()],
        account: None,
        log,
        farewell: FAREWELL,
        reach: Reach::Server,
        port: Some((ports.client, NATS_PORT)),
    })
}

fn render_config(folder: &Path, [password, worker, server]: &[String; 3], ports: NatsPorts) -> String {
    let quoted = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    TEMPLATE
        .replace("{{client_port}}", &ports.client.to_string())
        .replace("{{monitor_port}}", &ports.monitor.to_string())
        .replace("{{pid_file}}", &quoted(&folder.join(PID_FILE)))
        .replace("{{password}}", password)
        .replace("{{worker_password}}", worker)
        .replace("{{server_password}}", server)
        .replace("{{store_dir}}", &quoted(folder))
        .replace("{{memory_bytes_max}}", &MEMORY_BYTES_MAX.to_string())
        .replace("{{file_bytes_max}}", &FILE_BYTES_MAX.to_string())
}

/// Whether the server says it is healthy, which includes that JetStream has read its streams.
async fn is_healthy(monitor_port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, monitor_port)).await?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(HEALTH_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().is_some_and(|status| status.starts_with("HTTP/1.") && status.contains(" 200 ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_has_every_word_filled_in_and_stays_on_the_loopback_address() {
        let ports = NatsPorts { client: 20_001, monitor: 20_002 };
        let passwords = ["secret", "secret-2", "secret-3"].map(str::to_owned);
        let config = render_config(Path::new("/data/with \"quote\"/nats"), &passwords, ports);
        let settings: String = config.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        assert!(!settings.contains("{{"), "{config}");
        assert!(config.contains("\nhost: 127.0.0.1\nport: 20001\n"));
        assert!(config.contains("http: \"127.0.0.1:20002\""));
        assert!(config.contains("store_dir: \"/data/with \\\"quote\\\"/nats\""));
        assert!(config.contains("password: \"secret\""));
        assert!(config.contains("sync_interval: 1s") && config.contains("max_payload: 8MB"));
    }
}
