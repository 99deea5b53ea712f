//! One page of a list, as the API returns it.

use serde::Serialize;

/// Most rows of a page, whatever the caller asks for.
pub const PAGE_LEN_MAX: i64 = 1_000;

/// Rows of a list and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next_cursor: Option<String>,
}

/// The length of a page that a caller may have.
pub(crate) fn len(limit: i64) -> i64 {
    limit.clamp(1, PAGE_LEN_MAX)
}

impl<T> Page<T> {
    /// Makes a page of `limit` rows out of one row more, if there is one: only that row tells of a next page.
    pub(crate) fn new(mut rows: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Self {
        let len = usize::try_from(self::len(limit)).unwrap_or(usize::MAX);
        let more = rows.len() > len;
        rows.truncate(len);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self { items: rows, next_cursor }
    }

    pub(crate) fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_too_many_tells_of_a_next_page() {
        let full = Page::new(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((full.items, full.next_cursor), (vec![1, 2], Some("2".to_owned())));
        assert_eq!(Page::new(vec![1, 2], 2, ToString::to_string).next_cursor, None);
        assert_eq!(Page::new(Vec::<i32>::new(), 2, ToString::to_string).next_cursor, None);
    }
}
