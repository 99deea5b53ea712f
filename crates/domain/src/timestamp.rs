//! A moment in UTC, cut to microseconds, because that is what PostgreSQL keeps.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC with microsecond precision, written as RFC 3339.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The start of 1970 in UTC.
    pub const EPOCH: Self = Self(OffsetDateTime::UNIX_EPOCH);

    /// Cuts what is finer than a microsecond: rounding could move an event into the future.
    #[must_use]
    pub fn new(at: OffsetDateTime) -> Self {
        let at = at.to_offset(time::UtcOffset::UTC);
        let micros = at.microsecond();
        Self(at.replace_microsecond(micros).unwrap_or(at))
    }

    /// The same moment as the `time` crate has it.
    #[must_use]
    pub fn get(self) -> OffsetDateTime {
        self.0
    }

    /// This moment plus a duration; stays put where the calendar would end.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let added = time::Duration::try_from(duration).ok().and_then(|d| self.0.checked_add(d));
        Self::new(added.unwrap_or(self.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339).map(Self::new).map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_cut_to_microseconds_and_never_rounded_up() {
        let at: Timestamp = serde_json::from_str("\"2026-01-02T03:04:05.123456789Z\"").unwrap();
        assert_eq!(at.to_string(), "2026-01-02T03:04:05.123456Z");
    }

    #[test]
    fn another_offset_is_the_same_moment() {
        let at: Timestamp = serde_json::from_str("\"2026-01-02T05:04:05+02:00\"").unwrap();
        assert_eq!(at.to_string(), "2026-01-02T03:04:05Z");
    }
}
