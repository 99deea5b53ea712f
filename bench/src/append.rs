//! Appends of one event each, by one caller and by many, beside pgbench and other stores; fsync is on for all of them.

use std::time::Instant;

use pcs::commands::es::bench::load::{PAYLOAD_BYTES, append_one, rate};
use pcs_store::Store;
use tokio::task::JoinSet;

use crate::ground::Ground;
use crate::report::{Row, Target};
use crate::settings::{Settings, median};
use crate::{peers, pgbench};

/// Lone appends whose median latency counts.
const LONE_APPENDS: usize = 1_000;

/// What each round found, ours and theirs.
#[derive(Default)]
struct Found {
    many: Vec<f64>,
    thirty_two: Vec<f64>,
    lone_ms: Vec<f64>,
    pgbench_many: Vec<f64>,
    pgbench_lone_ms: Vec<f64>,
    cqrs: Vec<f64>,
    disintegrate: Vec<f64>,
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    sqlx::raw_sql("create schema peer; create table peer.single (id bigserial primary key, payload jsonb not null)")
        .execute(&ground.pool)
        .await?;
    let cqrs_url = ground.database("peer_cqrs").await?;
    let disintegrate_url = ground.database("peer_disintegrate").await?;
    let payload = format!("{{\"prompt\": \"{}\"}}", "x".repeat(PAYLOAD_BYTES - 15));
    let single = |clients| pgbench::inserts(ground.folder(), ground.url(), &payload, clients, settings.seconds);
    let mut found = Found::default();
    // In turn, so that a machine that changes its speed changes it for all.
    for _ in 0..settings.rounds {
        found.pgbench_many.push(single(32)?.per_second);
        found.many.push(rate(&ground.store, 256, settings.duration()).await?.per_second);
        found.thirty_two.push(rate(&ground.store, 32, settings.duration()).await?.per_second);
        found.pgbench_lone_ms.push(single(1)?.latency_ms);
        // In a task, as a request is handled.
        let store = ground.store.clone();
        let mut lone = JoinSet::new();
        lone.spawn(async move { lone_latency_ms(&store).await });
        found.lone_ms.extend(lone.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        found.cqrs.push(peers::best("cqrs-es", &cqrs_url, settings.seconds)?.per_second);
        found.disintegrate.push(peers::best("disintegrate", &disintegrate_url, settings.seconds)?.per_second);
    }
    ground.stop().await;
    Ok(rows(found))
}

fn rows(found: Found) -> Vec<Row> {
    let many = median(found.many);
    let single = median(found.pgbench_many);
    let row = |name, ours, beside, other, least| Row::new(name, ours, beside, other, "1/s", &Target::AtLeast(least));
    vec![
        row("append 256 callers", many, "pgbench, 32 clients", single, 3.0),
        row("append 256 callers, cqrs-es", many, "cqrs-es at its best", median(found.cqrs), 12.0),
        row("append 256 callers, disintegrate", many, "disintegrate at its best", median(found.disintegrate), 60.0),
        row("append 32 callers", median(found.thirty_two), "pgbench, 32 clients", single, 1.1),
        Row::new(
            "append 1 caller, median",
            median(found.lone_ms),
            "pgbench, 1 client",
            median(found.pgbench_lone_ms),
            "ms",
            &Target::AtMost(2.0),
        ),
    ]
}

async fn lone_latency_ms(store: &Store) -> anyhow::Result<f64> {
    let mut latencies = Vec::with_capacity(LONE_APPENDS);
    for _ in 0..LONE_APPENDS {
        let started = Instant::now();
        append_one(store).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(median(latencies))
}
