//! What every command of `pcs es` has at hand: the database, the tenant's number, and a table or JSON as output.

use clap::Args;
use pcs_domain::ids::TenantId;
use pcs_store::{KeySource, Store, StoreConfig};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output};
use crate::local::Endpoints;
use crate::roles::ArchiveArgs;

/// Connections of a tool: it reads along with the system and must not take its connections away.
const CONNECTIONS_MAX: u32 = 4;
/// What the database shows as the client's name.
const APPLICATION_NAME: &str = "pcs es";

/// Arguments of every command of `pcs es`; they may stand before or after the command's own.
#[derive(Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// PostgreSQL as postgres://user:password@host:port/database; that of the nearest .local where it is not given
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// The tenant whose streams and events are meant: 1 where one is needed, else all
    #[arg(long, value_name = "N", global = true)]
    pub tenant: Option<i32>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The database and the output of one call.
pub struct Console {
    args: ConsoleArgs,
    /// Where results and notes go.
    pub output: Output,
}

impl Console {
    /// A console with these arguments, which has not connected yet.
    #[must_use]
    pub fn new(args: ConsoleArgs, output: Output) -> Self {
        Self { args, output }
    }

    /// Whether a program reads the result.
    #[must_use]
    pub fn json(&self) -> bool {
        self.args.json
    }

    /// The tenant whose streams are meant.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.only_tenant().unwrap_or(TenantId::DEFAULT)
    }

    /// The tenant to which events are restricted; none for all.
    #[must_use]
    pub fn only_tenant(&self) -> Option<TenantId> {
        self.args.tenant.map(TenantId)
    }

    /// The database's address, given or found.
    ///
    /// # Errors
    /// Where there is none.
    pub fn database_url(&self) -> Result<String, CliError> {
        let found = || Endpoints::nearest().map(|endpoints| endpoints.database_url);
        self.args.database_url.clone().or_else(found).ok_or_else(|| {
            CliError::usage(
                "no database is known: DATABASE_URL is not set, and there is no .local here or in a folder above",
                "start one with `pcs up` in this folder, or give --database-url",
            )
        })
    }

    /// The store on that database.
    ///
    /// # Errors
    /// Where there is no database or it does not answer.
    pub async fn store(&self) -> Result<Store, CliError> {
        self.store_with(None).await
    }

    /// The store on that database, which opens personal data with these keys.
    ///
    /// # Errors
    /// Where there is no database or it does not answer.
    pub async fn store_with(&self, keys: Option<KeySource>) -> Result<Store, CliError> {
        let mut config = StoreConfig::new(self.database_url()?, APPLICATION_NAME);
        config.connections_max = CONNECTIONS_MAX;
        config.archive = self.args.archive.config();
        config.keys = keys;
        Ok(Store::connect(&config).await?)
    }

    /// Connections to that database without a store: for what must also work where the store does not open.
    ///
    /// # Errors
    /// Where there is no database or it does not answer.
    pub async fn pool(&self) -> Result<PgPool, CliError> {
        let options: PgConnectOptions = self.database_url()?.parse()?;
        let options = options.application_name(APPLICATION_NAME);
        Ok(PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?)
    }

    /// Prints a list: a table for people, or the same things as JSON.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn list<T: Serialize>(
        &mut self,
        things: &[T],
        columns: &[(&str, Align)],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        if self.json() {
            return self.output.json(&things);
        }
        if things.is_empty() {
            self.output.note("nothing was found");
            return Ok(());
        }
        self.output.table(columns, things.iter().map(row).collect())
    }

    /// Prints one thing: its fields below each other, or the same thing as JSON.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn thing<T: Serialize>(&mut self, thing: &T, fields: Vec<(&str, String)>) -> Result<(), CliError> {
        if self.json() {
            return self.output.json(thing);
        }
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            self.output.line(&format!("{name:width$}  {value}"))?;
        }
        Ok(())
    }
}
