//! The private PostgreSQL server: started on the loopback address with a random password, killed and restarted by tests.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, sleep};

use super::account::private_folder;
use super::child::{Launch, Reach, Supervised};
use super::error::StackError;
use super::postgres_folder::PostgresFolder;
use super::programs::PostgresBinaries;
use super::settings::POSTGRES_PORT;
use super::stale;
use super::state;

pub(super) const SERVER_NAME: &str = "PostgreSQL";
pub(super) const SUPERUSER: &str = "pcs";
pub(super) const DATABASE: &str = "pcs";
/// There is always a database of this name; `pcs` is created from it.
const FIRST_DATABASE: &str = "postgres";
const PASSWORD_FILE: &str = "postgres.password";
const LOG_FILE: &str = "logs/postgres.log";
/// Recovery after a crash replays at most `max_wal_size`, which takes a slow disk well under a minute.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// After SIGKILL the last backend may hold the shared memory for a moment, and a new server refuses to start.
const RELEASE_DEADLINE: Duration = Duration::from_secs(15);
const RELEASE_POLL: Duration = Duration::from_millis(100);
const SHARED_MEMORY_HELD: &str = "is still in use";
/// Fast shutdown (clients are cut off, a checkpoint is written), immediate shutdown, then force.
const FAREWELL: &[Signal] = &[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL];
/// SQLSTATE `cannot_connect_now`: the server is starting up.
const STARTING_UP: &str = "57P03";
/// SQLSTATE `invalid_catalog_name`: our database does not exist yet.
const NO_DATABASE: &str = "3D000";

const CONNECTIONS_MAX: u32 = 200;
/// The index of streams is the one that is hit at random; it has 550 MB at ten million of them (docs/decisions/0033).
const SHARED_BUFFERS_MB: u32 = 1_024;
/// Between two checkpoints each page of an index goes into the log in whole once: the rarer, the less.
const WAL_GB_MAX: u32 = 4;
const CHECKPOINT_MINUTES: u32 = 15;

/// A running PostgreSQL; dropping it without `stop` ends it all the same, by its watcher.
#[derive(Debug)]
pub struct PostgresServer {
    binaries: PostgresBinaries,
    folder: PostgresFolder,
    password: String,
    port: u16,
    durable: bool,
    log: PathBuf,
    process: Supervised,
}

impl PostgresServer {
    /// Starts the server on the data in `data_dir`, creating data and database the first time.
    pub async fn start(
        binaries: PostgresBinaries,
        data_dir: &Path,
        port: u16,
        durable: bool,
    ) -> Result<Self, StackError> {
        let folder = PostgresFolder::of(data_dir).await?;
        let existing = folder.made_by.map(|_| folder.path.as_path());
        let password = state::password(&data_dir.join(PASSWORD_FILE), existing)?;
        let log = data_dir.join(LOG_FILE);
        private_folder(log.parent().unwrap_or(data_dir))?;
        match folder.made_by {
            None => folder.create(data_dir, &binaries, &password, durable).await?,
            Some(made_by) if made_by != binaries.version.major => {
                let found = binaries.version.to_string();
                return Err(StackError::WrongMajorVersion { folder: folder.path, made_by, found });
            }
            Some(_) => {}
        }
        let process = launch(&binaries, &folder, port, durable, &log)?;
        let mut server = Self { binaries, folder, password, port, durable, log, process };
        server.until_ready().await?;
        Ok(server)
    }

    /// The process of the server itself.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Kills the server and all its backends at once: what a power cut does to it.
    pub async fn kill9(&mut self) {
        let backends = children_of(self.process.pid());
        self.process.kill9().await;
        for backend in backends {
            // Most of them are gone already: they notice the death of the server.
            if let Err(error) = kill(Pid::from_raw(backend), Signal::SIGKILL) {
                tracing::debug!(backend, %error, "the backend is gone");
            }
        }
    }

    /// Starts again on the same port and data, after stopping what still runs.
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.stop().await;
        self.process = launch(&self.binaries, &self.folder, self.port, self.durable, &self.log)?;
        self.until_ready().await
    }

    /// Shuts down fast but cleanly; `restart` works afterwards.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Resolves when the server ends.
    pub(super) async fn exited(&mut self) -> StackError {
        self.process.exited().await
    }

    async fn until_ready(&mut self) -> Result<(), StackError> {
        let released_by = Instant::now() + RELEASE_DEADLINE;
        loop {
            let options = self.connect_options();
            let ended = self.process.until_ready(READY_DEADLINE, async || is_ready(&options).await).await;
            match ended {
                Err(StackError::Exited { .. })
                    if self.process.log_tail().contains(SHARED_MEMORY_HELD) && Instant::now() < released_by =>
                {
                    sleep(RELEASE_POLL).await;
                    self.process = launch(&self.binaries, &self.folder, self.port, self.durable, &self.log)?;
                }
                Ok(()) | Err(_) => return ended,
            }
        }
    }

    fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .password(&self.password)
            .database(DATABASE)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }
}

