//! A nats-server of its own for each test; starting one takes a tenth of a second.

use pcs::stack::{LocalStack, StackConfig};
use pcs_bus::{Bus, BusConfig};
use tempfile::TempDir;

/// A broker of its own.
pub struct TestBroker {
    /// The server, to be killed and started again.
    pub stack: LocalStack,
    _folder: TempDir,
}

impl TestBroker {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no nats-server to be had.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = StackConfig {
            data_dir: folder.path().to_owned(),
            cache_dir: crate::cache_dir(),
            database_url: Some("postgres://not.used".to_owned()),
            nats_url: None,
            durable: false,
        };
        let stack = LocalStack::start(&config, &|_| ()).await.expect("nats-server starts");
        Self { stack, _folder: folder }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.stack.nats_url
    }

    /// A connection to it.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn bus(&self) -> Bus {
        let config = BusConfig { url: self.url().to_owned(), name: "test".to_owned() };
        Bus::connect(&config).await.expect("the broker answers")
    }
}
