//! How long after its commit an event is in every read model, while 2,000 results a second are recorded.
//!
//! Store and projections run in one process, as in `pcs up`, each projection by `pcs_projections::run` with its usual
//! settings. The load is paced and does not wait for answers, so a slow moment is paid for by all that come in it. A
//! connection beside them looks at the checkpoints once a millisecond: an event counts as visible when the last
//! projection's checkpoint, which commits with its rows, has passed it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use pcs_domain::ids::TestRunId;
use pcs_projections::RunnerConfig;
use pcs_store::Store;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ground::Ground;
use crate::report::{Row, Target};
use crate::results::{Results, record, request};
use crate::settings::{Settings, median, percentile};

/// Results recorded per second.
const PER_SECOND: u32 = 2_000;
/// The longest that the slowest of a hundred may take, in milliseconds.
const CEILING_MS: f64 = 50.0;
/// Load before the first round, in seconds.
const WARM_UP_SECONDS: u32 = 2;
/// Pause between two looks at the checkpoints.
const LOOK: Duration = Duration::from_millis(1);
/// How long the projections may take to end a round.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// The share of the load that has to be kept for the round to count.
const KEPT_MIN: f64 = 0.98;

/// One recorded result.
struct Sample {
    due: Instant,
    acknowledged: Instant,
    position: i64,
}

/// 99th percentiles of a round, in milliseconds.
struct Round {
    from_acknowledgement: f64,
    from_submission: f64,
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let stop = CancellationToken::new();
    let mut runners = tokio::task::JoinSet::new();
    for projection in pcs_projections::all() {
        runners.spawn(pcs_projections::run(
            ground.store.clone(),
            projection,
            RunnerConfig::default(),
            stop.child_token(),
        ));
    }
    let results = Arc::new(Results::load()?);
    round(&ground, &results, WARM_UP_SECONDS).await?;
    let (mut acknowledged, mut submitted) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let Round { from_acknowledgement, from_submission } = round(&ground, &results, settings.seconds).await?;
        eprintln!("  p99 {from_acknowledgement:.1} ms after the answer, {from_submission:.1} ms after the submission");
        acknowledged.push(from_acknowledgement);
        submitted.push(from_submission);
    }
    stop.cancel();
    while let Some(ended) = runners.join_next().await {
        ended??;
    }
    ground.stop().await;
    let row = |name, values| Row::new(name, median(values), "the ceiling", CEILING_MS, "ms", &Target::AtMost(1.0));
    Ok(vec![
        row("visible p99 after the answer, 2,000 events/s", acknowledged),
        row("visible p99 after the submission, 2,000 events/s", submitted),
    ])
}

async fn round(ground: &Ground, results: &Arc<Results>, seconds: u32) -> anyhow::Result<Round> {
    let connection = PgConnection::connect(ground.url()).await?;
    let stop = CancellationToken::new();
    let mut watcher = tokio::task::JoinSet::new();
    watcher.spawn(watch(connection, stop.child_token()));
    let started = Instant::now();
    let samples = load(&ground.store, results, PER_SECOND * seconds).await?;
    let kept = f64::from(seconds) / started.elapsed().as_secs_f64();
    if kept < KEPT_MIN {
        bail!("the load could not be kept: only {:.0} % of {PER_SECOND} events/s were recorded", kept * 100.0);
    }
    let last = samples.iter().map(|sample| sample.position).max().unwrap_or_default();
    for projection in pcs_projections::all() {
        let caught_up = pcs_projections::wait_for_position(&ground.pool, projection.name(), last, CATCH_UP_MAX).await?;
        anyhow::ensure!(caught_up, "{} does not follow the load", projection.name());
    }
    // The watcher has to see it too.
    tokio::time::sleep(LOOK * 20).await;
    stop.cancel();
    let seen = watcher.join_next().await.context("nobody watches")???;
    let (mut acknowledged, mut submitted) = (Vec::new(), Vec::new());
    for Sample { due, acknowledged: answered, position } in samples {
        let place = seen.partition_point(|(_, checkpoint)| *checkpoint < position);
        let (visible, _) = seen.get(place).context("an event was never seen in the read models")?;
        acknowledged.push(visible.saturating_duration_since(answered).as_secs_f64() * 1_000.0);
        submitted.push(visible.saturating_duration_since(due).as_secs_f64() * 1_000.0);
    }
    Ok(Round {
        from_acknowledgement: percentile(&mut acknowledged, 0.99),
        from_submission: percentile(&mut submitted, 0.99),
    })
}

/// Records results at their times, whether or not earlier ones are answered.
async fn load(store: &Store, results: &Arc<Results>, count: u32) -> anyhow::Result<Vec<Sample>> {
    // Runs of their own, as many as it takes: the streams of this round are new.
    let mut runs = Vec::new();
    for _ in 0..=u64::from(count) / results.per_run() {
        let run = TestRunId(Uuid::new_v4());
        request(store, results, run).await?;
        runs.push(run);
    }
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (nth, place) in (0..count).map(|nth| (nth, u64::from(nth) / results.per_run())) {
        let run = *runs.get(usize::try_from(place)?).context("there are too few runs")?;
        let due = started + Duration::from_secs(1) * nth / PER_SECOND;
        tokio::time::sleep_until(due).await;
        let (store, results) = (store.clone(), Arc::clone(results));
        tasks.spawn(async move {
            let position = record(&store, results.finished_in(run, u64::from(nth))).await?;
            anyhow::Ok(Sample { due, acknowledged: Instant::now(), position })
        });
    }
    let mut samples = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        samples.push(ended??);
    }
    Ok(samples)
}

/// When the slowest projection was seen at which position, in order.
async fn watch(mut connection: PgConnection, stop: CancellationToken) -> anyhow::Result<Vec<(Instant, i64)>> {
    let names: Vec<&str> = pcs_projections::all().iter().map(|projection| projection.name()).collect();
    let mut seen: Vec<(Instant, i64)> = Vec::new();
    while !stop.is_cancelled() {
        let slowest: Option<i64> = sqlx::query_scalar(
            "select min(position) from read.projection where name = any($1) having count(*) = cardinality($1)",
        )
        .bind(&names)
        .fetch_optional(&mut connection)
        .await?;
        let now = Instant::now();
        if let Some(position) = slowest
            && seen.last().is_none_or(|(_, before)| position > *before)
        {
            seen.push((now, position));
        }
        tokio::time::sleep(LOOK).await;
    }
    connection.close().await?;
    Ok(seen)
}
