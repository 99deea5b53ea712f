//! What the tests share: a PostgreSQL per test process with a database per test, a broker per test, a whole system.

#![expect(clippy::expect_used, reason = "what the tests need and do not get is a failure of the test")]

pub mod broker;
pub mod collector;
pub mod console;
pub mod database;
pub mod folded;
pub mod model_server;
pub mod object_server;
pub mod process;
pub mod python;
pub mod samples;
mod sample_regrades;
mod sample_reviews;
pub mod subscriber;
pub mod system;

use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for something that has to happen; far above what it takes, so that a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
///
/// # Panics
/// Never: this package is one folder below it.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a parent folder").to_owned()
}

/// The folder of fetched programs that all tests share.
#[must_use]
pub fn cache_dir() -> PathBuf {
    std::env::var_os("PCS_CACHE_DIR").map_or_else(|| repository().join(".local/cache"), PathBuf::from)
}

/// A port that nobody has, below those that the system gives to whoever connects (32768 and up) and beside those of
/// the local stack (20000 to 29999): one that is given back and bound again later is not somebody else's by then.
///
/// # Panics
/// When a hundred of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
    (0..100)
        .map(|step| 10_000 + u16::try_from(seed.wrapping_add(step) % 10_000).unwrap_or_default())
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of a hundred ports is free")
}

/// Waits until `look` finds something; fails with `what` after [`PATIENCE`].
///
/// # Panics
/// When it does not happen.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
