//! The whole system in this process, on a database and a broker of its own: for journeys over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pcs::lifecycle::{Lifecycle, Stage};
use pcs::roles::{PythonArgs, ServeArgs, WorkArgs, WorkKind, services};
use pcs_store::Store;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::broker::TestBroker;
use crate::database::TestDatabase;
use crate::{eventually, repository};

/// The system, and an HTTP client with the administrator's key.
pub struct TestSystem {
    /// The server's address, such as `http://127.0.0.1:4711`.
    pub url: String,
    /// The administrator's key.
    pub api_key: String,
    /// The store, to look behind the API.
    pub store: Store,
    /// The database's address.
    pub database_url: String,
    /// The broker.
    pub broker: TestBroker,
    http: reqwest::Client,
    lifecycle: Lifecycle,
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, null where it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A header as text; empty where it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer, whose status must be this one.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self
    }

    /// The problem's code.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The `id` of the body.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn id(&self) -> String {
        self.body["id"].as_str().expect("the body has an id").to_owned()
    }
}

/// How a worker works in tests.
#[must_use]
pub fn work_args() -> WorkArgs {
    WorkArgs {
        kinds: vec![WorkKind::TestExecution, WorkKind::SwarmAgent],
        slots: 32,
        drain_seconds: 5,
        recordings_dir: examples(),
        allowed_base_urls: Vec::new(),
        python: PythonArgs::of("python3"),
        metrics_listen: None,
    }
}

fn examples() -> PathBuf {
    repository().join("examples")
}

impl TestSystem {
    /// Starts everything.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start() -> Self {
        Self::start_with(true, true).await
    }

    /// Starts everything on a broker, with streams on so many of its nodes.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start_on(broker: TestBroker, replicas: usize) -> Self {
        Self::start_parts(broker, replicas, (true, true)).await
    }

    /// Starts everything but a worker.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start_without_worker() -> Self {
        Self::start_with(true, false).await
    }

    /// Starts what serves and projects, and declares the broker's streams; relays and workers are the test's.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start_without_relay() -> Self {
        Self::start_with(false, false).await
    }

    async fn start_with(relay: bool, worker: bool) -> Self {
        Self::start_parts(TestBroker::new().await, 1, (relay, worker)).await
    }

    async fn start_parts(broker: TestBroker, replicas: usize, (relay, worker): (bool, bool)) -> Self {
        let database = TestDatabase::new().await;
        let store = database.store().await;
        let credentials = pcs_auth::bootstrap(store.pool()).await.expect("accounts work").expect("a first account");
        let lifecycle = Lifecycle::default();
        services::project(&lifecycle, &store);
        let bus = broker.bus().await.with_replicas(replicas);
        if relay {
            services::relay(&lifecycle, store.clone(), broker.bus().await.with_replicas(replicas));
        } else {
            bus.ensure_topology().await.expect("the streams are declared");
        }
        eventually("the relay declares its streams", || async { bus.stream_state().await.ok() }).await;
        if worker {
            // With a worker's rights only.
            services::work(&lifecycle, Stage::Front, broker.worker_bus().await, &work_args())
                .await
                .expect("the worker starts");
        }
        let listen = ServeArgs { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) };
        let address = services::serve(&lifecycle, store.clone(), &listen, Vec::new()).await.expect("it listens");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().expect("a client");
        let url = format!("http://{address}");
        let (database_url, api_key) = (database.url.clone(), credentials.api_key);
        Self { url, api_key, store, database_url, broker, http, lifecycle }
    }

    /// A request to be sent by hand, with the key.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.api_key)
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("the answer has a body");
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    /// Sends a request; answers the body as it is.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn text(request: reqwest::RequestBuilder) -> String {
        request.send().await.expect("the server answers").text().await.expect("the answer has a body")
    }

    /// `GET` below `/api/v1`.
    pub async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(Method::GET, &format!("/api/v1{path}"))).await
    }

    /// `POST` below `/api/v1`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::send(self.request(Method::POST, &format!("/api/v1{path}")).json(body)).await
    }

    /// A card with a prompt and cases; answers its id.
    pub async fn card(&self, title: &str, prompt: &str, cases: Value) -> String {
        let card = self.post("/cards", &json!({ "title": title, "prompt": prompt })).await.expect(201).id();
        let added = self.post(&format!("/cards/{card}/cases"), &json!({ "cases": cases })).await;
        drop(added.expect(200));
        card
    }

    /// Starts a run; answers its id.
    pub async fn run(&self, request: &Value) -> String {
        self.post("/runs", request).await.expect(202).id()
    }

    /// Waits for the end of a run; answers it.
    pub async fn ended(&self, run: &str) -> Value {
        eventually("the run ends", || async {
            let answer = self.get(&format!("/runs/{run}")).await;
            (answer.status == 200 && answer.body["status"] != "running").then_some(answer.body)
        })
        .await
    }

    /// `GET` below `/api/v1`, of a read model that has all that is in the log by now: each of them follows it by itself.
    ///
    /// # Panics
    /// When the log can't be read.
    pub async fn read(&self, path: &str) -> Answer {
        let head = self.store.head().await.expect("the log has an end");
        let separator = if path.contains('?') { '&' } else { '?' };
        self.get(&format!("{path}{separator}min_position={head}")).await
    }

    /// All results of a run.
    pub async fn results(&self, run: &str) -> Vec<Value> {
        let mut results = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("/runs/{run}/results?limit=500{cursor}")).await.expect(200).body;
            results.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return results,
            }
        }
    }

    /// Stops everything; no job may be left, or a journey has lost one.
    ///
    /// # Panics
    /// When the desk is not empty.
    pub async fn stop(self) {
        eventually("no execution is left on the desk", || async {
            let left: i64 =
                sqlx::query_scalar("select count(*) from jobs.execution").fetch_one(self.store.pool()).await.ok()?;
            (left == 0).then_some(())
        })
        .await;
        self.lifecycle.stop().await;
    }
}
