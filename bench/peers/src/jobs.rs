//! Jobs of `apalis-postgres` on a PostgreSQL of yours: put in at once, then done by two worker processes.
//!
//! `job-peers --database-url URL --jobs 50000` prints one JSON line. The time goes from the first job that was fetched to the
//! last that is done, by the table's own times; what is put in is not timed.

use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use clap::Parser;
use sqlx::PgPool;
use tokio::process::{Child, Command};

/// The name of the queue.
const QUEUE: &str = "bench";
/// Jobs of one insert.
const CHUNK_LEN: u32 = 5_000;
/// Worker processes.
const WORKERS: usize = 2;
/// Jobs that a worker fetches at once: the best of 10, 100 and 1,000.
const BATCH_LEN: usize = 1_000;
/// How often a worker that found nothing looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often it is looked whether jobs are left.
const LOOK: Duration = Duration::from_millis(250);
/// So long nothing may happen before it is taken for the end.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Jobs that may be left at the end: now and then the crate does not write the last completion of a worker.
const LEFT_MAX: i64 = 10;

#[derive(Parser)]
#[command(name = "job-peers", about)]
struct Arguments {
    /// A database of PostgreSQL: the queue's tables are made there, and emptied
    #[arg(long)]
    database_url: String,
    /// How many jobs
    #[arg(long, default_value_t = 50_000)]
    jobs: u32,
    /// Jobs that a worker fetches at once
    #[arg(long, default_value_t = BATCH_LEN)]
    batch: usize,
    /// Is one of the workers, of this name
    #[arg(long)]
    worker: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.worker {
        Some(name) => work(&arguments, name).await,
        None => measure(&arguments).await,
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let storage = apalis_postgres::PgPool::connect(&arguments.database_url).await?;
    let pool = PgPool::connect(&arguments.database_url).await?;
    PostgresStorage::setup(&storage).await?;
    sqlx::query("truncate apalis.jobs").execute(&pool).await?;
    let mut backend: PostgresStorage<u32> = PostgresStorage::new(&storage).with_config(Config::default().queue(QUEUE));
    for first in (0..arguments.jobs).step_by(CHUNK_LEN as usize) {
        let jobs = first..arguments.jobs.min(first + CHUNK_LEN);
        backend.push_bulk(jobs.collect()).await.map_err(|error| anyhow::anyhow!("jobs are not taken: {error}"))?;
    }
    sqlx::query("vacuum analyze apalis.jobs").execute(&pool).await?;
    let mut workers = (0..WORKERS).map(|nth| start(arguments, nth)).collect::<anyhow::Result<Vec<_>>>()?;
    let left = until_idle(&pool).await?;
    for worker in &mut workers {
        worker.kill().await?;
    }
    // What it says that it has done must be there.
    let (done, seconds): (i64, f64) = sqlx::query_as(
        "select count(*), extract(epoch from max(done_at) - min(lock_at))::float8 from apalis.jobs where status = 'Done'",
    )
    .fetch_one(&pool)
    .await?;
    anyhow::ensure!(
        done + left == i64::from(arguments.jobs),
        "{} jobs were put in and {done} are done",
        arguments.jobs
    );
    anyhow::ensure!(left <= LEFT_MAX, "{left} jobs of {} were never done", arguments.jobs);
    #[expect(clippy::cast_precision_loss, reason = "a count of jobs fits a float exactly")]
    let per_second = done as f64 / seconds;
    let line = serde_json::json!({
        "peer": "apalis-postgres", "jobs": arguments.jobs, "per_second": per_second, "seconds": seconds,
        "left": left,
    });
    println!("{line}");
    Ok(())
}

fn start(arguments: &Arguments, nth: usize) -> anyhow::Result<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--database-url", &arguments.database_url, "--batch", &arguments.batch.to_string()])
        .args(["--worker", &format!("worker-{nth}")])
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Waits until nothing is left, or nothing has happened for a while; answers how many are left.
async fn until_idle(pool: &PgPool) -> anyhow::Result<i64> {
    let (mut before, mut since) = (i64::MAX, Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let left: i64 =
            sqlx::query_scalar("select count(*) from apalis.jobs where status <> 'Done'").fetch_one(pool).await?;
        if left != before {
            (before, since) = (left, Instant::now());
        }
        if left == 0 || since.elapsed() > IDLE_MAX {
            return Ok(left);
        }
    }
}

async fn job(_number: u32) -> Result<(), BoxDynError> {
    Ok(())
}

async fn work(arguments: &Arguments, name: &str) -> anyhow::Result<()> {
    let pool = apalis_postgres::PgPool::connect(&arguments.database_url).await?;
    // A fetched job is locked by the fetch already; a second lock for each is what the crate's examples turn off.
    let config = Config::default().queue(QUEUE).batch_size(arguments.batch).lock_tasks(false);
    let backend: PostgresStorage<u32> = PostgresStorage::new(&pool).with_config(config);
    let backend = backend.poll_with_strategy(Strategy::new().interval(POLL_INTERVAL));
    let worker = WorkerBuilder::new(name).backend(backend).parallelize(tokio::spawn).build(job);
    worker.run().await.map_err(|error| anyhow::anyhow!("the worker ended: {error}"))
}
