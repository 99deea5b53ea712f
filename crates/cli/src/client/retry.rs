//! When a request is sent again, and after how long: pure, so that it can be tested without waiting.

use std::time::Duration;

use reqwest::StatusCode;

/// How often a request is sent before it has failed.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
/// The wait after the first failure; it doubles with each.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait that we choose ourselves.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest wait that a server may ask for; past it the user should know.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Whether another try of the same request could go better; every command carries an `Idempotency-Key`, so that a
/// try whose answer got lost has not happened twice.
pub(crate) fn is_worth_it(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long to wait after a failed attempt, counted from 1; `spread` from 0 to 255 keeps clients from going in step.
pub(crate) fn wait(attempt: u32, retry_after: Option<Duration>, spread: u8) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(RETRY_AFTER_MAX);
    }
    let doubled = WAIT_FIRST.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let most = doubled.min(WAIT_MAX);
    most / 2 + most / 2 * u32::from(spread) / 255
}

/// The seconds of a `Retry-After` header; its other form, a date, is left to our own waits.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread_over_their_second_half() {
        let waits = |spread| (1..=8).map(|attempt| wait(attempt, None, spread).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(255), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(0), [50, 100, 200, 400, 800, 1600, 2500, 2500]);
    }

    #[test]
    fn a_server_is_believed_up_to_a_limit() {
        assert_eq!(wait(1, retry_after("2"), 0), Duration::from_secs(2));
        assert_eq!(wait(1, retry_after("86400"), 0), RETRY_AFTER_MAX);
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
