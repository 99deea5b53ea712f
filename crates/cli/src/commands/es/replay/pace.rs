//! How fast events are sent.

use std::time::Duration;

use tokio::time::Instant;

/// Batches per second of a bounded rate: more would only cost, fewer would come in gusts.
const BATCHES_PER_SECOND: f64 = 10.0;

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate(f64);

/// Reads `500/s` or `500`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Rate(rate)),
        Ok(_) | Err(_) => Err("a rate is written as 500/s".to_owned()),
    }
}

impl Rate {
    /// How long so many events take, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn seconds_for(self, events: u64) -> f64 {
        events as f64 / self.0
    }
}

/// Keeps to a rate over the whole time: what was slow for a while is made up for.
pub(super) struct Pace {
    rate: Option<Rate>,
    started: Instant,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>, started: Instant) -> Self {
        Self { rate, started }
    }

    /// The batches in which the rate is even, at most `len_max`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number, and it is bounded")]
    pub(super) fn batch_len(&self, len_max: usize) -> usize {
        self.rate.map_or(len_max, |Rate(rate)| ((rate / BATCHES_PER_SECOND) as usize).clamp(1, len_max))
    }

    /// Waits until `sent` events are due.
    pub(super) async fn wait(&self, sent: u64) {
        let Some(rate) = self.rate else { return };
        if let Ok(due) = Duration::try_from_secs_f64(rate.seconds_for(sent)) {
            tokio::time::sleep_until(self.started + due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_positive_number_per_second() {
        assert_eq!(rate("500/s"), Ok(Rate(500.0)));
        assert_eq!(rate("0.5"), Ok(Rate(0.5)));
        for wrong in ["0", "-1/s", "inf", "NaN/s", "5/m", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_the_whole_time() {
        let started = Instant::now();
        let pace = Pace::new(Some(Rate(50.0)), started);
        assert_eq!(pace.batch_len(100), 5);
        pace.wait(100).await;
        assert_eq!(started.elapsed().as_secs(), 2);
        pace.wait(10).await;
        assert_eq!(started.elapsed().as_secs(), 2);
    }
}
