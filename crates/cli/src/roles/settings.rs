//! Settings of the roles, as flags and environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use pcs_bus::BusConfig;
use pcs_store::{ArchiveConfig, KeySource, StoreConfig};

use crate::local::{self, Endpoints};

/// Where PostgreSQL is.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// PostgreSQL as postgres://user:password@host:port/database; that of the nearest .local where it is not given.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    archive: ArchiveArgs,
}

impl DatabaseArgs {
    /// The settings of a store on it.
    ///
    /// # Errors
    /// Where there is no address.
    pub fn store(&self, name: &str) -> anyhow::Result<StoreConfig> {
        Ok(StoreConfig { archive: self.archive.config(), ..StoreConfig::new(self.url()?, name) })
    }

    /// The address, given or found.
    ///
    /// # Errors
    /// Where there is none.
    pub fn url(&self) -> anyhow::Result<String> {
        let found = || Endpoints::nearest().map(|endpoints| endpoints.database_url);
        self.database_url.clone().or_else(found).context("set DATABASE_URL, or start `pcs up` in this folder")
    }
}

/// The variable with the master keys themselves; an argument would show them to everybody on the machine.
const KEYS: &str = "PCS_KEYS";

/// The master keys of personal data.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyArgs {
    /// The file of the master keys of personal data, one `NAME 64-HEX-DIGITS` a line, the one in use first; PCS_KEYS may
    /// hold the same text instead. That of the nearest .local where neither is given
    #[arg(long, env = "PCS_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The file, given or found.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.key_file.clone().or_else(local::nearest_key_file)
    }

    /// Where the keys are said to be; none where nothing is said.
    #[must_use]
    pub fn given(&self) -> Option<KeySource> {
        let text = || std::env::var(KEYS).ok().filter(|text| !text.trim().is_empty());
        let file = self.key_file.clone().map(KeySource::File);
        file.or_else(|| text().map(|text| KeySource::Text(text.into())))
    }

    /// Where the keys are, said or found; none where there are none.
    #[must_use]
    pub fn source(&self) -> Option<KeySource> {
        self.given().or_else(|| local::nearest_key_file().map(KeySource::File))
    }
}

/// Where archived events are.
#[derive(Args, Clone, Debug, Default)]
pub struct ArchiveArgs {
    /// The archive of old events as file:///folder or s3://bucket/prefix; S3 takes the usual AWS_… variables
    #[arg(long, env = "PCS_ARCHIVE_URL", value_name = "URL", global = true)]
    archive_url: Option<String>,
}

impl ArchiveArgs {
    /// The settings of the archive: the address, and what the environment says of S3.
    #[must_use]
    pub fn config(&self) -> ArchiveConfig {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let options = variables.filter(|(name, _)| name.starts_with("AWS_")).collect();
        ArchiveConfig { url: self.archive_url.clone().filter(|url| !url.trim().is_empty()), options }
    }
}

/// Where NATS is.
#[derive(Args, Clone, Debug)]
pub struct NatsArgs {
    /// NATS as nats://user:password@host:port; that of the nearest .local where it is not given.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
}

impl NatsArgs {
    /// The address for the relay and for operators, given or found.
    ///
    /// # Errors
    /// Where there is none.
    pub fn url(&self) -> anyhow::Result<String> {
        self.given_or(|endpoints| endpoints.nats_url)
    }

    /// The address for a worker, given or found.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn worker_url(&self) -> anyhow::Result<String> {
        self.given_or(|endpoints| endpoints.worker_nats_url.unwrap_or(endpoints.nats_url))
    }

    fn given_or(&self, of: impl FnOnce(Endpoints) -> String) -> anyhow::Result<String> {
        let found = || Endpoints::nearest().map(of);
        self.nats_url.clone().or_else(found).context("set NATS_URL, or start `pcs up` in this folder")
    }

    /// The broker for a role that works without one, only slower to see what others do.
    pub(super) fn for_hints(&self, name: &str) -> Option<BusConfig> {
        let url = self.given_or(|endpoints| endpoints.server_nats_url.unwrap_or(endpoints.nats_url)).ok()?;
        Some(BusConfig { url, name: name.to_owned() })
    }
}

/// How the HTTP server serves.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, env = "PCS_LISTEN", default_value = "127.0.0.1:8088")]
    pub listen: SocketAddr,
}

/// A kind of jobs that `pcs work` does; maintenance is the relay's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum WorkKind {
    /// Tests: one model asked about one case.
    TestExecution,
    /// Tasks of agents.
    SwarmAgent,
}

/// How a worker works.
#[derive(Args, Clone, Debug)]
pub struct WorkArgs {
    /// The kinds of jobs that are done; comma-separated.
    #[arg(long, env = "PCS_KINDS", value_delimiter = ',', default_value = "test_execution,swarm_agent")]
    pub kinds: Vec<WorkKind>,
    /// How many jobs of each kind are done at once.
    #[arg(long, env = "PCS_SLOTS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub slots: u32,
    /// How many seconds running jobs may take to finish after the signal to stop (services are dropped after 30).
    #[arg(long, env = "PCS_DRAIN_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=25))]
    pub drain_seconds: u64,
    /// The folder with a folder per set of recorded answers.
    #[arg(long, env = "PCS_RECORDINGS_DIR", default_value = "examples")]
    pub recordings_dir: PathBuf,
    /// Addresses that a model's `base_url` may lead to, beside loopback ones; comma-separated.
    #[arg(long, env = "PCS_ALLOWED_BASE_URLS", value_delimiter = ',')]
    pub allowed_base_urls: Vec<String>,
    #[command(flatten)]
    pub python: PythonArgs,
    /// Where Prometheus reads this worker's metrics, such as 127.0.0.1:9464; nowhere where it is not given.
    #[arg(long, env = "PCS_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
}

/// Whether Python of assertions is run.
#[derive(Args, Clone, Debug)]
pub struct PythonArgs {
    /// The interpreter that runs `python` assertions; without it they fail. It may do what the worker's user may do, so
    /// name one only where every author of assertions may too.
    #[arg(long, env = "PCS_PYTHON", value_name = "PROGRAM")]
    python: Option<PathBuf>,
}

impl PythonArgs {
    /// Python is run by this interpreter.
    #[must_use]
    pub fn of(interpreter: impl Into<PathBuf>) -> Self {
        Self { python: Some(interpreter.into()) }
    }

    /// Has assertions of this process run by it.
    pub fn apply(&self) {
        if let Some(interpreter) = &self.python {
            pcs_scripting::allow_python(interpreter.clone());
        }
    }
}

impl WorkArgs {
    /// The drain time as a duration.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}
