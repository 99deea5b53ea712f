//! How long after its request was accepted a job is begun, while 500 jobs a second are requested.
//!
//! Requests come at their times, whether or not the ones before are answered: 50 runs a second of ten executions each.
//! `pcs up` is a process of its own; the worker is in this one, so that one clock tells both ends, and does each job in
//! full, with its plan asked for and its result reported. A job begins when the worker's handler is called with its ticket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use pcs_domain::ids::{TenantId, TestRunId};
use tokio::time::Instant;

use crate::noting::NotingWorker;
use crate::report::{Row, Target};
use crate::settings::{Settings, median, percentile};
use crate::system::{self, Card, System};

/// Runs requested per second.
const RUNS_PER_SECOND: u32 = 50;
/// Executions of each.
const REPEATS: u16 = 10;
/// Slots of the worker.
const SLOTS: u32 = 128;
/// Load before the first round, in seconds.
const WARM_UP_SECONDS: u32 = 2;
/// The longest that half of the jobs may wait, in milliseconds.
const MEDIAN_CEILING_MS: f64 = 20.0;
/// The longest that the slowest of a hundred may wait, in milliseconds.
const CEILING_MS: f64 = 100.0;
/// How long the last jobs of a round may take to begin.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);
/// The share of the load that has to be kept for the round to count.
const KEPT_MIN: f64 = 0.98;

/// A requested run.
struct Sample {
    due: Instant,
    accepted: Instant,
}

/// Waiting times of a round, in milliseconds.
#[derive(Default)]
struct Waits {
    from_acceptance: Vec<f64>,
    from_submission: Vec<f64>,
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let system = System::start(0, SLOTS).await?;
    let worker = NotingWorker::start(&system, SLOTS).await?;
    let card = Arc::new(system::card(system.store(), TenantId::DEFAULT, 1).await?);
    round(&system, &worker, &card, WARM_UP_SECONDS).await?;
    let (mut half, mut most, mut submitted) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let mut waits = round(&system, &worker, &card, settings.seconds).await?;
        let (p50, p99) = (percentile(&mut waits.from_acceptance, 0.5), percentile(&mut waits.from_acceptance, 0.99));
        eprintln!("  p50 {p50:.1} ms, p99 {p99:.1} ms");
        half.push(p50);
        most.push(p99);
        submitted.push(percentile(&mut waits.from_submission, 0.99));
    }
    worker.stop().await?;
    system.stop().await?;
    let row =
        |name, values, ceiling| Row::new(name, median(values), "the ceiling", ceiling, "ms", &Target::AtMost(1.0));
    Ok(vec![
        row("start p50 after the acceptance, 500 jobs/s", half, MEDIAN_CEILING_MS),
        row("start p99 after the acceptance, 500 jobs/s", most, CEILING_MS),
        row("start p99 after the submission, 500 jobs/s", submitted, CEILING_MS),
    ])
}

async fn round(system: &System, worker: &NotingWorker, card: &Arc<Card>, seconds: u32) -> anyhow::Result<Waits> {
    let samples = load(system, card, seconds).await?;
    let deadline = Instant::now() + CATCH_UP_MAX;
    let mut begun = worker.take();
    while begun.len() < samples.len() * usize::from(REPEATS) {
        anyhow::ensure!(Instant::now() < deadline, "only {} jobs were begun", begun.len());
        tokio::time::sleep(LOOK).await;
        begun.extend(worker.take());
    }
    let mut waits = Waits::default();
    for (run, at) in begun {
        let Sample { due, accepted } = samples.get(&run).context("a job of another round was begun")?;
        // A worker can be faster than the answer to the request.
        waits.from_acceptance.push(at.saturating_duration_since(*accepted).as_secs_f64() * 1_000.0);
        waits.from_submission.push(at.saturating_duration_since(*due).as_secs_f64() * 1_000.0);
    }
    Ok(waits)
}

/// Requests runs at their times.
async fn load(system: &System, card: &Arc<Card>, seconds: u32) -> anyhow::Result<HashMap<TestRunId, Sample>> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..RUNS_PER_SECOND * seconds {
        let due = started + Duration::from_secs(1) * nth / RUNS_PER_SECOND;
        tokio::time::sleep_until(due).await;
        let (store, card) = (system.store().clone(), Arc::clone(card));
        tasks.spawn(async move {
            let run = system::request(&store, &card, &system::echo(), REPEATS).await?;
            anyhow::Ok((run, Sample { due, accepted: Instant::now() }))
        });
    }
    let mut samples = HashMap::new();
    while let Some(ended) = tasks.join_next().await {
        samples.extend([ended??]);
    }
    let kept = f64::from(seconds) / started.elapsed().as_secs_f64();
    if kept < KEPT_MIN {
        bail!("the load could not be kept: only {:.0} % of {RUNS_PER_SECOND} runs/s were accepted", kept * 100.0);
    }
    Ok(samples)
}
