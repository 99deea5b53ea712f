//! The rate of appends to a log of ten million events beside that to one of a hundred thousand. Slow: only by its name.
//!
//! Both logs are on one server and take turns. The large one stays in its first partition, whose indexes are then as
//! large as they get; the small one is made anew for each round, because a round alone makes it several times as long.

use std::time::Instant;

use pcs::commands::es::bench::load::{fill, rate};

use crate::ground::{self, Ground};
use crate::report::{Row, Target};
use crate::settings::{Settings, median};

/// Events of the large log when its last round ends, about; the partitions of the log are as long.
const LARGE_EVENTS: u64 = 10_000_000;
/// Events that are appended between two looks at how long the large log is.
const FILL_STEP: u64 = 500_000;
/// Events of the small log when a round begins.
const SMALL_EVENTS: u64 = 100_000;
/// Concurrent callers, as in the benchmark of appends.
const CALLERS: usize = 256;
/// The share of its first rate that must be left.
const LEFT_MIN: f64 = 0.85;

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let large = settings.events.unwrap_or(LARGE_EVENTS);
    let seconds = u64::from(settings.seconds) * u64::try_from(settings.rounds)?;
    let started = Instant::now();
    loop {
        let head = u64::try_from(ground.store.head().await?)?;
        // The rounds append as well, at about the rate of the filling.
        let of_rounds = head / started.elapsed().as_secs().max(1) * seconds;
        let missing = large.saturating_sub(head + of_rounds);
        if missing == 0 {
            break;
        }
        fill(&ground.store, CALLERS, missing.min(FILL_STEP)).await?;
        eprintln!("  {} events in the large log", ground.store.head().await?);
    }
    let (mut at_large, mut at_small) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let url = ground.database("small").await?;
        let small = ground::open(&url).await?;
        fill(&small, CALLERS, SMALL_EVENTS).await?;
        at_small.push(rate(&small, CALLERS, settings.duration()).await?.per_second);
        at_large.push(rate(&ground.store, CALLERS, settings.duration()).await?.per_second);
    }
    eprintln!("  {} events in the large log at the end", ground.store.head().await?);
    ground.stop().await;
    let (at_large, at_small) = (median(at_large), median(at_small));
    Ok(vec![Row::new(
        "growth appends at 10 million events",
        at_large,
        "at 100,000 events",
        at_small,
        "1/s",
        &Target::AtLeast(LEFT_MIN),
    )])
}
