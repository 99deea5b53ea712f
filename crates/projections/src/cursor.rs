//! Opaque cursors of lists: a letter for the list, then fixed-width hexadecimal digits of the last row's key.

use pcs_domain::Timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

/// The cursor is not one that this list gave out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the cursor is not one of this list; take next_cursor of its last page as it is")]
pub struct InvalidCursor;

/// The lists, each with the letter in front of its cursors: a cursor of one is refused by the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum List {
    Cards,
    Versions,
    Cases,
    Runs,
    Results,
    Jobs,
    Regrades,
    Regraded,
    Reviews,
    ReviewItems,
}

const NUMBER_DIGITS: usize = 16;
const ID_DIGITS: usize = 32;

impl List {
    fn letter(self) -> char {
        match self {
            Self::Cards => 'c',
            Self::Versions => 'v',
            Self::Cases => 't',
            Self::Runs => 'r',
            Self::Results => 'x',
            Self::Jobs => 'j',
            Self::Regrades => 'g',
            Self::Regraded => 'y',
            Self::Reviews => 'w',
            Self::ReviewItems => 'i',
        }
    }

    /// The cursor after a row that is placed by a number, which is never negative.
    pub(crate) fn after_number(self, number: i64) -> String {
        format!("{}{number:016x}", self.letter())
    }

    /// The number in a cursor.
    pub(crate) fn number(self, cursor: &str) -> Result<i64, InvalidCursor> {
        let digits = self.digits(cursor, NUMBER_DIGITS)?;
        i64::from_str_radix(digits, 16).map_err(|_| InvalidCursor)
    }

    /// The cursor after a row that is placed by a moment and, within it, by an id.
    pub(crate) fn after_moment(self, at: Timestamp, id: Uuid) -> String {
        // Timestamps have microseconds; those of any calendar year fit 64 bits. Moments before 1970 are two's complement.
        let micros = at.get().unix_timestamp_nanos() / 1_000;
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        format!("{}{micros:016x}{}", self.letter(), id.simple())
    }

    /// The moment and the id in a cursor.
    pub(crate) fn moment(self, cursor: &str) -> Result<(OffsetDateTime, Uuid), InvalidCursor> {
        let digits = self.digits(cursor, NUMBER_DIGITS + ID_DIGITS)?;
        let (micros, id) = digits.split_at(NUMBER_DIGITS);
        let micros = u64::from_str_radix(micros, 16).map_err(|_| InvalidCursor)?.cast_signed();
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| InvalidCursor)?;
        Ok((at, Uuid::try_parse(id).map_err(|_| InvalidCursor)?))
    }

    /// The digits behind the letter; all of them and nothing else, so that slicing them is safe.
    fn digits(self, cursor: &str, len: usize) -> Result<&str, InvalidCursor> {
        let digits = cursor.strip_prefix(self.letter()).ok_or(InvalidCursor)?;
        let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if plain && digits.len() == len { Ok(digits) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        for number in [0, 1, i64::MAX] {
            assert_eq!(List::Results.number(&List::Results.after_number(number)), Ok(number));
        }
        for text in ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2026-07-01T10:11:12.000013Z"] {
            let at: Timestamp = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            let id = Uuid::from_u128(0xff00_1234);
            assert_eq!(List::Cards.moment(&List::Cards.after_moment(at, id)), Ok((at.get(), id)));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let good = List::Cards.after_moment(Timestamp::EPOCH, Uuid::nil());
        let far = format!("c7fffffffffffffff{}", Uuid::nil().simple());
        let changed = [good.replace('0', "g"), good.to_uppercase(), format!("{good}0"), good.replace('c', "r"), far];
        for text in changed.iter().map(String::as_str).chain(["", "c", "é", "c0", "cäääääääääääääääääääääääää"])
        {
            assert_eq!(List::Cards.moment(text), Err(InvalidCursor), "{text}");
        }
        for text in ["xffffffffffffffff", "x-000000000000001", "x+000000000000001", "t0000000000000001"] {
            assert_eq!(List::Results.number(text), Err(InvalidCursor), "{text}");
        }
    }
}
