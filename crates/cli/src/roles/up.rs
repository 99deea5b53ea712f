//! `pcs up`: PostgreSQL, NATS and every role on this machine, and the demo suite the first time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use pcs_bus::{Bus, BusConfig};
use pcs_server::{Checked, ReadinessCheck};
use pcs_store::{KeySource, Store, StoreConfig};

use super::services;
use super::settings::{ArchiveArgs, KeyArgs, ServeArgs, WorkArgs};
use crate::client::connection::Connection;
use crate::commands::run::RunArgs;
use crate::lifecycle::{self, Lifecycle, Stage};
use crate::local::{self, Credentials, Endpoints, LOCAL_DIR};
use crate::stack::{LocalStack, NatsServer, StackConfig};
use crate::telemetry;

/// What `pcs up` logs where nothing else is said: people read its progress lines.
const LOG_FILTER: &str = "warn,genai=off";
/// The suite that is run the first time.
const DEMO_SUITE: &str = "examples/gsm8k/suite.yaml";

/// Starts PostgreSQL, NATS and every role on this machine.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// The folder for data, logs and credentials.
    #[arg(long, env = "PCS_LOCAL_DIR", default_value = LOCAL_DIR)]
    local_dir: PathBuf,
    /// Does not run the demo suite.
    #[arg(long)]
    no_demo: bool,
    /// The demo suite; it is run once per local folder.
    #[arg(long, default_value = DEMO_SUITE)]
    demo: PathBuf,
    /// Starts no worker in this process: `pcs work` runs beside it.
    #[arg(long)]
    no_worker: bool,
    /// Uses this PostgreSQL and starts none.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    archive: ArchiveArgs,
    /// Uses this NATS and starts none.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    work: WorkArgs,
}

