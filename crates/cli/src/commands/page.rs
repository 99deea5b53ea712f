//! Reads a list page by page, up to as many things as are wanted.

use super::output::Output;
use crate::client::error::ApiError;
use crate::client::wire::Page;

/// Longest page of most lists.
pub const PAGE_LEN_MAX: usize = 200;
/// Longest page of results.
pub const RESULTS_PAGE_LEN_MAX: usize = 1_000;

/// Reads up to `limit` things in pages of at most `page_len_max`.
pub async fn collect<T>(
    limit: usize,
    page_len_max: usize,
    mut fetch: impl AsyncFnMut(usize, Option<&str>) -> Result<Page<T>, ApiError>,
) -> Result<Page<T>, ApiError> {
    let mut all = Page { items: Vec::new(), next_cursor: None };
    loop {
        let wanted = (limit - all.items.len()).min(page_len_max);
        let page = fetch(wanted, all.next_cursor.as_deref()).await?;
        let came = page.items.len();
        all.items.extend(page.items);
        all.next_cursor = page.next_cursor;
        // An empty page with a cursor would otherwise be asked for, for ever.
        if all.next_cursor.is_none() || all.items.len() >= limit || came == 0 {
            all.items.truncate(limit);
            return Ok(all);
        }
    }
}

impl<T> Page<T> {
    /// Says that the list goes on.
    pub(crate) fn tell_of_more(&self, output: &mut Output) {
        if self.next_cursor.is_some() {
            output.note("there are more; a larger --limit shows them");
        }
    }
}
