//! How long a provider wants to be left alone: `retry-after-ms`, or `Retry-After` in seconds or as a date.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The wait in an answer's headers; a date is measured against the answer's own date, as clocks differ.
pub(crate) fn read(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    if let Some(millis) = number(headers, "retry-after-ms") {
        return Duration::try_from_secs_f64(millis / 1_000.0).ok();
    }
    if let Some(seconds) = number(headers, RETRY_AFTER.as_str()) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = date(headers, RETRY_AFTER.as_str())?;
    let from = date(headers, DATE.as_str()).unwrap_or(now);
    // A date that has passed means: now.
    Some(Duration::try_from(until - from).unwrap_or_default())
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok().filter(|number: &f64| *number >= 0.0)
}

fn date(headers: &HeaderMap, name: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(headers.get(name)?.to_str().ok()?.trim(), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn wait(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        read(&headers, NOW)
    }

    #[test]
    fn all_three_forms_are_understood() {
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "1500")]), Some(Duration::from_millis(1_500)));
        assert_eq!(wait(&[("retry-after", "Fri, 02 Jan 2026 03:04:35 GMT")]), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_date_is_measured_against_the_answers_own() {
        let server_is_behind =
            [("retry-after", "Fri, 02 Jan 2026 02:00:10 GMT"), ("date", "Fri, 02 Jan 2026 02:00:00 GMT")];
        assert_eq!(wait(&server_is_behind), Some(Duration::from_secs(10)));
        assert_eq!(wait(&[("retry-after", "Fri, 02 Jan 2026 03:00:00 GMT")]), Some(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_no_wait() {
        for nonsense in ["soon", "-1", "NaN", "inf", "1e300", ""] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[]), None);
    }
}
