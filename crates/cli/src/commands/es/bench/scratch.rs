//! A database of our own on the server that is measured; it is gone afterwards.

use std::str::FromStr;

use pcs_store::{Store, StoreConfig};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::commands::exit::CliError;

/// What the names of our databases begin with.
const NAME_PREFIX: &str = "pcs_bench_";

/// The database.
pub(super) struct Scratch {
    name: String,
    server: PgConnectOptions,
}

impl Scratch {
    /// Makes it, empty.
    ///
    /// # Errors
    /// Where the server does not answer or refuses, for example for want of the right to make databases.
    pub(super) async fn create(url: &str) -> Result<Self, CliError> {
        let server = PgConnectOptions::from_str(url)?;
        let name = format!("{NAME_PREFIX}{}", Uuid::new_v4().simple());
        let scratch = Self { name, server };
        scratch.on_server("create database").await?;
        Ok(scratch)
    }

    /// How it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its store, migrated.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(super) async fn store(&self) -> Result<Store, CliError> {
        let url = self.server.clone().database(&self.name).to_url_lossy();
        let pool = PgPool::connect(url.as_str()).await?;
        let migrated = pcs_store::migrate(&pool).await;
        pool.close().await;
        migrated?;
        Ok(Store::connect(&StoreConfig::new(url, "pcs es bench")).await?)
    }

    /// Drops it, whoever is still connected.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub(super) async fn drop(self) -> Result<(), CliError> {
        self.on_server("drop database if exists").await
    }

    /// The name is ours: a prefix and hexadecimal digits.
    async fn on_server(&self, what: &str) -> Result<(), CliError> {
        let forced = if what.starts_with("drop") { " with (force)" } else { "" };
        let statement = format!("{what} {}{forced}", self.name);
        let mut connection = PgConnection::connect_with(&self.server).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}
