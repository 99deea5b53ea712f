//! `as_of`: a moment of the past, as a position of the log or as a time.

use pcs_domain::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// A moment that a read asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AsOf {
    /// When the newest event had this position.
    Position(i64),
    /// What had been recorded at this time.
    Time(Timestamp),
}

impl<'de> Deserialize<'de> for AsOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(position) = text.parse::<u64>() {
            // No log is that long: what does not fit is in the future, and refused as such.
            return Ok(Self::Position(i64::try_from(position).unwrap_or(i64::MAX)));
        }
        let time = de::value::StrDeserializer::<de::value::Error>::new(&text);
        Timestamp::deserialize(time).map(Self::Time).map_err(|_| {
            let message = "as_of: must be a position of the log, such as 4711, or a time, such as 2026-01-31T23:59:59Z \
                           (a plus sign in it is written %2B)";
            de::Error::custom(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_a_position_or_a_time() {
        let read = |text: &str| serde_json::from_value::<AsOf>(json!(text)).ok();
        assert_eq!(read("0"), Some(AsOf::Position(0)));
        assert_eq!(read("4711"), Some(AsOf::Position(4711)));
        assert_eq!(read("18446744073709551615"), Some(AsOf::Position(i64::MAX)));
        let time = serde_json::from_value(json!("2026-01-02T03:04:05Z")).unwrap();
        assert_eq!(read("2026-01-02T05:04:05+02:00"), Some(AsOf::Time(time)));
        for text in ["", "-1", "1.5", "now", "2026-01-02", "2026-01-02T05:04:05 02:00"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
