//! Rows of the log as PostgreSQL has them; what is archived is not among them.

use pcs_domain::ids::TenantId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;

/// Payload of one page of the log, in bytes, above which no further event is added to it.
pub(crate) const PAGE_BYTES_MAX: i64 = 32 * 1024 * 1024;

/// A row of `es.event`.
#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) position: i64,
    pub(crate) stream_no: i64,
    pub(crate) version: i64,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) tenant_id: i32,
    pub(crate) category: i16,
    pub(crate) type_id: i16,
    pub(crate) stream_id: Uuid,
    pub(crate) event_id: Uuid,
    pub(crate) command_id: Uuid,
    pub(crate) correlation_id: Option<Uuid>,
    pub(crate) causation_id: Option<Uuid>,
    pub(crate) actor_id: Option<Uuid>,
    pub(crate) hash: Vec<u8>,
    pub(crate) trace: Option<String>,
    pub(crate) payload: String,
}

/// Which events of a stream are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamRange {
    pub(crate) tenant: TenantId,
    pub(crate) stream_id: Uuid,
    /// Those after this version.
    pub(crate) after: i64,
    /// Those up to this version.
    pub(crate) until: i64,
    /// At most so many.
    pub(crate) limit: i64,
    /// Also those of a stream that is hidden.
    pub(crate) hidden_too: bool,
    /// None at all of a stream that has more events than this.
    pub(crate) longest: i64,
}

impl StreamRange {
    /// Events of a stream after a version, unless it is hidden.
    pub(crate) fn after(tenant: TenantId, stream_id: Uuid, after: i64, limit: i64) -> Self {
        Self { tenant, stream_id, after, until: i64::MAX, limit, hidden_too: false, longest: i64::MAX }
    }
}

/// Which events of the log are wanted, by the numbers of their categories and types.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) categories: Vec<i16>,
    pub(crate) ignored: Vec<i16>,
}

impl Wanted {
    pub(crate) fn has(&self, row: &Row) -> bool {
        self.categories.contains(&row.category) && !self.ignored.contains(&row.type_id)
    }
}

/// The end of a stream that can be read.
#[derive(Clone, Copy, Debug, Default, sqlx::FromRow)]
pub(crate) struct StreamEnd {
    pub(crate) stream_no: i64,
    /// 0 where there is no such stream, or where it is hidden.
    pub(crate) version: i64,
}

#[derive(sqlx::FromRow)]
struct StreamRow {
    #[sqlx(flatten)]
    row: Row,
    head: i64,
}

impl Store {
    /// Events after a position that are in the log, in order, at most `limit`, and fewer where they are large.
    pub(crate) async fn live_after(&self, position: i64, limit: i64) -> Result<Vec<Row>, StoreError> {
        Ok(sqlx::query_as(
            "select position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id, event_id,
                    command_id, correlation_id, causation_id, actor_id, hash, trace, payload
             from (
                 select *, sum(octet_length(payload)) over (order by position) as bytes
                 from (select * from es.event where position > $1 order by position limit $2) page
             ) page
             where bytes - octet_length(payload) < $3 order by position",
        )
        .bind(position)
        .bind(limit)
        .bind(PAGE_BYTES_MAX)
        .fetch_all(self.pool())
        .await?)
    }

    /// The wanted events after a position and up to another that are in the log, in order, and the position up to which
    /// they were looked for: less where they are large.
    pub(crate) async fn live_wanted(
        &self,
        wanted: &Wanted,
        position: i64,
        up_to: i64,
    ) -> Result<(Vec<Row>, i64), StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select position, stream_no, version, recorded_at, tenant_id, category, type_id, stream_id, event_id,
                    command_id, correlation_id, causation_id, actor_id, hash, trace, payload
             from (
                 select *, sum(octet_length(payload)) over (order by position) as bytes
                 from es.event
                 where position > $1 and position <= $2 and category = any($3) and type_id <> all($4)
             ) page
             where bytes - octet_length(payload) < $5 order by position",
        )
        .bind(position)
        .bind(up_to)
        .bind(&wanted.categories)
        .bind(&wanted.ignored)
        .bind(PAGE_BYTES_MAX)
        .fetch_all(self.pool())
        .await?;
        let bytes: usize = rows.iter().map(|row| row.payload.len()).sum();
        let is_cut = i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX);
        let looked_at = rows.last().filter(|_| is_cut).map_or(up_to, |last| last.position);
        Ok((rows, looked_at))
    }

    /// Events of a stream that are in the log, in order, and where the stream ends.
    pub(crate) async fn live_stream(&self, range: &StreamRange) -> Result<(Vec<Row>, StreamEnd), StoreError> {
        let rows: Vec<StreamRow> = sqlx::query_as(
            "select e.position, e.stream_no, e.version, e.recorded_at, e.tenant_id, e.category, e.type_id, e.stream_id,
                    e.event_id, e.command_id, e.correlation_id, e.causation_id, e.actor_id, e.hash, e.trace, e.payload,
                    s.version as head
             from es.stream s join es.event e on e.stream_no = s.stream_no and e.position >= s.stream_no
             where s.tenant_id = $1 and s.stream_id = $2 and (s.state in (0, 2) or $6)
               and e.version > $3 and e.version <= $4 and s.version <= $7
             order by e.version limit $5",
        )
        .bind(range.tenant.0)
        .bind(range.stream_id)
        .bind(range.after)
        .bind(range.until)
        .bind(range.limit)
        .bind(range.hidden_too)
        .bind(range.longest)
        .fetch_all(self.pool())
        .await?;
        let end = match rows.first() {
            Some(first) => StreamEnd { stream_no: first.row.stream_no, version: first.head },
            None => self.stream_end(range).await?,
        };
        Ok((rows.into_iter().map(|row| row.row).collect(), end))
    }

    pub(crate) async fn stream_end(&self, range: &StreamRange) -> Result<StreamEnd, StoreError> {
        let end = sqlx::query_as(
            "select stream_no, version from es.stream
             where tenant_id = $1 and stream_id = $2 and (state in (0, 2) or $3)",
        )
        .bind(range.tenant.0)
        .bind(range.stream_id)
        .bind(range.hidden_too)
        .fetch_optional(self.pool())
        .await?;
        Ok(end.unwrap_or_default())
    }
}
