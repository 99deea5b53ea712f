//! A nats-server of its own for each test; starting one takes a tenth of a second. Or a cluster of three.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use pcs::stack::{LocalStack, NatsServer, StackConfig};
use pcs_bus::{Bus, BusConfig};
use tempfile::TempDir;

use crate::{eventually, free_port};

/// A broker of its own.
pub struct TestBroker {
    /// The server, to be killed and started again.
    pub stack: LocalStack,
    /// The nodes of a cluster; none where it is one server.
    pub nodes: Vec<Node>,
    _folder: TempDir,
}

/// A node of a cluster; dropping it kills it.
pub struct Node {
    process: Child,
    /// Its address.
    pub url: String,
    /// Its name.
    pub name: String,
    monitor: u16,
}

impl Node {
    /// `kill -9`.
    pub fn kill(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Nodes of a cluster.
const NODES: usize = 3;

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
        Self { stack, nodes: Vec::new(), _folder: folder }
    }

    /// Starts a cluster of three.
    ///
    /// # Panics
    /// When there is no nats-server to be had, or the nodes don't find each other.
    pub async fn cluster() -> Self {
        // The program is the one that a single server runs.
        let single = Self::new().await;
        let pid = single.stack.nats.as_ref().expect("it is ours").pid();
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let routes: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let nodes: Vec<Node> = (0..NODES).map(|nth| start_node(&program, folder.path(), nth, &routes)).collect();
        let url = nodes.iter().map(|node| node.url.as_str()).collect::<Vec<_>>().join(",");
        let config = StackConfig {
            data_dir: folder.path().to_owned(),
            cache_dir: crate::cache_dir(),
            database_url: Some("postgres://not.used".to_owned()),
            nats_url: Some(url),
            durable: false,
        };
        let stack = LocalStack::start(&config, &|_| ()).await.expect("there is nothing to start");
        let cluster = Self { stack, nodes, _folder: folder };
        for node in &cluster.nodes {
            let health = format!("http://127.0.0.1:{}/healthz", node.monitor);
            eventually("a node is healthy", || async {
                reqwest::get(&health).await.ok().filter(|answer| answer.status() == 200).map(drop)
            })
            .await;
        }
        cluster
    }

    /// The address for workers, with the rights of workers.
    #[must_use]
    pub fn worker_url(&self) -> String {
        // The cluster of tests asks for no password.
        self.stack.nats.as_ref().map_or_else(|| self.url().to_owned(), NatsServer::worker_url)
    }

    /// A connection to it, with the rights of workers.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn worker_bus(&self) -> Bus {
        let config = BusConfig { url: self.worker_url(), name: "test worker".to_owned() };
        Bus::connect(&config).await.expect("the broker answers")
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

fn start_node(program: &Path, folder: &Path, nth: usize, routes: &[u16]) -> Node {
    let (port, monitor, name) = (free_port(), free_port(), format!("node-{nth}"));
    let others: Vec<String> = routes.iter().map(|route| format!("nats://127.0.0.1:{route}")).collect();
    let store = folder.join(&name);
    let config = format!(
        "server_name: {name}\nhost: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\nmax_payload: 8MB\n\
         jetstream {{ store_dir: \"{}\", sync_interval: 1s }}\n\
         cluster {{ name: test, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
        store.display(),
        routes[nth],
        others.join(", "),
    );
    let file = folder.join(format!("{name}.conf"));
    std::fs::write(&file, config).expect("it can be written");
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Node { process: command.spawn().expect("it starts"), url: format!("nats://127.0.0.1:{port}"), name, monitor }
}
