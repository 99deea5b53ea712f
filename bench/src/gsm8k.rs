//! The main job: 5,276 executions through PostgreSQL, JetStream and two worker processes, with their memory.

use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::report::{Row, Target};
use crate::role::{self, Role, wait_for};
use crate::settings::{Settings, median};

/// Executions per second that have to be recorded and graded.
const FLOOR_PER_SECOND: f64 = 3_000.0;
/// Memory of a worker, in MiB.
const WORKER_MIB_MAX: f64 = 100.0;
/// Memory of the process with the server, the relay and the projections, in MiB.
const SERVER_MIB_MAX: f64 = 300.0;

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let local = folder.path().join("local");
    let local_dir = local.display().to_string();
    let up = ["up", "--no-demo", "--no-worker", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
    let system = Role::start(&up, folder.path(), "up.log")?;
    let endpoints = wait_for(&local.join("endpoints.json"))?;
    let credentials = wait_for(&local.join("credentials.json"))?;
    let nats = endpoints["nats_url"].as_str().context("no NATS address")?;
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

/// Runs the suite with the real program; answers the run's id.
fn run(credentials: &Value) -> anyhow::Result<String> {
    let output = Command::new(role::program()?)
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