/// Ends a server that an earlier start left behind on this data.
pub(super) async fn end_stale(data_dir: &Path) -> Result<(), StackError> {
    let folder = PostgresFolder::of(data_dir).await?;
    stale::end_server(&folder.path.join("postmaster.pid"), &folder.path, FAREWELL).await
}

fn launch(
    binaries: &PostgresBinaries,
    folder: &PostgresFolder,
    port: u16,
    durable: bool,
    log: &Path,
) -> Result<Supervised, StackError> {
    let mut arguments = vec![OsString::from("-D"), folder.path.clone().into_os_string()];
    arguments.extend(server_settings(port, durable).into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    Supervised::spawn(&Launch {
        server: SERVER_NAME,
        program: &binaries.folder.join("postgres"),
        arguments,
        account: folder.account.as_ref(),
        log,
        farewell: FAREWELL,
        reach: Reach::Server,
        port: Some((port, POSTGRES_PORT)),
    })
}

/// Settings go on the command line, so that they are always those of this version of the program.
fn server_settings(port: u16, durable: bool) -> Vec<String> {
    let durability = if durable { "on" } else { "off" };
    let mut settings = vec![
        format!("port={port}"),
        format!("max_connections={CONNECTIONS_MAX}"),
        format!("shared_buffers={SHARED_BUFFERS_MB}MB"),
        format!("max_wal_size={WAL_GB_MAX}GB"),
        format!("checkpoint_timeout={CHECKPOINT_MINUTES}min"),
    ];
    // Only the loopback address, and no socket: a socket would need a folder both users can reach.
    settings.extend(["listen_addresses=127.0.0.1", "unix_socket_directories="].map(str::to_owned));
    settings.extend(["password_encryption=scram-sha-256", "wal_level=replica", "jit=off"].map(str::to_owned));
    settings.extend(["random_page_cost=1.1", "timezone=UTC", "log_timezone=UTC"].map(str::to_owned));
    settings.extend(["logging_collector=off", "log_destination=stderr"].map(str::to_owned));
    settings.extend(["fsync", "synchronous_commit", "full_page_writes"].map(|name| format!("{name}={durability}")));
    settings
}

/// Whether the database answers; creates it when the server answers but has none.
async fn is_ready(options: &PgConnectOptions) -> Result<bool, StackError> {
    let refused = |source| StackError::Refused { port: options.get_port(), source };
    let error = match options.connect().await {
        Ok(mut connection) => {
            sqlx::raw_sql("select 1").execute(&mut connection).await.map_err(refused)?;
            connection.close().await.map_err(refused)?;
            return Ok(true);
        }
        Err(error) => error,
    };
    let code = error.as_database_error().and_then(|answer| answer.code()).map(|code| code.into_owned());
    match code.as_deref() {
        Some(NO_DATABASE) => {
            let first = options.clone().database(FIRST_DATABASE);
            let mut connection = first.connect().await.map_err(refused)?;
            sqlx::raw_sql("create database pcs").execute(&mut connection).await.map_err(refused)?;
            connection.close().await.map_err(refused)?;
            Ok(false)
        }
        // Without an answer from the server nobody listens yet.
        Some(STARTING_UP) | None => Ok(false),
        Some(_) => Err(refused(error)),
    }
}

/// The direct children of a process. Only Linux tells; elsewhere the backends find out about the death themselves.
fn children_of(pid: u32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stack_that_is_not_durable_gives_up_the_disk_guarantees() {
        let durable = server_settings(5432, true);
        assert!(durable.contains(&"fsync=on".to_owned()) && durable.contains(&"synchronous_commit=on".to_owned()));
        assert!(durable.contains(&"full_page_writes=on".to_owned()));
        let fast = server_settings(5432, false);
        assert!(fast.contains(&"fsync=off".to_owned()) && fast.contains(&"full_page_writes=off".to_owned()));
    }

    #[test]
    fn the_server_listens_only_on_the_loopback_address() {
        let settings = server_settings(20_001, true);
        assert!(settings.contains(&"listen_addresses=127.0.0.1".to_owned()));
        assert!(settings.contains(&"unix_socket_directories=".to_owned()));
        assert!(settings.contains(&"port=20001".to_owned()));
    }

    #[test]
    fn the_database_created_is_the_database_asked_for() {
        assert_eq!(DATABASE, "pcs", "the statement in `is_ready` names it literally");
    }
}
