//! The private local stack: PostgreSQL and nats-server as child processes, for `pcs up` and for tests.

mod account;
mod child;
mod error;
mod log;
mod nats;
mod postgres;
mod postgres_folder;
mod programs;
mod settings;
mod stale;
mod state;
mod wheels;

use std::future::pending;
use std::path::{Path, PathBuf};

pub use error::StackError;
pub use nats::{NatsPorts, NatsServer};
pub use postgres::PostgresServer;
pub use programs::{NatsBinary, PostgresBinaries, Version};
pub use settings::StackSettings;

use account::public_folder;
use postgres_folder::PostgresFolder;
use programs::Search;
use state::{FolderLock, Ports};

/// A free port can be taken between our look and the server's; so many times a new one is chosen.
const PORT_ATTEMPTS_MAX: u32 = 3;

/// Where the stack lives and what it need not start.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Holds `postgres/`, `nats/`, `logs/`, the passwords and `stack.json`.
    pub data_dir: PathBuf,
    /// Fetched programs; many stacks share one. `PCS_CACHE_DIR` overrides it.
    pub cache_dir: PathBuf,
    /// Given: this database is used and no PostgreSQL is started.
    pub database_url: Option<String>,
    /// Given: this server is used and no nats-server is started.
    pub nats_url: Option<String>,
    /// False gives up what survives a power cut for speed: only for tests that do not measure.
    pub durable: bool,
}

/// The running stack. `stop` ends it in order; dropping it ends it too, in the background and by watchers.
#[derive(Debug)]
pub struct LocalStack {
    pub database_url: String,
    pub nats_url: String,
    pub postgres: Option<PostgresServer>,
    pub nats: Option<NatsServer>,
    /// None when both servers are somebody else's.
    _lock: Option<FolderLock>,
}

impl LocalStack {
    /// Starts what the config does not bring along; returns when both servers answer.
    pub async fn start(config: &StackConfig, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<Self, StackError> {
        Self::start_with(config, &StackSettings::from_environment()?, progress).await
    }

    /// As `start`, with the settings given instead of read from the environment.
    pub async fn start_with(
        config: &StackConfig,
        settings: &StackSettings,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, StackError> {
        if let (Some(database_url), Some(nats_url)) = (&config.database_url, &config.nats_url) {
            let (database_url, nats_url) = (database_url.clone(), nats_url.clone());
            return Ok(Self { database_url, nats_url, postgres: None, nats: None, _lock: None });
        }
        let data_dir = public_folder(&config.data_dir)?;
        let lock = FolderLock::take(&data_dir)?;
        let ports = Ports::load(&data_dir);
        let cache = settings.cache_dir.as_deref().unwrap_or(&config.cache_dir);
        let start = Start { data_dir: &data_dir, ports, search: Search { settings, cache, progress } };
        let (postgres, nats) = tokio::try_join!(
            async {
                if config.database_url.is_none() { start.postgres(config.durable).await.map(Some) } else { Ok(None) }
            },
            async { if config.nats_url.is_none() { start.nats().await.map(Some) } else { Ok(None) } },
        )?;
        remember(&data_dir, ports, postgres.as_ref(), nats.as_ref())?;
        let database_url = postgres.as_ref().map(|server| server.url(postgres::DATABASE));
        let nats_url = nats.as_ref().map(NatsServer::url);
        Ok(Self {
            database_url: database_url.or_else(|| config.database_url.clone()).unwrap_or_default(),
            nats_url: nats_url.or_else(|| config.nats_url.clone()).unwrap_or_default(),
            postgres,
            nats,
            _lock: Some(lock),
        })
    }

    /// Resolves when a server of ours ends by itself; never when none is ours.
    pub async fn exited(&mut self) -> StackError {
        let (postgres, nats) = (&mut self.postgres, &mut self.nats);
        tokio::select! {
            error = async { match postgres { Some(server) => server.exited().await, None => pending().await } } => error,
            error = async { match nats { Some(server) => server.exited().await, None => pending().await } } => error,
        }
    }

    /// Stops NATS first, so that nothing delivers work any more, then PostgreSQL with a fast shutdown.
    pub async fn stop(mut self) {
        if let Some(nats) = &mut self.nats {
            nats.stop().await;
        }
        if let Some(postgres) = &mut self.postgres {
            postgres.stop().await;
        }
    }
}

struct Start<'a> {
    data_dir: &'a Path,
    ports: Ports,
    search: Search<'a>,
}

impl Start<'_> {
    async fn postgres(&self, durable: bool) -> Result<PostgresServer, StackError> {
        postgres::end_stale(self.data_dir).await?;
        let folder = PostgresFolder::of(self.data_dir).await?;
        let data = folder.made_by.map(|major| (folder.path.as_path(), major));
        let binaries = self.search.postgres(data, folder.account.as_ref()).await?;
        if data.is_none() {
            (self.search.progress)(&format!("creating the database in {}", folder.path.display()));
        }
        let (mut ports, mut attempt) = (self.ports, 1);
        loop {
            let port = ports.choose_postgres(self.search.settings)?;
            let started = PostgresServer::start(binaries.clone(), self.data_dir, port, durable).await;
            match started {
                Err(StackError::PortInUse { .. })
                    if self.search.settings.postgres_port.is_none() && attempt < PORT_ATTEMPTS_MAX =>
                {
                    (ports.postgres, attempt) = (None, attempt + 1);
                }
                Ok(_) | Err(_) => return started,
            }
        }
    }

    async fn nats(&self) -> Result<NatsServer, StackError> {
        nats::end_stale(self.data_dir).await?;
        let binary = self.search.nats().await?;
        let (mut ports, mut attempt) = (self.ports, 1);
        loop {
            let (client, monitor) = ports.choose_nats(self.search.settings)?;
            let started = NatsServer::start(binary.clone(), self.data_dir, NatsPorts { client, monitor }).await;
            match started {
                Err(StackError::PortInUse { .. })
                    if self.search.settings.nats_port.is_none() && attempt < PORT_ATTEMPTS_MAX =>
                {
                    (ports.nats, ports.nats_monitor, attempt) = (None, None, attempt + 1);
                }
                Ok(_) | Err(_) => return started,
            }
        }
    }
}

fn remember(
    data_dir: &Path,
    before: Ports,
    postgres: Option<&PostgresServer>,
    nats: Option<&NatsServer>,
) -> Result<(), StackError> {
    let now = Ports {
        postgres: postgres.map(PostgresServer::port).or(before.postgres),
        nats: nats.map(|server| server.ports().client).or(before.nats),
        nats_monitor: nats.map(|server| server.ports().monitor).or(before.nats_monitor),
    };
    if now == before { Ok(()) } else { now.save(data_dir) }
}
