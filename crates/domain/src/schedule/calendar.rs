//! When a schedule is due: a cron expression in a time zone, with its days of 23 and 25 hours.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use time::OffsetDateTime;

use crate::timestamp::Timestamp;

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    cron: Cron,
    zone: Tz,
}

/// Why there is no such calendar.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CalendarError {
    /// The expression can't be read.
    #[error("the cron expression {cron:?} can't be read: {message}; write minute, hour, day, month and weekday")]
    Cron {
        /// The expression.
        cron: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such zone.
    #[error("there is no time zone {zone:?}; name one of the IANA database, such as Europe/Berlin or UTC")]
    Zone {
        /// The name.
        zone: String,
    },
    /// It is never due.
    #[error("the cron expression {cron:?} is never due")]
    Never {
        /// The expression.
        cron: String,
    },
}

impl Calendar {
    /// Reads a cron expression of five fields, or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    ///
    /// # Errors
    /// [`CalendarError`] where it or the zone can't be read.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, CalendarError> {
        // No seconds: a run a minute is the most that anybody has asked for, and each tick is an event.
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let unreadable = |error: croner::errors::CronError| CalendarError::Cron {
            cron: cron.to_owned(),
            message: error.to_string(),
        };
        let zone = Tz::from_str(zone).map_err(|_| CalendarError::Zone { zone: zone.to_owned() })?;
        Ok(Self { cron: parser.parse(cron).map_err(unreadable)?, zone })
    }

    /// The first moment after another at which it is due; none where there is none, such as on a 30th of February.
    ///
    /// A time that a day lacks because the clock is put forward is due when the clock goes on, and one that a day has
    /// twice is due the first time, unless the expression recurs within the hour anyway.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = DateTime::from_timestamp(after.get().unix_timestamp(), 0)?.with_timezone(&self.zone);
        loop {
            let next = self.cron.find_next_occurrence(&from, false).ok()?;
            let found = Timestamp::new(OffsetDateTime::from_unix_timestamp(next.timestamp()).ok()?);
            if found > after {
                return Some(found);
            }
            from = next.checked_add_signed(TimeDelta::seconds(1))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    fn ticks(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::parse(cron, zone).unwrap();
        let next = |after: &Timestamp| calendar.next_after(*after);
        std::iter::successors(next(&at(from)), next).take(count).map(|tick| tick.to_string()).collect()
    }

    #[test]
    fn a_time_is_that_of_its_zone() {
        let noon = ticks("0 12 * * *", "Asia/Tokyo", "2026-01-01T00:00:00Z", 2);
        assert_eq!(noon, ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]);
    }

    #[test]
    fn the_moment_itself_is_not_after_itself() {
        let hours = ticks("@hourly", "UTC", "2026-01-01T01:00:00Z", 1);
        assert_eq!(hours, ["2026-01-01T02:00:00Z"]);
        let within = ticks("@hourly", "UTC", "2026-01-01T01:00:00.5Z", 1);
        assert_eq!(within, ["2026-01-01T02:00:00Z"]);
    }

    #[test]
    fn a_day_of_23_hours_skips_nothing() {
        // On 2026-03-29 Berlin has no 02:30: it is due when the clock goes on, at 03:00 summer time.
        let ticks = ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(ticks, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_day_of_25_hours_repeats_nothing() {
        // On 2026-10-25 Berlin has 02:30 twice, first in summer time.
        let ticks = ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(ticks, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_recurs_within_the_hour_goes_on_through_both_days() {
        let forward = ticks("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 3);
        assert_eq!(forward, ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"]);
        let back = ticks("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4);
        let halves = ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(back, halves);
    }

    #[test]
    fn what_can_not_be_read_says_so() {
        let error = |cron, zone| Calendar::parse(cron, zone).unwrap_err().to_string();
        assert!(error("61 * * * *", "UTC").contains("61 * * * *"));
        assert!(error("* * * * * *", "UTC").contains("minute"), "no seconds");
        assert!(error("@daily", "Mars/Olympus").contains("Mars/Olympus"));
        let never = Calendar::parse("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.next_after(at("2026-01-01T00:00:00Z")), None);
    }
}
