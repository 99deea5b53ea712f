//! A fleet whose slots wait for a slow model, beside what so many slots could do at best; and the memory of a worker.
//!
//! The time goes from before the request to the completion that is in the read models: the first tickets, and the end in
//! which fewer and fewer jobs are left, are in it.

use std::time::{Duration, Instant};

use anyhow::Context;
use pcs_domain::ids::{TenantId, TestRunId};

use crate::report::{Row, Target};
use crate::settings::{Settings, median};
use crate::system::{self, Card, System};

/// Worker processes.
const WORKERS: usize = 10;
/// Jobs that each does at once.
const SLOTS: u32 = 100;
/// How long each job takes.
const LATENCY: Duration = Duration::from_millis(500);
/// Jobs per second that the slots could do if nothing else took time.
const IDEAL_PER_SECOND: u32 = 2_000;
/// The share of it that is asked for.
const SHARE_MIN: f64 = 0.9;
/// Repeats of each case.
const REPEATS: u16 = 1_000;
/// How many times longer than usual a round is, for its beginning and its end take a second.
const ROUND_LEN: u32 = 4;
/// Cases of the run over which a worker's memory is looked at: a hundred thousand jobs.
const MEMORY_CASES: u32 = 100;
/// The same in a trial.
const MEMORY_CASES_OF_TRIAL: u32 = 10;
/// How much more than in the first fifth it may need in the last.
const GROWTH_MAX: f64 = 1.1;
/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let system = System::start(WORKERS, SLOTS).await?;
    let model = system::scripted(LATENCY)?;
    let cases = IDEAL_PER_SECOND * settings.seconds * ROUND_LEN / u32::from(REPEATS);
    let card = system::card(system.store(), TenantId::DEFAULT, cases).await?;
    let mut rates = Vec::new();
    for _ in 0..settings.rounds {
        let started = Instant::now();
        let run = system::request(system.store(), &card, &model, REPEATS).await?;
        system.shown(card.tenant, run).await?;
        let rate = f64::from(cases * u32::from(REPEATS)) / started.elapsed().as_secs_f64();
        eprintln!("  {rate:.0} jobs/s");
        rates.push(rate);
    }
    system.stop().await?;
    let (first, last) = memory(settings).await?;
    Ok(vec![
        Row::new(
            "slots 10 workers of 100, jobs of 500 ms",
            median(rates),
            "all slots busy",
            f64::from(IDEAL_PER_SECOND),
            "1/s",
            &Target::AtLeast(SHARE_MIN),
        ),
        Row::new(
            "slots worker memory over 100,000 jobs, peak of the last fifth",
            last,
            "peak of the first fifth",
            first,
            "MiB",
            &Target::AtMost(GROWTH_MAX),
        ),
    ])
}

/// The peaks of one worker's memory in the first and in the last fifth of a run of echoes, in MiB.
async fn memory(settings: Settings) -> anyhow::Result<(f64, f64)> {
    let system = System::start(1, SLOTS).await?;
    let cases = if settings.is_trial() { MEMORY_CASES_OF_TRIAL } else { MEMORY_CASES };
    let card = system::card(system.store(), TenantId::DEFAULT, cases).await?;
    let peaks = peaks(&system, &card).await?;
    system.stop().await?;
    Ok(peaks)
}

async fn peaks(system: &System, card: &Card) -> anyhow::Result<(f64, f64)> {
    let worker = system.workers.first().context("there is no worker")?;
    let run = system::request(system.store(), card, &system::echo(), REPEATS).await?;
    let all = i64::from(card.cases * u32::from(REPEATS));
    let (mut first, mut last) = (0.0_f64, 0.0_f64);
    let mut begun = false;
    loop {
        let mib = worker.resident_mib()?;
        match done(system, run).await? {
            Some(done) => {
                begun = true;
                if done <= all / 5 {
                    first = first.max(mib);
                } else if done > all / 5 * 4 {
                    last = last.max(mib);
                }
            }
            // The desk forgets a run that has ended; at the first look it may not have heard of it yet.
            None if begun => break,
            None => (),
        }
        tokio::time::sleep(LOOK).await;
    }
    system.shown(card.tenant, run).await?;
    Ok((first, last.max(worker.resident_mib()?)))
}

/// How many jobs of a run have a result; none where the run is not on the desk.
async fn done(system: &System, run: TestRunId) -> anyhow::Result<Option<i64>> {
    Ok(sqlx::query_scalar("select passed + failed + errors from jobs.run where run_id = $1")
        .bind(run.0)
        .fetch_optional(&system.ground.pool)
        .await?)
}
