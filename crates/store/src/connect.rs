//! Opening the store: settings, the pool, and what every process does at its start.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;

use crate::archive::{Archive, ArchiveConfig};
use crate::error::StoreError;
use crate::passed_by::Counts;
use crate::privacy::{self, KeySource};
use crate::{Inner, Store, appender, schemas, snapshot, tail, types};

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `postgres://user:password@host:port/database`.
    pub database_url: String,
    /// Most connections of this process.
    pub connections_max: u32,
    /// What the server shows as the client's name.
    pub application_name: String,
    /// The master keys of personal data. Without them it is neither taken nor shown; what only moves what is sealed,
    /// such as the projections, needs none.
    pub keys: Option<KeySource>,
    /// Where archived events are.
    pub archive: ArchiveConfig,
}

/// Longest wait for a free connection before a request fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

impl StoreConfig {
    /// Settings with the usual number of connections.
    #[must_use]
    pub fn new(database_url: impl Into<String>, application_name: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            connections_max: 16,
            application_name: application_name.into(),
            keys: None,
            archive: ArchiveConfig::default(),
        }
    }
}

impl Store {
    /// Connects, registers the event types of this build and starts the appender. The schema must be migrated.
    ///
    /// # Errors
    /// Where the database can't be reached or has not been migrated.
    pub async fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        let archive = Archive::open(&config.archive)?;
        let options: PgConnectOptions = config.database_url.parse()?;
        let options = options.application_name(&config.application_name);
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await?;
        let types = types::TypeRegistry::register(&pool).await?;
        let (newest, _) = watch::channel(0);
        // The appender has a connection of its own: readers that hold all others must not hold up commits.
        let appender = appender::Appender::start(options)?;
        let (schemas, markings) = (schemas::Schemas::compile()?, privacy::Markings::compile()?);
        let snapshots = snapshot::Snapshots::new(pool.clone());
        let (passed_by, keys) = (Counts::default(), privacy::Keys::new(config.keys.clone()));
        let tail = tail::Tail::new();
        let inner =
            Inner { pool, types, schemas, appender, archive, snapshots, passed_by, markings, keys, newest, tail };
        let store = Self { inner: Arc::new(inner) };
        if store.inner.keys.are_set() {
            // Also finds out at the start whether the master keys can be read.
            store.relay_key()?;
            store.keep_shredded().await?;
        }
        Ok(store)
    }
}
