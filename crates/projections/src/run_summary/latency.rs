//! A histogram of latencies whose buckets are exact below 128 ms and at most 1.6 % wide above.

/// Below it each millisecond has a bucket of its own.
const EXACT_MS: u64 = 128;
/// Buckets of each doubling above.
const BUCKETS_PER_DOUBLING: u64 = 64;
/// log2 of [`EXACT_MS`]: the first doubling.
const FIRST_DOUBLING: u64 = 7;

/// The bucket of a latency.
pub(super) fn bucket(latency_ms: u64) -> i16 {
    if latency_ms < EXACT_MS {
        return number(latency_ms);
    }
    let doubling = u64::from(latency_ms.ilog2());
    // The seven highest bits: the highest is always set, the other six number the buckets of the doubling.
    let within = (latency_ms >> (doubling - (FIRST_DOUBLING - 1))) - BUCKETS_PER_DOUBLING;
    number(EXACT_MS + (doubling - FIRST_DOUBLING) * BUCKETS_PER_DOUBLING + within)
}

/// The latency that stands for a bucket: its middle.
pub(super) fn latency_ms(bucket: i16) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(0);
    let Some(above) = bucket.checked_sub(EXACT_MS) else { return bucket };
    let (doubling, within) = (above / BUCKETS_PER_DOUBLING, above % BUCKETS_PER_DOUBLING);
    // The width of a bucket is 2, 4, 8 ... milliseconds; a smallint may hold buckets that no latency has.
    let shift = u32::try_from(doubling + 1).unwrap_or(u32::MAX);
    let low = (BUCKETS_PER_DOUBLING + within).checked_shl(shift).unwrap_or(u64::MAX);
    low.saturating_add(1u64.checked_shl(shift - 1).unwrap_or(0))
}

/// The largest bucket, of 2^64 - 1, is 3,775.
fn number(bucket: u64) -> i16 {
    i16::try_from(bucket).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_latencies_are_exact() {
        for latency in 0..EXACT_MS {
            assert_eq!(latency_ms(bucket(latency)), latency);
        }
    }

    #[test]
    fn long_latencies_are_within_a_hundredth_and_stay_in_order() {
        let mut last = 0;
        for latency in (0..60).flat_map(|shift| [128u64 << shift >> 3, (137 << shift) >> 3, 255 << shift >> 3]) {
            let kept = latency_ms(bucket(latency));
            assert!(kept.abs_diff(latency) * 100 <= latency, "{latency} is kept as {kept}");
        }
        for latency in (0..1_000_000).step_by(7) {
            let bucket = bucket(latency);
            assert!(bucket >= last);
            last = bucket;
        }
        assert_eq!(bucket(u64::MAX), 3_775);
    }
}
