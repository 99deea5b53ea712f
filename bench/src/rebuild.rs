//! Building the read model of results anew from the whole history, as `pcs es projection rebuild` does.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use pcs_projections::execution_results::ExecutionResults;
use pcs_projections::{BuildEnd, RebuildConfig, rebuild};
use pcs_store::Store;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;
use crate::report::{Row, Target};
use crate::results::{self, Results};
use crate::settings::{Settings, median};

/// Events in the log.
const EVENTS: u64 = 500_000;
/// Events per second that have to be read, folded and written, with keys and indexes made.
const FLOOR_PER_SECOND: f64 = 100_000.0;

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let results = Arc::new(Results::load()?);
    results::fill(&ground.store, &results, settings.events.unwrap_or(EVENTS)).await?;
    // What autovacuum would do at some moment of its own: the planner's numbers, and the hint bits of the new rows.
    sqlx::raw_sql("vacuum analyze es.event").execute(&ground.pool).await?;
    let mut rates = Vec::new();
    for _ in 0..settings.rounds {
        rates.push(rate(&ground.store).await?);
    }
    ground.stop().await;
    Ok(vec![Row::new(
        "rebuild of the results",
        median(rates),
        "the floor",
        FLOOR_PER_SECOND,
        "1/s",
        &Target::AtLeast(1.0),
    )])
}

/// Events per second from an empty table to one that can be promoted.
async fn rate(store: &Store) -> anyhow::Result<f64> {
    let started = Instant::now();
    let position = build(store, &|_| ()).await?;
    Ok(f64::from(u32::try_from(position)?) / started.elapsed().as_secs_f64())
}

/// Builds from nothing to the head of the log; answers the head. `said` is told each position on the way.
pub(crate) async fn build(store: &Store, said: &(dyn Fn(i64) + Sync)) -> anyhow::Result<i64> {
    let config = RebuildConfig { restart: true, ..RebuildConfig::default() };
    let ended =
        rebuild(store, &ExecutionResults, config, CancellationToken::new(), &|progress| said(progress.position))
            .await?;
    let head = store.head().await?;
    match ended {
        BuildEnd::Ready(position) if position == head => Ok(head),
        BuildEnd::Ready(_) | BuildEnd::Paused(_) | BuildEnd::Stopped(_) | BuildEnd::Cancelled(_) => {
            bail!("the build ended with {ended:?} and the log at {head}")
        }
    }
}
