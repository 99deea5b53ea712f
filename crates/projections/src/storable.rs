//! Makes any text and number of an event fit the columns of PostgreSQL, and rows fit the size of a statement.
//!
//! Neither `text` nor `jsonb` holds a NUL character, and a model's output may: it becomes U+FFFD here, in every text
//! and JSON that a projection writes. The event keeps what was really said.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

/// The largest number of a measure (milliseconds, tokens, millionths of a dollar) that is kept: a million executions of
/// it still add up within a bigint, so no worker can make a sum overflow and stop the projection.
pub(crate) const MEASURE_MAX: u64 = 1_000_000_000_000;

/// Most bytes of rows in one statement: PostgreSQL refuses messages and jsonb arrays beyond 256 MiB, and 2,000 outputs
/// may be 2 GB.
pub(crate) const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A text without NUL characters.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if memchr::memchr(0, value.as_bytes()).is_some() {
        Cow::Owned(value.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(value)
    }
}

/// The JSON text of a value without NUL characters.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    // An escaped backslash in front of "u0000" looks the same; then the slow way changes nothing.
    if memchr::memmem::find(text.as_bytes(), b"\\u0000").is_none() {
        return Ok(text);
    }
    serde_json::to_string(&without_nul(serde_json::to_value(value)?))
}

fn without_nul(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, item)| (text(&key).into_owned(), without_nul(item))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A measure as a bigint, cut at [`MEASURE_MAX`].
#[expect(clippy::cast_possible_wrap, reason = "MEASURE_MAX is far below i64::MAX")]
pub(crate) fn measure(value: u64) -> i64 {
    value.min(MEASURE_MAX) as i64
}

/// A count as a bigint.
pub(crate) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Rows as JSON arrays, each small enough for one statement; no rows are no statement.
pub(crate) fn json_arrays<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<Vec<String>, serde_json::Error> {
    let mut arrays = Vec::new();
    let mut array = String::new();
    for row in rows {
        let row = json(&row)?;
        if !array.is_empty() && array.len() + row.len() > STATEMENT_BYTES_MAX {
            arrays.push(std::mem::take(&mut array) + "]");
        }
        array.push(if array.is_empty() { '[' } else { ',' });
        array.push_str(&row);
    }
    if !array.is_empty() {
        arrays.push(array + "]");
    }
    Ok(arrays)
}

/// The ends of runs of rows that are small enough for one statement, by the rows' sizes in bytes.
pub(crate) fn statement_ends(bytes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut rows, mut sum) = (0, 0usize);
    for size in bytes {
        if sum > 0 && sum + size > STATEMENT_BYTES_MAX {
            ends.push(rows);
            sum = 0;
        }
        sum += size;
        rows += 1;
    }
    if rows > 0 {
        ends.push(rows);
    }
    ends
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_characters_become_replacement_characters_in_values_and_keys() {
        assert_eq!(text("a\0b"), "a\u{FFFD}b");
        let value = json!({ "k\0": ["x\0", 1, { "y": "\\u0000" }] });
        assert_eq!(json(&value).unwrap(), json!({ "k\u{FFFD}": ["x\u{FFFD}", 1, { "y": "\\u0000" }] }).to_string());
    }

    #[test]
    fn a_measure_never_overflows_a_sum() {
        assert_eq!(measure(7), 7);
        assert!(measure(u64::MAX).checked_mul(1_000_000).is_some());
    }

    #[test]
    fn rows_are_split_by_size_and_none_is_lost() {
        let long = "x".repeat(STATEMENT_BYTES_MAX / 3);
        let arrays = json_arrays([&long, &long, &long, &long]).unwrap();
        let lens: Vec<usize> = arrays.iter().map(|a| serde_json::from_str::<Vec<String>>(a).unwrap().len()).collect();
        assert_eq!(lens, [2, 2]);
        assert!(json_arrays(Vec::<String>::new()).unwrap().is_empty());
    }

    #[test]
    fn a_row_larger_than_a_statement_goes_alone() {
        assert_eq!(statement_ends([1, STATEMENT_BYTES_MAX + 1, 1, 1]), [1, 2, 4]);
        assert!(statement_ends([]).is_empty());
    }
}
