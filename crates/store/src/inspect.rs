//! Reading the log as it is stored: streams and their heads, single events, and scans with filters.

use pcs_domain::ids::TenantId;
use pcs_domain::{Category, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;
use crate::rows::{PAGE_BYTES_MAX, StreamRange};
use crate::stored::{StoredEvent, stored_columns};

/// The head of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamHead {
    /// The stream.
    pub stream_id: Uuid,
    /// The number of its category.
    pub category: i16,
    /// Its newest version.
    pub version: i64,
    /// 0 open; others are closed to appends.
    pub state: i16,
    /// The position of its newest event; absent where the event is not in this database.
    pub last_position: Option<i64>,
    /// When its newest event was recorded.
    pub last_recorded_at: Option<Timestamp>,
}

/// Which streams are listed.
#[derive(Clone, Debug, Default)]
pub struct StreamFilter {
    /// Only of this category.
    pub category: Option<Category>,
    /// Only those whose `<category>-<uuid>` is like this, with SQL's `%` and `_`.
    pub like: Option<String>,
    /// Only those after this id.
    pub after: Option<Uuid>,
}

/// Which way a stream is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From old to new.
    Forward,
    /// From new to old.
    Backward,
}

/// Some events in order, and whether there are more in that direction now.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPage {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// Whether the last of them was the last there is; of a stream's newer end, only for now.
    pub is_end: bool,
}

/// Which events of the log are meant; what is absent does not restrict.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of streams of these categories; empty for all.
    pub categories: Vec<Category>,
    /// Only of types with these wire names; empty for all.
    pub types: Vec<String>,
    /// Only of this stream.
    pub stream_id: Option<Uuid>,
    /// Only those recorded at or after this moment.
    pub since: Option<Timestamp>,
}

/// A point of the log's history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// Right after the event at this position.
    Position(i64),
    /// At this time.
    Time(Timestamp),
}

/// What a scan of a range of positions found.
#[derive(Clone, Debug, PartialEq)]
pub struct Scanned {
    /// The events that match, in order.
    pub events: Vec<StoredEvent>,
    /// Everything up to this position has been looked at; the next scan starts here.
    pub position: i64,
}

type HeadRow = (Uuid, i16, i64, i16, Option<i64>, Option<OffsetDateTime>);

