//! When the next attempt may start: exponential, with jitter, never before the provider said.

use std::time::Duration;

use uuid::Uuid;

/// The pause after the first failed attempt, before jitter.
const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// The longest pause of our own; a provider may ask for a longer one.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a provider may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The pause after failed attempt `attempt` (from 1).
///
/// Half of it is fixed and half is jitter, drawn from the job's id: jobs that failed together don't come
/// back together, and the decision stays a function of its input.
pub(crate) fn pause(job: Uuid, attempt: u16, retry_after: Option<Duration>) -> Duration {
    let doublings = u32::from(attempt.saturating_sub(1)).min(16);
    let full = BACKOFF_BASE.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let seed = job.as_u128() ^ u128::from(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let mixed = (seed ^ (seed >> 64)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let share = u32::try_from((mixed >> 32) % 1_001).unwrap_or(0);
    let own = full / 2 + full.saturating_mul(share) / 2_000;
    own.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest_and_jitters_by_half() {
        for seed in 0..200_u128 {
            let id = Uuid::from_u128(seed.wrapping_mul(0x1234_5678_9ABC_DEF1));
            let first = pause(id, 1, None);
            assert!(first >= BACKOFF_BASE / 2 && first <= BACKOFF_BASE, "{first:?}");
            let last = pause(id, 40, None);
            assert!(last >= BACKOFF_MAX / 2 && last <= BACKOFF_MAX, "{last:?}");
        }
    }

    #[test]
    fn executions_that_failed_together_come_back_apart() {
        let pauses: std::collections::BTreeSet<Duration> =
            (0..100_u128).map(|seed| pause(Uuid::from_u128(seed << 64 | seed), 1, None)).collect();
        assert!(pauses.len() > 50, "{} different pauses", pauses.len());
    }

    #[test]
    fn never_before_the_provider_said() {
        let id = Uuid::nil();
        assert!(pause(id, 1, Some(Duration::from_secs(20))) >= Duration::from_secs(20));
    }
}
