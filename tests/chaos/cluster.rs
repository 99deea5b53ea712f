//! Every role in a process of its own, as in production, on a stack that can be killed.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcs::stack::{LocalStack, StackConfig};
use pcs_bus::{Bus, BusConfig};
use pcs_store::{Store, StoreConfig};
use pcs_tests::process::Process;
use pcs_tests::{PATIENCE, cache_dir, eventually, free_port, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What can be killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Victim {
    Server,
    Relay,
    SecondRelay,
    Projector,
    FirstWorker,
    SecondWorker,
    Broker,
    Database,
}

impl Victim {
    pub(crate) const ALL: [Self; 8] = [
        Self::Server,
        Self::Relay,
        Self::SecondRelay,
        Self::Projector,
        Self::FirstWorker,
        Self::SecondWorker,
        Self::Broker,
        Self::Database,
    ];
}

/// The running system.
pub(crate) struct Cluster {
    folder: TempDir,
    stack: LocalStack,
    server: Process,
    relays: [Process; 2],
    projector: Process,
    workers: [Process; 2],
    listen: String,
    api_key: String,
    http: reqwest::Client,
}

/// Longest wait for a run that was tormented: a killed worker's tickets come back after the lease of 15 s.
const RUN_PATIENCE: Duration = Duration::from_secs(150);

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StackConfig {
            data_dir: folder.path().join("stack"),
            cache_dir: cache_dir(),
            database_url: None,
            nats_url: None,
            durable: true,
        };
        let stack = LocalStack::start(&config, &|_| ()).await.expect("the stack starts");
        let pool = sqlx::PgPool::connect(&stack.database_url).await.expect("the database answers");
        pcs_store::migrate(&pool).await.expect("it can be migrated");
        let api_key = pcs_auth::bootstrap(&pool).await.expect("accounts work").expect("the first").api_key;
        pool.close().await;
        let listen = format!("127.0.0.1:{}", free_port());
        let start = |role: &[&str]| start(&folder.path().join("log"), &stack, role);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().expect("a client");
        let cluster = Self {
            server: start(&["serve", "--listen", &listen]),
            relays: [start(&["relay"]), start(&["relay"])],
            projector: start(&["project"]),
            workers: [start(&["work", "--slots", "8"]), start(&["work", "--slots", "8"])],
            folder,
            stack,
            listen,
            api_key,
            http,
        };
        eventually("the server is ready", || async { cluster.get("/cards").await }).await;
        cluster
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) async fn kill_and_restart(&mut self, victim: Victim) {
        let listen = self.listen.clone();
        match victim {
            Victim::Server => self.restart(&["serve", "--listen", &listen], |cluster| &mut cluster.server),
            Victim::Relay => self.restart(&["relay"], |cluster| &mut cluster.relays[0]),
            Victim::SecondRelay => self.restart(&["relay"], |cluster| &mut cluster.relays[1]),
            Victim::Projector => self.restart(&["project"], |cluster| &mut cluster.projector),
            Victim::FirstWorker => self.restart(&["work", "--slots", "8"], |cluster| &mut cluster.workers[0]),
            Victim::SecondWorker => self.restart(&["work", "--slots", "8"], |cluster| &mut cluster.workers[1]),
            Victim::Broker => {
                let broker = self.stack.nats.as_mut().expect("it is ours");
                broker.kill9().await;
                broker.restart().await.expect("the broker comes back");
            }
            Victim::Database => {
                let database = self.stack.postgres.as_mut().expect("it is ours");
                database.kill9().await;
                database.restart().await.expect("the database comes back");
            }
        }
        self.revive();
    }

    fn restart(&mut self, role: &[&str], place: impl Fn(&mut Self) -> &mut Process) {
        place(self).kill();
        let process = start(&self.log(), &self.stack, role);
        *place(self) = process;
    }

    /// Starts what ended by itself, as a supervisor would: a process may give up when it starts without its database.
    fn revive(&mut self) {
        let listen = self.listen.clone();
        if !self.server.is_running() {
            self.restart(&["serve", "--listen", &listen], |cluster| &mut cluster.server);
        }
        for place in 0..self.relays.len() {
            if !self.relays[place].is_running() {
                self.restart(&["relay"], |cluster| &mut cluster.relays[place]);
            }
        }
        if !self.projector.is_running() {
            self.restart(&["project"], |cluster| &mut cluster.projector);
        }
        for place in 0..self.workers.len() {
            if !self.workers[place].is_running() {
                self.restart(&["work", "--slots", "8"], |cluster| &mut cluster.workers[place]);
            }
        }
    }

    /// Freezes a process and lets it go on after a while, which may be beyond every lease; to the others it looks as if the
    /// network to it were cut.
    pub(crate) async fn freeze(&mut self, victim: Victim, time: Duration) {
        let pid = match victim {
            Victim::Server => self.server.pid(),
            Victim::Relay => self.relays[0].pid(),
            Victim::SecondRelay => self.relays[1].pid(),
            Victim::Projector => self.projector.pid(),
            Victim::FirstWorker => self.workers[0].pid(),
            Victim::SecondWorker => self.workers[1].pid(),
            Victim::Broker => self.stack.nats.as_ref().expect("it is ours").pid(),
            Victim::Database => self.stack.postgres.as_ref().expect("it is ours").pid(),
        };
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
        // It may have ended by itself; then there is nothing to freeze.
        let frozen = kill(pid, Signal::SIGSTOP).is_ok();
        tokio::time::sleep(time).await;
        if frozen {
            kill(pid, Signal::SIGCONT).ok();
        }
        self.revive();
    }

    /// Waits until nothing is left on the desk: executions, places for calls, runs. Longer than a call may take would hide
    /// places that only their time has freed.
    pub(crate) async fn assert_empty(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let left = self.left_over().await;
            if left.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "left on the desk: {left:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn left_over(&self) -> Vec<String> {
        let pool = sqlx::PgPool::connect(&self.stack.database_url).await.expect("the database answers");
        sqlx::query_scalar(
            "select 'execution ' || to_jsonb(e)::text from jobs.execution e
             union all select 'place ' || to_jsonb(r)::text from jobs.reservation r
             union all select 'run ' || to_jsonb(r)::text from jobs.run r
             union all select 'worker ' || to_jsonb(w)::text from jobs.worker w
             where exists (select from jobs.execution) or exists (select from jobs.reservation)",
        )
        .fetch_all(&pool)
        .await
        .expect("the desk answers")
    }

    pub(crate) async fn wipe_broker(&mut self) {
        let broker = self.stack.nats.as_mut().expect("it is ours");
        broker.wipe_and_restart().await.expect("the broker comes back");
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1{path}", self.listen);
        let response = self.http.get(url).bearer_auth(&self.api_key).send().await.ok()?;
        if response.status() == 200 { response.json().await.ok() } else { None }
    }

    /// Sends a command until it is acknowledged, always with the same key, as a client should.
    pub(crate) async fn command(&self, path: &str, body: &Value) -> Value {
        let key = uuid::Uuid::new_v4().to_string();
        eventually("the command is acknowledged", || async {
            let url = format!("http://{}/api/v1{path}", self.listen);
            let request = self.http.post(url).bearer_auth(&self.api_key).header("idempotency-key", &key).json(body);
            let response = request.send().await.ok()?;
            if response.status().is_success() { response.json().await.ok() } else { None }
        })
        .await
    }

    /// Sends a `PUT` until it is acknowledged.
    pub(crate) async fn put(&self, path: &str, body: &Value) {
        eventually("the command is acknowledged", || async {
            let url = format!("http://{}/api/v1{path}", self.listen);
            let response = self.http.put(url).bearer_auth(&self.api_key).json(body).send().await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
    }

    pub(crate) async fn card(&self, cases: usize) -> String {
        let card = self.command("/cards", &json!({ "title": "Chaos", "prompt": "{{q}}" })).await;
        let card = card["id"].as_str().expect("an id").to_owned();
        let cases: Vec<Value> = (0..cases)
            .map(|i| json!({ "input": { "q": format!("number {i}") }, "expected_output": i.to_string() }))
            .collect();
        self.command(&format!("/cards/{card}/cases"), &json!({ "cases": cases })).await;
        card
    }

    /// Waits for the end of the run, then compares the log, the summary and a rebuilt read model.
    pub(crate) async fn assert_whole(&mut self, run: &str, executions: u64) {
        let deadline = tokio::time::Instant::now() + RUN_PATIENCE;
        let ended = loop {
            self.revive();
            match self.get(&format!("/runs/{run}")).await {
                Some(found) if found["status"] != "running" => break found,
                found => {
                    let late = tokio::time::Instant::now() > deadline;
                    assert!(!late, "the run does not end: {found:#?}\n{}", self.tail());
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert_eq!(ended["status"], "completed");
        assert_eq!(ended["totals"]["executions"], executions);
        let store = Store::connect(&StoreConfig::new(&self.stack.database_url, "test")).await.expect("it opens");
        let (terminal, streams, passed, errors): (i64, i64, i64, i64) = sqlx::query_as(
            "select count(*), count(distinct e.stream_id),
                    count(*) filter (where (e.payload::jsonb ->> 'passed')::bool),
                    count(*) filter (where t.name = 'execution.dead_lettered')
             from es.event e join es.event_type t using (type_id)
             where e.category = 3 and t.name not in ('execution.attempt_failed', 'execution.snoozed') and e.payload::jsonb ->> 'run_id' = $1",
        )
        .bind(run)
        .fetch_one(store.pool())
        .await
        .expect("the log can be counted");
        assert_eq!((terminal, streams), (ended["totals"]["executions"].as_i64().unwrap_or(0), terminal));
        assert_eq!(ended["totals"]["passed"], passed);
        assert_eq!(ended["totals"]["errors"], errors);
        let (count, last): (i64, i64) = sqlx::query_as("select count(*), max(position) from es.event")
            .fetch_one(store.pool())
            .await
            .expect("the log can be counted");
        assert_eq!(count, last, "positions have no gaps");
        self.assert_rebuilt_equal(&store, run, &ended).await;
    }

    /// The summary that was kept through all kills equals one that is folded again from the events.
    async fn assert_rebuilt_equal(&mut self, store: &Store, run: &str, living: &Value) {
        self.projector.kill();
        for projection in pcs_projections::all() {
            pcs_projections::reset(store.pool(), &*projection).await.expect("it can be emptied");
            while pcs_projections::step(store, &*projection, 2_000).await.expect("it can be folded") > 0 {}
        }
        let rebuilt = eventually("the summary is there", || async { self.get(&format!("/runs/{run}")).await }).await;
        assert_eq!(&rebuilt, living);
    }

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn stop(self) {
        let bus = Bus::connect(&BusConfig { url: self.stack.nats_url.clone(), name: "test".to_owned() }).await;
        eventually("no ticket is left", || async {
            let state = bus.as_ref().ok()?.stream_state().await.ok()?;
            (state.messages == 0).then_some(())
        })
        .await;
        let Self { stack, server, relays, projector, workers, .. } = self;
        drop((server, relays, projector, workers));
        stack.stop().await;
    }
}

fn start(log: &std::path::Path, stack: &LocalStack, role: &[&str]) -> Process {
    let worker_url = stack.nats.as_ref().map(pcs::stack::NatsServer::worker_url);
    let nats_url = worker_url.filter(|_| role[0] == "work").unwrap_or_else(|| stack.nats_url.clone());
    let recordings = repository().join("examples").display().to_string();
    let environment = [
        ("DATABASE_URL", stack.database_url.as_str()),
        ("NATS_URL", nats_url.as_str()),
        ("PCS_RECORDINGS_DIR", recordings.as_str()),
        ("PCS_LOG", "info,sqlx=error,async_nats=warn"),
    ];
    Process::start(role, &environment, log)
}
