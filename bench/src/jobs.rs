//! The cheapest jobs there are, from the accepted request to results that every reader sees, beside other job queues.
//!
//! Ours: a run of the echo model without assertions. The time goes from before the request is submitted to the moment when
//! the run is completed in the log and the read models of runs and of results have passed that event. Each job is an
//! event of its own in the log and a row of its own in the read model; a failed worker or broker costs none of them.
//! The others: jobs that do nothing, put in beforehand and not timed, done by two processes (see `bench/peers-node`).

use std::time::Instant;

use pcs_domain::ids::TenantId;

use crate::job_peers::{self, Peer};
use crate::redis::Redis;
use crate::report::{Row, Target};
use crate::settings::{Settings, median};
use crate::system::{self, Card, System};

/// Worker processes, as of the others.
const WORKERS: usize = 2;
/// Jobs that each does at once.
const SLOTS: u32 = 256;
/// Jobs per second that have to be done.
const FLOOR_PER_SECOND: f64 = 12_000.0;
/// Repeats of each case; the most that a run may have.
const REPEATS: u16 = 1_000;
/// Jobs per second that our run is made for, in thousands: so long a round takes.
const THOUSANDS_PER_SECOND: u32 = 12;

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let system = System::start(WORKERS, SLOTS).await?;
    let redis = Redis::start(system.ground.folder())?;
    job_peers::install()?;
    let mut peers = Vec::new();
    for peer in Peer::ALL {
        let url = match peer.database() {
            Some(name) => Some(system.ground.database(name).await?),
            None => redis.as_ref().map(|redis| redis.url().to_owned()),
        };
        peers.extend(url.map(|url| (peer, url, Vec::new())));
    }
    let card = system::card(system.store(), TenantId::DEFAULT, settings.seconds * THOUSANDS_PER_SECOND).await?;
    // One case warms up, and does not count.
    per_second(&system, &system::card(system.store(), TenantId::DEFAULT, 1).await?).await?;
    let mut ours = Vec::new();
    for _ in 0..settings.rounds {
        let rate = per_second(&system, &card).await?;
        eprintln!("  ours: {rate:.0} jobs/s");
        ours.push(rate);
        for (peer, url, found) in &mut peers {
            found.push(job_peers::per_second(*peer, url, settings.seconds)?);
        }
    }
    system.stop().await?;
    let ours = median(ours);
    let row = |name: &str, beside, other, least| Row::new(name, ours, beside, other, "1/s", &Target::AtLeast(least));
    let mut rows = vec![row("jobs, 2 workers", "the floor", FLOOR_PER_SECOND, 1.0)];
    for (peer, _, found) in peers {
        rows.push(row(&format!("jobs, 2 workers, {}", peer.name()), peer.name(), median(found), peer.least()));
    }
    Ok(rows)
}

async fn per_second(system: &System, card: &Card) -> anyhow::Result<f64> {
    let started = Instant::now();
    let run = system::request(system.store(), card, &system::echo(), REPEATS).await?;
    system.shown(card.tenant, run).await?;
    Ok(f64::from(card.cases * u32::from(REPEATS)) / started.elapsed().as_secs_f64())
}
