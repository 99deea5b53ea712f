//! The scratch database: on a private server that may be killed, or on a given one that may not.

use std::path::PathBuf;

use pcs_store::{Store, StoreConfig};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::commands::exit::CliError;
use crate::local::LOCAL_DIR;
use crate::stack::{LocalStack, StackConfig};

/// The variable with the folder of fetched programs.
const CACHE_VARIABLE: &str = "PCS_CACHE_DIR";

/// The database and where it is.
pub(super) struct Scratch {
    url: String,
    place: Place,
}

enum Place {
    Private { stack: Box<LocalStack>, folder: PathBuf },
    Given { server: String, name: String },
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::System(error.to_string())
}

impl Scratch {
    pub(super) async fn make(server: Option<&str>) -> Result<Self, CliError> {
        let scratch = match server {
            Some(server) => Self::on(server).await?,
            None => Self::private().await?,
        };
        let pool = sqlx::PgPool::connect(&scratch.url).await?;
        pcs_store::migrate(&pool).await?;
        pool.close().await;
        Ok(scratch)
    }

    async fn private() -> Result<Self, CliError> {
        let folder = std::env::temp_dir().join(format!("pcs-chaos-{}", Uuid::new_v4().simple()));
        let cache_dir =
            std::env::var_os(CACHE_VARIABLE).map_or_else(|| PathBuf::from(LOCAL_DIR).join("cache"), PathBuf::from);
        let config = StackConfig {
            data_dir: folder.clone(),
            cache_dir,
            database_url: None,
            nats_url: Some("nats://not.used".to_owned()),
            durable: true,
        };
        let stack = LocalStack::start(&config, &|_| ()).await.map_err(failed)?;
        Ok(Self { url: stack.database_url.clone(), place: Place::Private { stack: Box::new(stack), folder } })
    }

    async fn on(server: &str) -> Result<Self, CliError> {
        let name = format!("pcs_chaos_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(server).await?;
        // The name is ours.
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let mut url: reqwest::Url = server.parse().map_err(failed)?;
        url.set_path(&name);
        Ok(Self { url: url.to_string(), place: Place::Given { server: server.to_owned(), name } })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn store(&self) -> Result<Store, CliError> {
        Ok(Store::connect(&StoreConfig::new(&self.url, "pcs es chaos")).await?)
    }

    /// Whether the server is ours to kill.
    pub(super) fn is_private(&self) -> bool {
        matches!(self.place, Place::Private { .. })
    }

    /// `kill -9` of the server with all its backends, and its start.
    pub(super) async fn crash(&mut self) -> Result<(), CliError> {
        if let Place::Private { stack, .. } = &mut self.place
            && let Some(server) = stack.postgres.as_mut()
        {
            server.kill9().await;
            server.restart().await.map_err(failed)?;
        }
        Ok(())
    }

    /// Cuts connections to the database, one of so many; answers how many.
    pub(super) async fn cut(&self, one_of: i64) -> Result<u64, CliError> {
        let mut connection = PgConnection::connect(&self.url).await?;
        let cut: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
               and mod(pid, $1) = 0",
        )
        .bind(one_of)
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(u64::try_from(cut).unwrap_or(0))
    }

    /// Ends the server and removes its folder, or drops the database.
    pub(super) async fn remove(self) {
        match self.place {
            Place::Private { stack, folder } => {
                stack.stop().await;
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::warn!(folder = %folder.display(), %error, "the folder stays");
                }
            }
            Place::Given { server, name } => {
                if let Err(error) = drop_database(&server, &name).await {
                    tracing::warn!(database = name, %error, "the scratch database stays");
                }
            }
        }
    }
}

async fn drop_database(server: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    sqlx::query(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(&mut connection).await?;
    connection.close().await
}
