//! One PostgreSQL per test process, and a migrated database of its own for each test.

use std::sync::{OnceLock, mpsc};

use pcs::stack::{LocalStack, StackConfig};
use pcs_store::{ArchiveConfig, KeySource, Store, StoreConfig};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

/// The address of the process's server, without a database.
static SERVER: OnceLock<String> = OnceLock::new();
/// The database that the others are copied from: copying is faster than migrating.
const TEMPLATE: &str = "pcs_template";

/// The master keys of all tests.
pub const MASTER_KEYS: &str = "test 7465737465727465737465727465737465727465737465727465737465727465";

/// A database of its own.
pub struct TestDatabase {
    /// Its address.
    pub url: String,
}

impl TestDatabase {
    /// Makes a migrated database.
    ///
    /// # Panics
    /// When there is no PostgreSQL to be had.
    pub async fn new() -> Self {
        Self::copy_of(TEMPLATE).await
    }

    async fn copy_of(template: &str) -> Self {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start_server)).await.expect("it starts");
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&with_database(server, "postgres")).await.expect("it answers");
        let statement = format!("create database {name} template {template}");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("a copy of the template");
        Self { url: with_database(server, &name) }
    }

    /// Makes a database without any schema, for tests of the migrations themselves.
    ///
    /// # Panics
    /// When there is no PostgreSQL to be had.
    pub async fn empty() -> Self {
        Self::copy_of("template1").await
    }

    /// A copy of it as it is now, as a restored backup is one. Nobody may be connected meanwhile but stores that are idle.
    ///
    /// # Panics
    /// When it can't be made.
    pub async fn copy(&self) -> Self {
        let (server, from) = self.url.rsplit_once('/').expect("an address ends in a database");
        let name = format!("copy_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&with_database(&self.url, "postgres")).await.expect("it answers");
        // A database that somebody is connected to can't be copied: the pools connect again by themselves.
        let statement =
            format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{from}'");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("they are gone");
        let statement = format!("create database {name} template {from}");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("a copy");
        Self { url: format!("{server}/{name}") }
    }

    /// A store on it that reads and writes an archive.
    ///
    /// # Panics
    /// When it can't be opened.
    pub async fn store_with(&self, archive: ArchiveConfig) -> Store {
        let config = StoreConfig { archive, ..StoreConfig::new(&self.url, "test") };
        Store::connect(&config).await.expect("the store opens")
    }

    /// A store on it.
    ///
    /// # Panics
    /// When it can't be opened.
    pub async fn store(&self) -> Store {
        let keys = Some(KeySource::Text(MASTER_KEYS.to_owned().into()));
        let config = StoreConfig { keys, ..StoreConfig::new(&self.url, "test") };
        Store::connect(&config).await.expect("the store opens")
    }
}

/// An archive in a folder of its own.
pub struct TestArchive {
    folder: tempfile::TempDir,
}

impl TestArchive {
    /// Makes one.
    ///
    /// # Panics
    /// When there is no temporary folder to be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> ArchiveConfig {
        ArchiveConfig { url: Some(format!("file://{}", self.folder.path().display())), options: Vec::new() }
    }
}

/// Starts the server on a thread of its own: it outlives the runtimes of single tests, and ends with the process.
fn start_server() -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let config = StackConfig {
                data_dir: folder.path().to_owned(),
                cache_dir: crate::cache_dir(),
                database_url: None,
                nats_url: Some("nats://not.used".to_owned()),
                durable: false,
            };
            let stack = LocalStack::start(&config, &|_| ()).await.expect("PostgreSQL starts");
            let url = stack.database_url.clone();
            migrate_template(&url).await;
            sender.send(url).expect("the test waits");
            std::future::pending::<()>().await;
            drop((stack, folder));
        });
    });
    receiver.recv().expect("PostgreSQL starts")
}

async fn migrate_template(url: &str) {
    let mut connection = PgConnection::connect(&with_database(url, "postgres")).await.expect("it answers");
    let statement = format!("create database {TEMPLATE}");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("the template");
    let pool = PgPool::connect(&with_database(url, TEMPLATE)).await.expect("the template answers");
    pcs_store::migrate(&pool).await.expect("the migrations run");
    pool.close().await;
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("an address ends in a database");
    format!("{server}/{name}")
}
