//! Appends of one event each, by one caller and by many, beside single-row inserts of pgbench; fsync is on for both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pcs::stack::{LocalStack, StackConfig};
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Revised};
use pcs_store::{Append, CommandContext, Expected, Store, StoreConfig};
use uuid::Uuid;

use crate::pgbench;
use crate::report::{Row, Target};

/// How long each rate is measured.
const SECONDS: u32 = 5;
/// Rounds; the median counts.
const ROUNDS: usize = 3;
/// Lone appends whose median latency counts.
const LONE_APPENDS: usize = 1_000;
/// The event's payload, in bytes, about that of a small result.
const PAYLOAD_BYTES: usize = 300;

pub(crate) async fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let config = StackConfig {
        data_dir: folder.path().join("stack"),
        cache_dir: ".local/cache".into(),
        database_url: None,
        nats_url: Some("nats://not.used".to_owned()),
        durable: true,
    };
    let stack = LocalStack::start(&config, &|line| eprintln!("  {line}")).await?;
    let pool = sqlx::PgPool::connect(&stack.database_url).await?;
    pcs_store::migrate(&pool).await?;
    sqlx::raw_sql("create schema peer; create table peer.single (id bigserial primary key, payload jsonb not null)")
        .execute(&pool)
        .await?;
    let store = Store::connect(&StoreConfig::new(&stack.database_url, "bench")).await?;
    let peer_payload = format!("{{\"prompt\": \"{}\"}}", "x".repeat(PAYLOAD_BYTES - 15));
    let peer = |clients| pgbench::inserts(folder.path(), &stack.database_url, &peer_payload, clients, SECONDS);

    let (mut many, mut peer_many, mut thirty_two) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lone, mut peer_lone) = (Vec::new(), Vec::new());
    // In turn, so that a machine that changes its speed changes it for both.
    for _ in 0..ROUNDS {
        peer_many.push(peer(32)?.per_second);
        many.push(rate(&store, 256).await?);
        thirty_two.push(rate(&store, 32).await?);
        peer_lone.push(peer(1)?.latency_ms);
        lone.push(lone_latency_ms(&store).await?);
    }
    let beside = "pgbench, 32 clients";
    let rows = vec![
        Row::new("append 256 callers", median(many), beside, median(peer_many.clone()), "1/s", &Target::AtLeast(2.0)),
        Row::new("append 32 callers", median(thirty_two), beside, median(peer_many), "1/s", &Target::AtLeast(1.0)),
        Row::new(
            "append 1 caller, median",
            median(lone),
            "pgbench, 1 client",
            median(peer_lone),
            "ms",
            &Target::AtMost(3.0),
        ),
    ];
    drop(store);
    pool.close().await;
    stack.stop().await;
    Ok(rows)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn event() -> PromptCardEvent {
    PromptCardEvent::Revised(Revised {
        version: 2,
        prompt: "x".repeat(PAYLOAD_BYTES - 100),
        message: String::new(),
        author: ActorId(Uuid::nil()),
    })
}

async fn append_one(store: &Store) -> anyhow::Result<()> {
    let context = CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4()));
    let mut append = Append::new(context);
    store.write(&mut append, Uuid::new_v4(), Expected::NoStream, &[event()])?;
    store.append(append).await?;
    Ok(())
}

async fn rate(store: &Store, callers: usize) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let until = started + Duration::from_secs(u64::from(SECONDS));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tasks.spawn(async move {
            while Instant::now() < until {
                append_one(&store).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of appends fits a float exactly")]
    let count = done.load(Ordering::Relaxed) as f64;
    Ok(count / started.elapsed().as_secs_f64())
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
