//! How long one job of another tenant waits to be begun while a tenant has a hundred thousand waiting.
//!
//! The model takes 50 ms. The tickets that are with the broker already, two for each slot, go first: so the wait can't be
//! much below the time of one job, and grows with it.

use std::time::Duration;

use anyhow::Context;
use pcs_domain::ids::{TenantId, TestRunId};
use tokio::time::Instant;

use crate::noting::NotingWorker;
use crate::report::{Row, Target};
use crate::settings::{Settings, median};
use crate::system::{self, Card, System};

/// The tenant with the many jobs; the others follow it.
const CROWD: TenantId = TenantId(1_000);
/// Tenants with one job.
const OTHERS: i32 = 49;
/// Cases of the large run, a thousand executions each: what is done meanwhile is more than is asked for.
const CASES: u32 = 130;
/// Repeats of each case.
const REPEATS: u16 = 1_000;
/// Jobs of the large run that wait at the end of a round, at least.
const WAITING_MIN: i64 = 100_000;
/// How long each job takes.
const LATENCY: Duration = Duration::from_millis(50);
/// Slots of the worker.
const SLOTS: u32 = 128;
/// The pause between two requests of other tenants.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that another tenant's job may wait, in milliseconds.
const CEILING_MS: f64 = 250.0;
/// Longest wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let system = System::start(0, SLOTS).await?;
    let worker = NotingWorker::start(&system, SLOTS).await?;
    let crowd = system::card(system.store(), CROWD, CASES).await?;
    let mut others = Vec::new();
    for nth in 1..=OTHERS {
        others.push(system::card(system.store(), TenantId(CROWD.0 + nth), 1).await?);
    }
    let (mut slowest, mut half) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let waits = round(&system, &worker, &crowd, &others).await?;
        let (all, middle) = (waits.iter().copied().fold(0.0, f64::max), median(waits));
        eprintln!("  half within {middle:.0} ms, all within {all:.0} ms");
        slowest.push(all);
        half.push(middle);
    }
    worker.stop().await?;
    system.stop().await?;
    let row = |name, values| Row::new(name, median(values), "the ceiling", CEILING_MS, "ms", &Target::AtMost(1.0));
    Ok(vec![
        row("fair wait of another tenant's job, slowest of 49", slowest),
        row("fair wait of another tenant's job, median", half),
    ])
}

/// The waits of the other tenants' jobs, in milliseconds, each requested while the crowd waits.
async fn round(system: &System, worker: &NotingWorker, crowd: &Card, others: &[Card]) -> anyhow::Result<Vec<f64>> {
    let model = system::scripted(LATENCY)?;
    let large = system::request(system.store(), crowd, &model, REPEATS).await?;
    begun(worker, large).await?;
    let mut waits = Vec::new();
    for card in others {
        let run = system::request(system.store(), card, &model, 1).await?;
        let accepted = Instant::now();
        let at = begun(worker, run).await?;
        waits.push(at.saturating_duration_since(accepted).as_secs_f64() * 1_000.0);
        tokio::time::sleep(PAUSE).await;
    }
    let left = waiting(system, large).await?;
    anyhow::ensure!(left >= WAITING_MIN, "only {left} jobs were waiting at the end: CASES is too small");
    system::cancel(system.store(), CROWD, large).await?;
    let deadline = Instant::now() + PATIENCE;
    while waiting(system, large).await? > 0 {
        anyhow::ensure!(Instant::now() < deadline, "a cancelled run is still on the desk");
        tokio::time::sleep(LOOK).await;
    }
    Ok(waits)
}

/// When a run's first job began.
async fn begun(worker: &NotingWorker, run: TestRunId) -> anyhow::Result<Instant> {
    let found = async {
        loop {
            if let Some((_, at)) = worker.take().into_iter().find(|(of, _)| *of == run) {
                return at;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.context("no job of a run was begun")
}

async fn waiting(system: &System, run: TestRunId) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar("select count(*) from jobs.execution where run_id = $1 and state = 0")
        .bind(run.0)
        .fetch_one(&system.ground.pool)
        .await?;
    Ok(count)
}
