//! A durable PostgreSQL of our own with an empty store, and a broker where jobs are measured.

use std::path::Path;

use anyhow::Context;
use pcs::stack::{LocalStack, StackConfig};
use pcs_store::{Store, StoreConfig};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

/// The server, and the store in its first database. `stop` ends it in order.
pub(crate) struct Ground {
    /// The store.
    pub(crate) store: Store,
    /// Connections beside the store's.
    pub(crate) pool: PgPool,
    stack: LocalStack,
    folder: TempDir,
}

impl Ground {
    /// Starts the server, with fsync as in `pcs up`, and migrates its first database.
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        Self::start(Some("nats://not.used".to_owned())).await
    }

    /// The same with a broker beside it.
    pub(crate) async fn prepare_with_broker() -> anyhow::Result<Self> {
        Self::start(None).await
    }

    async fn start(nats_url: Option<String>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = StackConfig {
            data_dir: folder.path().join("stack"),
            cache_dir: ".local/cache".into(),
            database_url: None,
            nats_url,
            durable: true,
        };
        let stack = LocalStack::start(&config, &|line| eprintln!("  {line}")).await?;
        let pool = PgPool::connect(&stack.database_url).await?;
        let store = open(&stack.database_url).await?;
        Ok(Self { store, pool, stack, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> &str {
        &self.stack.database_url
    }

    pub(crate) fn nats_url(&self) -> &str {
        &self.stack.nats_url
    }

    /// Makes another, empty database on the same server; answers its address. The name is a constant of ours.
    pub(crate) async fn database(&self, name: &str) -> anyhow::Result<String> {
        sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
            .execute(&self.pool)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&self.pool).await?;
        let (server, _) = self.url().rsplit_once('/').context("the address names no database")?;
        Ok(format!("{server}/{name}"))
    }

    pub(crate) async fn stop(self) {
        drop(self.store);
        self.pool.close().await;
        self.stack.stop().await;
    }
}

/// Migrates a database and opens the store in it.
pub(crate) async fn open(url: &str) -> anyhow::Result<Store> {
    let pool = PgPool::connect(url).await?;
    pcs_store::migrate(&pool).await?;
    pool.close().await;
    Ok(Store::connect(&StoreConfig::new(url, "bench")).await?)
}
