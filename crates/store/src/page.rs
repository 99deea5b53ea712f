//! Pages of the log for readers that want some categories only, and that must get past an event that can't be read.

use std::time::Duration;

use pcs_domain::{Category, EventType};
use uuid::Uuid;

use crate::error::StoreError;
use crate::read::decode;
use crate::recorded::Recorded;
use crate::rows::{Row, Wanted};
use crate::{Store, diagnosis};

/// Which events a reader is subscribed to.
#[derive(Clone, Copy, Debug)]
pub struct Subscribed {
    /// The categories. A type that this build does not know is an error in one of these, and passed over elsewhere.
    pub categories: &'static [Category],
    /// Known types of these categories that are passed over all the same.
    pub ignored: &'static [EventType],
}

/// A stretch of the log as one reader sees it.
#[derive(Debug, Default)]
pub struct LogPage {
    /// The events that can be read, in the order of their positions.
    pub events: Vec<Recorded>,
    /// Those that can't, in the order of their positions.
    pub unreadable: Vec<Unreadable>,
    /// Everything up to here is in the page, or is not subscribed to.
    pub up_to: i64,
    /// Whether it is as long as it may be: then there is probably more.
    pub full: bool,
}

/// An event that this build can't read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its position.
    pub position: i64,
    /// The tenant's number.
    pub tenant_id: i32,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its version in the stream.
    pub version: i64,
    /// Its type as it is stored, with its version.
    pub event_type: String,
    /// Why it can't be read.
    pub error: StoreError,
}

impl Store {
    /// The subscribed events of the next `limit` positions after `position`; fewer positions where events are large.
    ///
    /// # Errors
    /// Where the database does not answer. An event that can't be read is no error of the page.
    pub async fn read_page(&self, position: i64, limit: i64, to: &Subscribed) -> Result<LogPage, StoreError> {
        let head = self.head().await?;
        let up_to = position.saturating_add(limit).min(head);
        if up_to <= position {
            return Ok(LogPage { up_to: position, ..LogPage::default() });
        }
        let ignored = self.inner.types.ids_of(to.ignored);
        let wanted = Wanted { categories: to.categories.iter().map(|category| category.number()).collect(), ignored };
        // Positions have no gaps, so a stretch of them is a page, however few of its events are wanted. Head first: what
        // is committed after it is beyond the stretch.
        let (rows, looked_at) = self.wanted_rows(&wanted, position, up_to).await?;
        let full = looked_at < up_to || up_to - position >= limit;
        let up_to = looked_at;
        self.decode_leniently(rows, LogPage { up_to, full, ..LogPage::default() }, to.categories).await
    }

    async fn decode_leniently(
        &self,
        rows: Vec<Row>,
        mut page: LogPage,
        subscribed: &[Category],
    ) -> Result<LogPage, StoreError> {
        page.events.reserve(rows.len());
        for row in rows {
            let (position, tenant_id, stream_id, version) = (row.position, row.tenant_id, row.stream_id, row.version);
            let name = self.type_name(position, row.type_id).await;
            let event_type = name.as_ref().ok().cloned();
            let error = match name.and_then(|name| decode(row, name, subscribed)) {
                Ok(recorded) => {
                    page.events.push(recorded);
                    continue;
                }
                Err(error @ (StoreError::Decode { .. } | StoreError::Unknown { .. })) => error,
                Err(error) => return Err(error),
            };
            let event_type =
                event_type.map_or_else(|| "unknown".to_owned(), |(name, version)| format!("{name}.v{version}"));
            page.unreadable.push(Unreadable { position, tenant_id, stream_id, version, event_type, error });
        }
        Ok(page)
    }

    /// How long ago the first event after `position` was recorded, by the database's clock; none where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn waiting_since(&self, position: i64) -> Result<Option<Duration>, StoreError> {
        let seconds = diagnosis::waiting_seconds(self.pool(), position).await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)))
    }
}
