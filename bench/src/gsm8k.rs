//! The main job: 5,276 executions through PostgreSQL, JetStream and two worker processes, with their memory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::report::{Row, Target};
use crate::settings::{Settings, median};

/// Executions per second that have to be recorded and graded.
const FLOOR_PER_SECOND: f64 = 3_000.0;
/// Memory of a worker, in MiB.
const WORKER_MIB_MAX: f64 = 100.0;
/// Memory of the process with the server, the relay and the projections, in MiB.
const SERVER_MIB_MAX: f64 = 300.0;
/// Longest wait for the system to be ready.
const READY_MAX: Duration = Duration::from_secs(120);

/// A child that is ended in order, or killed when we fail.
pub(crate) struct Role(Child);

impl Role {
    pub(crate) fn start(arguments: &[&str], folder: &Path, log: &str) -> anyhow::Result<Self> {
        let log = std::fs::File::create(folder.join(log))?;
        let program = std::env::current_exe()?.with_file_name("pcs");
        let child = Command::new(&program)
            .args(arguments)
            .env("PCS_CACHE_DIR", PathBuf::from(".local/cache"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        Ok(Self(child))
    }

    /// The most memory that it has had, in MiB.
    fn peak_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024.0)
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.0.kill());
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
    let work = ["work", "--slots", "64", "--nats-url", nats];
    let workers = [Role::start(&work, folder.path(), "w1.log")?, Role::start(&work, folder.path(), "w2.log")?];
    let pool = sqlx::PgPool::connect(endpoints["database_url"].as_str().context("no database address")?).await?;
    let mut rates = Vec::new();
    // The first run makes the card and warms up; it does not count.
    for round in 0..=settings.rounds {
        let run = run(&credentials)?;
        if round > 0 {
            rates.push(per_second(&pool, &run).await?);
        }
    }
    pool.close().await;
    let worker_mib = workers[0].peak_mib()?.max(workers[1].peak_mib()?);
    let server_mib = system.peak_mib()?;
    for worker in workers {
        worker.stop()?;
    }
    system.stop()?;
    Ok(vec![
        Row::new(
            "gsm8k executions, 2 workers",
            median(rates),
            "the floor",
            FLOOR_PER_SECOND,
            "1/s",
            &Target::AtLeast(1.0),
        ),
        Row::new("gsm8k worker memory, peak", worker_mib, "the ceiling", WORKER_MIB_MAX, "MiB", &Target::AtMost(1.0)),
        Row::new("gsm8k server memory, peak", server_mib, "the ceiling", SERVER_MIB_MAX, "MiB", &Target::AtMost(1.0)),
    ])
}

pub(crate) fn wait_for(path: &Path) -> anyhow::Result<Value> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return Ok(serde_json::from_str(&text)?);
        }
        if Instant::now() > deadline {
            bail!("{} did not appear within {READY_MAX:?}", path.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs the suite with the real program; answers the run's id.
fn run(credentials: &Value) -> anyhow::Result<String> {
    let output = Command::new(std::env::current_exe()?.with_file_name("pcs"))
        .args(["run", "examples/gsm8k/suite.yaml", "--json"])
        .env("PCS_URL", credentials["url"].as_str().context("no address")?)
        .env("PCS_API_KEY", credentials["api_key"].as_str().context("no key")?)
        .output()?;
    if !output.status.success() {
        bail!("the run failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["run_id"].as_str().context("no run id")?.to_owned())
}

/// From the request to the completion, by the log's own times: everything between them is durable.
async fn per_second(pool: &sqlx::PgPool, run: &str) -> anyhow::Result<f64> {
    let (count, seconds): (i64, f64) = sqlx::query_as(
        "select (max(payload::jsonb -> 'totals' ->> 'executions'))::bigint,
                extract(epoch from max(recorded_at) - min(recorded_at))::float8
         from es.stream join es.event using (stream_no) where es.stream.stream_id = $1::uuid",
    )
    .bind(run)
    .fetch_one(pool)
    .await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of executions fits a float exactly")]
    let count = count as f64;
    Ok(count / seconds)
}
