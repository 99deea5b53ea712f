//! The cheapest job: from the accepted request to its recorded result with all read models up to it, beside job queues
//! that keep no result, on the same PostgreSQL.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::gsm8k::{Role, wait_for};
use crate::report::{Row, Target, root};
use crate::settings::{Settings, median};

/// Jobs of one round: cases by repeats.
const CASES: usize = 50;
const REPEATS: u32 = 600;
/// Jobs per second that have to be done.
const FLOOR_PER_SECOND: f64 = 12_000.0;
/// Jobs of pg-boss, which is slower: a round should not take a minute.
const PG_BOSS_JOBS: u32 = 10_000;
/// Processes of each peer, as many as ours.
const PROCESSES: u32 = 2;
/// Longest wait for a round.
const ROUND_MAX: Duration = Duration::from_secs(120);

/// A peer: its program, how many jobs, and its arguments after these.
struct Peer {
    name: &'static str,
    script: &'static str,
    jobs: u32,
    arguments: &'static [&'static str],
    target: f64,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "graphile-worker, plain",
        script: "graphile.mjs",
        jobs: 20_000,
        arguments: &["24", "plain"],
        target: 2.5,
    },
    Peer {
        name: "graphile-worker, batched",
        script: "graphile.mjs",
        jobs: 60_000,
        arguments: &["24", "batched"],
        target: 0.5,
    },
    Peer { name: "pg-boss", script: "pgboss.mjs", jobs: PG_BOSS_JOBS, arguments: &["500"], target: 6.0 },
];

/// The system with two workers, and its API.
pub(crate) struct System {
    url: String,
    key: String,
    http: reqwest::Client,
}

impl System {
    /// The API that credentials lead to.
    pub(crate) fn of(credentials: &Value) -> anyhow::Result<Self> {
        let text = |field: &str| credentials[field].as_str().map(str::to_owned).context("no credentials");
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url: text("url")?, key: text("api_key")?, http })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let response = request.bearer_auth(&self.key).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(format!("{}/api/v1{path}", self.url)).json(body)).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.http.get(format!("{}/api/v1{path}", self.url))).await
    }

    /// A card with so many cases.
    pub(crate) async fn card(&self, cases: usize) -> anyhow::Result<String> {
        let card = self.post("/cards", &json!({ "title": "no-op", "prompt": "{{q}}" })).await?;
        let id = card["id"].as_str().context("no id")?.to_owned();
        let cases: Vec<Value> = (0..cases).map(|nth| json!({ "input": { "q": nth.to_string() } })).collect();
        self.post(&format!("/cards/{id}/cases"), &json!({ "cases": cases })).await?;
        Ok(id)
    }

    /// Runs all jobs once; answers jobs per second, until every read model has the last result.
    async fn round(&self, card: &str, pool: &PgPool) -> anyhow::Result<f64> {
        let request = json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": REPEATS });
        let began = Instant::now();
        let run = self.post("/runs", &request).await?;
        let id = run["id"].as_str().context("no id")?.to_owned();
        while self.get(&format!("/runs/{id}")).await.map_or(true, |run| run["status"] == "running") {
            if began.elapsed() > ROUND_MAX {
                bail!("the run does not end");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let head: i64 = sqlx::query_scalar("select position from es.head").fetch_one(pool).await?;
        self.get(&format!("/runs/{id}/results?limit=1&min_position={head}")).await?;
        let seconds = began.elapsed().as_secs_f64();
        let done = self.get(&format!("/runs/{id}?min_position={head}")).await?;
        let jobs = done["totals"]["executions"].as_f64().context("no total")?;
        Ok(jobs / seconds)
    }
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let local = folder.path().join("local");
    let local_dir = local.display().to_string();
    let up = ["up", "--no-demo", "--no-worker", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
    let system = Role::start(&up, folder.path(), "up.log")?;
    let endpoints = wait_for(&local.join("endpoints.json"))?;
    let credentials = wait_for(&local.join("credentials.json"))?;
    let nats = endpoints["worker_nats_url"].as_str().context("no NATS address")?;
    let work = ["work", "--slots", "128", "--nats-url", nats];
    let workers = [Role::start(&work, folder.path(), "w1.log")?, Role::start(&work, folder.path(), "w2.log")?];
    let database = endpoints["database_url"].as_str().context("no database address")?;
    let pool = PgPool::connect(database).await?;
    let api = System::of(&credentials)?;
    let card = api.card(CASES).await?;
    let mut ours = Vec::new();
    // The first run warms up; it does not count.
    for round in 0..=settings.rounds {
        let rate = api.round(&card, &pool).await?;
        eprintln!("  ours: {rate:.0} jobs/s");
        if round > 0 {
            ours.push(rate);
        }
    }
    for worker in workers {
        worker.stop()?;
    }
    let ours = median(ours);
    let mut rows = vec![Row::new(
        "jobs, result and read models",
        ours,
        "the floor",
        FLOOR_PER_SECOND,
        "1/s",
        &Target::AtLeast(1.0),
    )];
    for peer in PEERS {
        let mut rates = Vec::new();
        for _ in 0..settings.rounds {
            rates.push(peer.round(&pool, database).await?);
        }
        let name = format!("jobs, beside {}", peer.name);
        rows.push(Row::new(&name, ours, peer.name, median(rates), "1/s", &Target::AtLeast(peer.target)));
    }
    pool.close().await;
    system.stop()?;
    Ok(rows)
}

impl Peer {
    /// One round on an empty database of its own, on the server that we use.
    async fn round(&self, pool: &PgPool, database: &str) -> anyhow::Result<f64> {
        sqlx::raw_sql("drop database if exists peer with (force)").execute(pool).await?;
        sqlx::raw_sql(AssertSqlSafe("create database peer".to_owned())).execute(pool).await?;
        let (server, _) = database.rsplit_once('/').context("the address names no database")?;
        let output = Command::new("node")
            .arg(self.script)
            .arg(format!("{server}/peer"))
            .args([self.jobs.to_string(), PROCESSES.to_string()])
            .args(self.arguments)
            .current_dir(folder())
            .output()
            .context("node does not run")?;
        if !output.status.success() {
            bail!("{} failed: {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        let line = String::from_utf8(output.stdout)?;
        let said: Value = serde_json::from_str(line.lines().last().context("it said nothing")?)?;
        let rate = said["per_second"].as_f64().context("no rate")?;
        eprintln!("  {}: {rate:.0} jobs/s", self.name);
        Ok(rate)
    }
}

fn folder() -> PathBuf {
    root().join("bench/peers-node")
}
