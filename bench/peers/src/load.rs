//! Concurrent callers who append as fast as they are answered, and what came of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// What the library made of one command.
pub enum Outcome {
    /// The event is durable.
    Acknowledged,
    /// The library refused it because of others, and nothing was written.
    Refused,
}

/// A library that can append one event to a new stream.
pub trait Appends: Send + Sync + 'static {
    /// Appends the event with this text to the stream with this id.
    fn append(&self, stream: Uuid, text: String) -> impl Future<Output = anyhow::Result<Outcome>> + Send;
}

/// What came of a load.
pub struct Attempts {
    /// Events that are durable.
    pub acknowledged: u64,
    /// Attempts that the library refused; the caller went on with another stream.
    pub refused: u64,
    /// From the first attempt to the last answer.
    pub elapsed: Duration,
}

/// One line of the output.
pub struct Measured {
    pub acknowledged: u64,
    pub refused: u64,
    pub seconds: f64,
}

impl Measured {
    pub fn json(&self, peer: &str, callers: u32) -> serde_json::Value {
        #[expect(clippy::cast_precision_loss, reason = "counts of some seconds fit a float exactly")]
        let per_second = self.acknowledged as f64 / self.seconds;
        serde_json::json!({
            "peer": peer,
            "callers": callers,
            "per_second": per_second,
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "seconds": self.seconds,
        })
    }
}

/// Lets callers append for some time.
pub async fn run<A: Appends>(library: A, text: String, callers: u32, duration: Duration) -> anyhow::Result<Attempts> {
    let library = Arc::new(library);
    let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (library, counts, text) = (Arc::clone(&library), Arc::clone(&counts), text.clone());
        tasks.spawn(async move {
            while started.elapsed() < duration {
                let count = match library.append(Uuid::new_v4(), text.clone()).await? {
                    Outcome::Acknowledged => &counts.0,
                    Outcome::Refused => &counts.1,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let (acknowledged, refused) = (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed));
    Ok(Attempts { acknowledged, refused, elapsed: started.elapsed() })
}
