//! Reading the log from its start to its end, as a subscription does that catches up, beside a plain copy of the rows.

use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt;
use pcs_store::{Filter, Store};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;

use crate::ground::Ground;
use crate::report::{Row, Target};
use crate::results::{self, Results};
use crate::settings::{Settings, median};

/// Events in the log.
const EVENTS: u64 = 500_000;
/// Events of one page, as the projections read them.
pub(crate) const PAGE_LEN: usize = 2_000;
/// Events per second that have to be read and decoded.
const FLOOR_PER_SECOND: f64 = 200_000.0;

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let results = Arc::new(Results::load()?);
    results::fill(&ground.store, &results, settings.events.unwrap_or(EVENTS)).await?;
    // What autovacuum would do at some moment of its own: the planner's numbers, and the hint bits of the new rows.
    sqlx::raw_sql("vacuum analyze es.event").execute(&ground.pool).await?;
    let (mut ours, mut copied) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        copied.push(copy_rate(&ground.pool).await?);
        ours.push(read_rate(&ground.store).await?);
    }
    ground.stop().await;
    let (ours, copied) = (median(ours), median(copied));
    Ok(vec![
        Row::new("tail read", ours, "the floor", FLOOR_PER_SECOND, "1/s", &Target::AtLeast(1.0)),
        Row::new("tail read, raw limit", ours, "COPY of the same rows", copied, "1/s", &Target::Shown),
    ])
}

/// Events per second, each decoded into its type, as a follower gets them.
async fn read_rate(store: &Store) -> anyhow::Result<f64> {
    let follower = store.follow(Filter::all());
    let started = Instant::now();
    let (mut position, mut count) = (0, 0_u32);
    loop {
        let page = follower.read(position, PAGE_LEN).await?;
        position = page.position;
        count += u32::try_from(page.events.len())?;
        if page.caught_up {
            return Ok(f64::from(count) / started.elapsed().as_secs_f64());
        }
    }
}

/// Rows per second that PostgreSQL hands out as text, nobody looking at them.
async fn copy_rate(pool: &PgPool) -> anyhow::Result<f64> {
    let count: i64 = sqlx::query_scalar("select count(*) from es.event").fetch_one(pool).await?;
    let started = Instant::now();
    let mut rows = pool.copy_out_raw("copy (select * from es.event order by position) to stdout").await?;
    while rows.try_next().await?.is_some() {}
    Ok(f64::from(u32::try_from(count)?) / started.elapsed().as_secs_f64())
}
