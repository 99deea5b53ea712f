//! What serves: each role is a subcommand and can run in a process of its own, or all in one with `pcs up`.

mod settings;
pub mod services;
pub mod up;

use clap::Args;
use pcs_bus::{Bus, BusConfig};
use pcs_store::{KeySource, Store, StoreConfig};

pub use self::settings::{ArchiveArgs, DatabaseArgs, KeyArgs, NatsArgs, PythonArgs, ServeArgs, WorkArgs, WorkKind};
use crate::lifecycle::{Lifecycle, Stage};
use crate::telemetry;

/// What a role logs where nothing else is said.
const LOG_FILTER: &str = "info,sqlx=warn,async_nats=warn,hyper=warn,genai=off";

/// `pcs serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

/// `pcs relay`.
#[derive(Args, Clone, Debug)]
pub struct Relay {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    nats: NatsArgs,
    /// On how many nodes of a NATS cluster each stream is kept: 3 in production.
    #[arg(long, env = "PCS_NATS_REPLICAS", default_value_t = 1, value_parser = clap::builder::TypedValueParser::map(
        clap::builder::PossibleValuesParser::new(["1", "3", "5"]), |text| text.parse::<usize>().unwrap_or(1)))]
    nats_replicas: usize,
    #[command(flatten)]
    python: PythonArgs,
}

/// `pcs project`.
#[derive(Args, Clone, Debug)]
pub struct Project {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    nats: NatsArgs,
}

/// `pcs work`.
#[derive(Args, Clone, Debug)]
pub struct Work {
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// `pcs migrate`.
#[derive(Args, Clone, Debug)]
pub struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Cuts an empty log into partitions of this many positions, instead of 10,000,000.
    #[arg(long, value_parser = clap::value_parser!(i64).range(10..=1_000_000_000))]
    partition_len: Option<i64>,
}

impl Serve {
    /// Serves HTTP until told to stop.
    ///
    /// # Errors
    /// Where the database can't be reached or the address is taken.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-serve", LOG_FILTER);
        let lifecycle = Lifecycle::default();
        let store = connect_store(&self.database, self.keys.source(), "pcs serve").await?;
        start_hints(&lifecycle, &store, &self.nats, "pcs serve");
        let address = services::serve(&lifecycle, store, &self.serve, Vec::new()).await?;
        tracing::info!(%address, "serving");
        lifecycle.run_until_signal().await
    }
}

impl Relay {
    /// Schedules and records until told to stop.
    ///
    /// # Errors
    /// Where the database or the broker can't be reached.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-relay", LOG_FILTER);
        let lifecycle = Lifecycle::default();
        let store = connect_store(&self.database, self.keys.source(), "pcs relay").await?;
        let bus = connect_bus(self.nats.url()?, "pcs relay").await?.with_replicas(self.nats_replicas);
        start_hints(&lifecycle, &store, &self.nats, "pcs relay hints");
        self.python.apply();
        services::relay(&lifecycle, store, bus);
        lifecycle.run_until_signal().await
    }
}

impl Project {
    /// Keeps the read models up until told to stop.
    ///
    /// # Errors
    /// Where the database can't be reached.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-project", LOG_FILTER);
        let lifecycle = Lifecycle::default();
        // Without keys: it moves only what is sealed.
        let store = connect_store(&self.database, None, "pcs project").await?;
        start_hints(&lifecycle, &store, &self.nats, "pcs project");
        services::project(&lifecycle, &store);
        lifecycle.run_until_signal().await
    }
}

impl Work {
    /// Does jobs until told to stop.
    ///
    /// # Errors
    /// Where the broker can't be reached.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-work", LOG_FILTER);
        let lifecycle = Lifecycle::default();
        let bus = connect_bus(self.nats.worker_url()?, "pcs work").await?;
        services::work(&lifecycle, Stage::Front, bus, &self.work).await?;
        lifecycle.run_until_signal().await
    }
}

impl Migrate {
    /// Brings the database schema up to date and makes the first administrator.
    ///
    /// # Errors
    /// Where the database can't be reached or a migration fails.
    pub async fn execute(self) -> anyhow::Result<()> {
        let _telemetry = telemetry::start("pcs-migrate", LOG_FILTER);
        let pool = sqlx::PgPool::connect(&self.database.url()?).await?;
        pcs_store::migrate(&pool).await?;
        if let Some(partition_len) = self.partition_len {
            pcs_store::set_partition_len(&pool, partition_len).await?;
        }
        if let Some(credentials) = pcs_auth::bootstrap(&pool).await? {
            // Shown once and kept nowhere: only its hash is in the database.
            eprintln!("The first administrator is {}; its API key: {}", credentials.email, credentials.api_key);
        }
        Ok(())
    }
}

async fn connect_store(database: &DatabaseArgs, keys: Option<KeySource>, name: &str) -> anyhow::Result<Store> {
    Ok(Store::connect(&StoreConfig { keys, ..database.store(name)? }).await?)
}

fn start_hints(lifecycle: &Lifecycle, store: &Store, nats: &NatsArgs, name: &str) {
    match nats.for_hints(name) {
        Some(broker) => services::hints(lifecycle, store.clone(), broker),
        None => tracing::info!("no broker is known: appends of other processes are found by polling"),
    }
}

async fn connect_bus(url: String, name: &str) -> anyhow::Result<Bus> {
    Ok(Bus::connect(&BusConfig { url, name: name.to_owned() }).await?)
}
