//! Callers who append one event each to a new stream, as fast as they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Revised};
use pcs_store::{Append, AppendError, CommandContext, Expected, Store, StoreError};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The event's payload, in bytes, about that of a small result.
pub const PAYLOAD_BYTES: usize = 300;
/// What the payload has beside its text, in bytes.
const PAYLOAD_FRAME_BYTES: usize = 100;

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Appends that were acknowledged.
    pub appends: u64,
    /// Those per second.
    pub per_second: f64,
    /// From the call to the answer, in milliseconds: what half of them stayed below.
    pub p50_ms: f64,
    /// The same for 99 of a hundred.
    pub p99_ms: f64,
}

fn event() -> PromptCardEvent {
    PromptCardEvent::Revised(Revised {
        version: 2,
        prompt: "x".repeat(PAYLOAD_BYTES - PAYLOAD_FRAME_BYTES),
        model: None,
        message: String::new(),
        author: ActorId(Uuid::nil()),
    })
}

/// One command with one event, answered when it is durable.
///
/// # Errors
/// Why it was not appended.
pub async fn append_one(store: &Store) -> Result<(), AppendError> {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, Uuid::new_v4(), Expected::NoStream, &[event()])?;
    store.append(append).await?;
    Ok(())
}

/// Lets this many callers append for some time.
///
/// # Errors
/// Why one of them could not.
pub async fn rate(store: &Store, callers: usize, duration: Duration) -> Result<Rate, AppendError> {
    let started = Instant::now();
    let mut latencies_ms = append_while(store, callers, move |_| started.elapsed() < duration).await?;
    let seconds = started.elapsed().as_secs_f64();
    latencies_ms.sort_by(f64::total_cmp);
    let appends = latencies_ms.len() as u64;
    #[expect(clippy::cast_precision_loss, reason = "a count of appends fits a float exactly")]
    let per_second = appends as f64 / seconds;
    let at = |percent: usize| latencies_ms.get(latencies_ms.len() * percent / 100).copied().unwrap_or_default();
    Ok(Rate { appends, per_second, p50_ms: at(50), p99_ms: at(99) })
}

/// Appends this many events, with this many callers.
///
/// # Errors
/// Why one of them could not.
pub async fn fill(store: &Store, callers: usize, events: u64) -> Result<(), AppendError> {
    append_while(store, callers, move |begun| begun < events).await?;
    Ok(())
}

/// Appends while `goes_on` says so of the number of appends that were begun before; answers all latencies.
async fn append_while<F>(store: &Store, callers: usize, goes_on: F) -> Result<Vec<f64>, AppendError>
where
    F: Fn(u64) -> bool + Clone + Send + 'static,
{
    let begun = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, begun, goes_on) = (store.clone(), Arc::clone(&begun), goes_on.clone());
        tasks.spawn(async move {
            let mut latencies_ms = Vec::new();
            while goes_on(begun.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                append_one(&store).await?;
                latencies_ms.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            Ok::<_, AppendError>(latencies_ms)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.append(&mut ended.map_err(|_| StoreError::Closed)??);
    }
    Ok(all)
}
