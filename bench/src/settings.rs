//! How long and how often is measured; shorter for a trial, by the environment.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;

/// How long each rate is measured, in seconds.
const SECONDS: u32 = 5;
/// Rounds; the median counts.
const ROUNDS: usize = 5;

/// The settings of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long each rate is measured, in seconds (`PCS_BENCH_SECONDS`).
    pub(crate) seconds: u32,
    /// How often; the median counts (`PCS_BENCH_ROUNDS`).
    pub(crate) rounds: usize,
    /// How many events a benchmark that reads a log makes first, instead of its usual number (`PCS_BENCH_EVENTS`).
    pub(crate) events: Option<u64>,
}

impl Settings {
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        Ok(Self {
            seconds: read("PCS_BENCH_SECONDS")?.unwrap_or(SECONDS),
            rounds: read("PCS_BENCH_ROUNDS")?.unwrap_or(ROUNDS),
            events: read("PCS_BENCH_EVENTS")?,
        })
    }

    /// Whether less is measured than the documents promise: such results are shown and not kept.
    pub(crate) fn is_trial(&self) -> bool {
        self.seconds < SECONDS || self.rounds < ROUNDS || self.events.is_some()
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }
}

fn read<T>(name: &str) -> anyhow::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{name}={text} is not a number"))
}

/// The value in the middle; 0 where there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The value that this share of all is not above.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of samples fits a float exactly")]
    let rank = (values.len() as f64 * share).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank among the samples")]
    let place = (rank as usize).saturating_sub(1);
    values.get(place).copied().unwrap_or_default()
}