impl Store {
    /// Heads of streams in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn streams(
        &self,
        tenant: TenantId,
        filter: &StreamFilter,
        limit: i64,
    ) -> Result<Vec<StreamHead>, StoreError> {
        let (numbers, names): (Vec<i16>, Vec<&str>) =
            Category::ALL.into_iter().map(|category| (category.number(), category.name())).unzip();
        let rows: Vec<HeadRow> = sqlx::query_as(
            "select s.stream_id, s.category, s.version, s.state, e.position, e.recorded_at
             from (
                 select s.* from es.stream s
                 left join unnest($6::smallint[], $7::text[]) c (number, name) on c.number = s.category
                 where s.tenant_id = $1 and ($2::smallint is null or s.category = $2)
                   and ($3::text is null or coalesce(c.name || '-', '') || s.stream_id like $3)
                   and ($4::uuid is null or s.stream_id > $4)
                 order by s.stream_id limit $5
             ) s
             left join es.event e on e.stream_no = s.stream_no and e.position >= s.stream_no and e.version = s.version
             order by s.stream_id",
        )
        .bind(tenant.0)
        .bind(filter.category.map(Category::number))
        .bind(&filter.like)
        .bind(filter.after)
        .bind(limit)
        .bind(numbers)
        .bind(names)
        .fetch_all(self.pool())
        .await?;
        let head = |(stream_id, category, version, state, last_position, at): HeadRow| StreamHead {
            stream_id,
            category,
            version,
            state,
            last_position,
            last_recorded_at: at.map(Timestamp::new),
        };
        Ok(rows.into_iter().map(head).collect())
    }

    /// The head of one stream; none where there is no such stream.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn stream_head(&self, tenant: TenantId, stream_id: Uuid) -> Result<Option<StreamHead>, StoreError> {
        let row: Option<HeadRow> = sqlx::query_as(
            "select s.stream_id, s.category, s.version, s.state, e.position, e.recorded_at
             from es.stream s
             left join es.event e on e.stream_no = s.stream_no and e.position >= s.stream_no and e.version = s.version
             where s.tenant_id = $1 and s.stream_id = $2",
        )
        .bind(tenant.0)
        .bind(stream_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(stream_id, category, version, state, last_position, at)| StreamHead {
            stream_id,
            category,
            version,
            state,
            last_position,
            last_recorded_at: at.map(Timestamp::new),
        }))
    }

    /// A page of a stream from a version on (that version included), at most `limit` events. A version beyond the
    /// stream's end has an empty page, and events once they are there; a stream that does not exist has no page.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn stream_page(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        from_version: i64,
        direction: Direction,
        limit: i64,
    ) -> Result<Option<StoredPage>, StoreError> {
        // One more than wanted tells whether there is more.
        let count = limit.saturating_add(1);
        let after = from_version.saturating_sub(1);
        let range = StreamRange { hidden_too: true, ..StreamRange::after(tenant, stream_id, after, count) };
        let rows = match direction {
            Direction::Forward => self.stream_rows(&range).await?,
            Direction::Backward => {
                let until = self.stream_end(&range).await?.version.min(from_version);
                let after = (until - count).max(0);
                let mut rows = self.stream_rows(&StreamRange { after, until, ..range }).await?;
                rows.reverse();
                rows
            }
        };
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push(self.stored(row).await?);
        }
        if events.is_empty() && self.stream_head(tenant, stream_id).await?.is_none() {
            return Ok(None);
        }
        let wanted = usize::try_from(limit).unwrap_or(0);
        let is_end = events.len() <= wanted;
        events.truncate(wanted);
        Ok(Some(StoredPage { events, is_end }))
    }

    /// The wire names of all types that were ever registered, in their order.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn type_names(&self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar("select distinct name from es.event_type order by name").fetch_all(self.pool()).await?)
    }

    /// The event at a position; none where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn event_at(&self, position: i64) -> Result<Option<StoredEvent>, StoreError> {
        let rows = self.rows_after(position.saturating_sub(1), 1).await?;
        match rows.into_iter().find(|row| row.position == position) {
            Some(row) => self.stored(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The event with an id. No index has it, so this reads the log until the event is found.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn event_with_id(&self, event_id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        let statement = concat!(
            "select ",
            stored_columns!(),
            " from es.event e left join es.event_type t using (type_id) where e.event_id = $1 limit 1"
        );
        match sqlx::query_as(statement).bind(event_id).fetch_optional(self.pool()).await? {
            None => self.archived_with_id(event_id).await,
            found => Ok(found),
        }
    }

    /// Looks at the `window` positions after `after`, but not beyond `to`, and takes what matches: the work of one call
    /// is bounded however rare the matches are.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn scan(&self, selection: &Selection, after: i64, to: i64, window: i64) -> Result<Scanned, StoreError> {
        let position = after.saturating_add(window).min(to).max(after);
        let events = self.matching(selection, (after, position), window).await?;
        let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
        let is_cut = i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX);
        let position = events.last().filter(|_| is_cut).map_or(position, |last| last.position);
        Ok(Scanned { events, position })
    }

    /// Events after a position that match, at most `limit` of them and fewer where they are large; the filter comes
    /// before the limit.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn read_matching(
        &self,
        selection: &Selection,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.matching(selection, (after, i64::MAX), limit).await
    }

    /// Those of them that are in the log.
    pub(crate) async fn matching_live(
        &self,
        selection: &Selection,
        (after, to): (i64, i64),
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let categories: Vec<i16> = selection.categories.iter().map(|category| category.number()).collect();
        let statement = concat!(
            "select ",
            stored_columns!(),
            " from (
                 select m.*, sum(octet_length(payload)) over (order by position) as bytes
                 from (
                     select * from es.event e
                     where e.position > $1 and e.position <= $2 and ($3::int is null or e.tenant_id = $3)
                       and (cardinality($4::smallint[]) = 0 or e.category = any($4))
                       and (cardinality($5::text[]) = 0
                            or e.type_id = any(array(select type_id from es.event_type where name = any($5))))
                       and ($6::uuid is null or e.stream_id = $6)
                       and ($7::timestamptz is null or e.recorded_at >= $7)
                     order by e.position limit $8
                 ) m
             ) e left join es.event_type t using (type_id)
             where e.bytes - octet_length(e.payload) < $9 order by e.position"
        );
        Ok(sqlx::query_as(statement)
            .bind(after)
            .bind(to)
            .bind(selection.tenant.map(|tenant| tenant.0))
            .bind(categories)
            .bind(&selection.types)
            .bind(selection.stream_id)
            .bind(selection.since.map(Timestamp::get))
            .bind(limit)
            .bind(PAGE_BYTES_MAX)
            .fetch_all(self.pool())
            .await?)
    }

    /// The version that a stream had at a moment; 0 where there was no such stream yet.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn version_at(&self, tenant: TenantId, stream_id: Uuid, at: Moment) -> Result<i64, StoreError> {
        let (position, recorded_at) = match at {
            Moment::Position(position) => (position, None),
            Moment::Time(time) => (i64::MAX, Some(time.get())),
        };
        self.version_until(tenant, stream_id, position, recorded_at).await
    }
}