impl Up {
    /// Runs until a signal, or until a part of it ends by itself.
    ///
    /// # Errors
    /// What could not be started, or what ended.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-up", LOG_FILTER);
        std::fs::create_dir_all(&self.local_dir)
            .with_context(|| format!("the folder {} can't be made", self.local_dir.display()))?;
        let config = StackConfig {
            data_dir: self.local_dir.clone(),
            cache_dir: self.local_dir.join("cache"),
            database_url: self.database_url.clone(),
            nats_url: self.nats_url.clone(),
            durable: true,
        };
        let mut stack = tokio::select! {
            stack = LocalStack::start(&config, &|line| say(line)) => stack?,
            signal = lifecycle::signal() => return signal,
        };
        let endpoints = Endpoints {
            database_url: stack.database_url.clone(),
            nats_url: stack.nats_url.clone(),
            worker_nats_url: stack.nats.as_ref().map(NatsServer::worker_url),
            server_nats_url: stack.nats.as_ref().map(NatsServer::server_url),
        };
        let mut services = Lifecycle::default();
        let result = tokio::select! {
            result = self.start_and_wait(&endpoints, &mut services) => result,
            error = stack.exited() => Err(error.into()),
            signal = lifecycle::signal() => signal,
        };
        say("stopping");
        tokio::select! {
            () = async { services.stop().await; stack.stop().await } => (),
            _ = lifecycle::signal() => say("stopped at once on a second signal"),
        }
        result
    }

    async fn start_and_wait(&self, endpoints: &Endpoints, services: &mut Lifecycle) -> anyhow::Result<()> {
        let address = self.start_services(endpoints, services).await?;
        let url = format!("http://{address}");
        if let (Some(suite), Some(connection)) = (self.demo_to_run(), self.connection(&url)?) {
            say(&format!("running the demo suite {} for the first time", suite.display()));
            tokio::select! {
                result = RunArgs::of_suite(suite).execute_at(&connection) => {
                    result.context("the demo suite did not run")?;
                }
                error = services.failed() => return Err(error),
            }
            std::fs::write(self.demo_marker(), "")?;
        }
        self.say_ready(&url);
        Err(services.failed().await)
    }

    async fn start_services(&self, endpoints: &Endpoints, services: &Lifecycle) -> anyhow::Result<SocketAddr> {
        let Endpoints { database_url, nats_url, worker_nats_url, server_nats_url } = endpoints;
        let pool = sqlx::PgPool::connect(database_url).await.context("the database can't be reached")?;
        pcs_store::migrate(&pool).await?;
        let new = pcs_auth::bootstrap(&pool).await?;
        pool.close().await;
        let keys = match self.keys.given() {
            Some(keys) => keys,
            None => KeySource::File(local::key_file_or_new(&self.local_dir)?),
        };
        let config = StoreConfig {
            keys: Some(keys),
            archive: self.archive.config(),
            ..StoreConfig::new(database_url.as_str(), "pcs up")
        };
        let store = Store::connect(&config).await?;
        let bus = Bus::connect(&BusConfig { url: nats_url.clone(), name: "pcs up".to_owned() }).await?;
        // For roles that run beside this process, such as a second `pcs serve`.
        let server_url = server_nats_url.as_ref().unwrap_or(nats_url);
        let broker = BusConfig { url: server_url.clone(), name: "pcs up hints".to_owned() };
        services::hints(services, store.clone(), broker);
        services::project(services, &store);
        services::relay(services, store.clone(), bus.clone());
        if !self.no_worker {
            let worker_url = worker_nats_url.as_ref().unwrap_or(nats_url);
            let bus = Bus::connect(&BusConfig { url: worker_url.clone(), name: "pcs up work".to_owned() }).await?;
            services::work(services, Stage::Front, bus, &self.work).await?;
        }
        let checks: Vec<Arc<dyn ReadinessCheck>> = vec![Arc::new(BrokerCheck { bus })];
        let address = services::serve(services, store, &self.serve, checks).await?;
        local::write(&Endpoints::path(&self.local_dir), endpoints)?;
        self.keep_credentials(address, new)?;
        Ok(address)
    }

    /// Keeps the first key, and the address, which may change from start to start.
    fn keep_credentials(&self, address: SocketAddr, new: Option<pcs_auth::NewCredentials>) -> anyhow::Result<()> {
        let path = Credentials::path(&self.local_dir);
        let url = format!("http://{address}");
        let credentials = match new {
            Some(new) => Credentials { url, api_key: new.api_key, email: new.email },
            None => match local::read::<Credentials>(&path)? {
                Some(kept) => Credentials { url, ..kept },
                // Somebody else's database: its administrator has the key.
                None => return Ok(()),
            },
        };
        local::write(&path, &credentials)
    }

    /// The way to our own server, for the demo.
    fn connection(&self, url: &str) -> anyhow::Result<Option<Connection>> {
        let kept = local::read::<Credentials>(&Credentials::path(&self.local_dir))?;
        let connect = |kept: Credentials| Connection::find(Some(url.to_owned()), Some(kept.api_key), &self.local_dir);
        Ok(kept.map(connect).transpose()?)
    }

    fn demo_marker(&self) -> PathBuf {
        self.local_dir.join("demo-done")
    }

    fn demo_to_run(&self) -> Option<PathBuf> {
        let wanted = !self.no_demo && !self.no_worker && !self.demo_marker().exists() && self.demo.exists();
        wanted.then(|| self.demo.clone())
    }

    fn say_ready(&self, url: &str) {
        let kept = local::read::<Credentials>(&Credentials::path(&self.local_dir)).ok().flatten();
        say(&format!("ready at {url}"));
        match kept {
            Some(credentials) => {
                say(&format!("first login: {} with the API key {}", credentials.email, credentials.api_key));
                say(&format!("kept in {}", shown(&Credentials::path(&self.local_dir))));
            }
            None => say("this database has its administrator already; set PCS_API_KEY to its key"),
        }
        say("Ctrl-C stops everything");
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn say(line: &str) {
    eprintln!("pcs: {line}");
}

/// Whether the broker answers.
struct BrokerCheck {
    bus: Bus,
}

impl ReadinessCheck for BrokerCheck {
    fn name(&self) -> &str {
        "broker"
    }

    fn is_required(&self) -> bool {
        false
    }

    fn check(&self) -> Checked<'_> {
        Box::pin(
            async move { self.bus.check().await.map(|()| "it answers".to_owned()).map_err(|error| error.to_string()) },
        )
    }
}
