//! Rows of the log as PostgreSQL has them; what is archived is not among them.

use futures_util::TryStreamExt;
use pcs_domain::ids::TenantId;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;

/// Payload of one page of the log, in bytes, above which no further event is added to it.
pub(crate) const PAGE_BYTES_MAX: i64 = 32 * 1024 * 1024;

/// The columns of [`Row`], of `es.event e`, in the order in which it reads them.
macro_rules! row_columns {
    () => {
        "e.position, e.stream_no, e.version, e.recorded_at, e.tenant_id, e.category, e.type_id, e.stream_id, e.event_id,
         e.command_id, e.correlation_id, e.causation_id, e.actor_id, e.hash, e.trace, e.payload"
    };
}

/// A row of `es.event`.
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

impl FromRow<'_, PgRow> for Row {
    /// By place: looking up sixteen names takes longer than reading the values.
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get(0)?,
            stream_no: row.try_get(1)?,
            version: row.try_get(2)?,
            recorded_at: row.try_get(3)?,
            tenant_id: row.try_get(4)?,
            category: row.try_get(5)?,
            type_id: row.try_get(6)?,
            stream_id: row.try_get(7)?,
            event_id: row.try_get(8)?,
            command_id: row.try_get(9)?,
            correlation_id: row.try_get(10)?,
            causation_id: row.try_get(11)?,
            actor_id: row.try_get(12)?,
            hash: row.try_get(13)?,
            trace: row.try_get(14)?,
            payload: row.try_get(15)?,
        })
    }
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
        let statement =
            concat!("select ", row_columns!(), " from es.event e where e.position > $1 order by e.position limit $2");
        self.page_of(sqlx::query(statement).bind(position).bind(limit)).await
    }

    /// The wanted events after a position and up to another that are in the log, in order, and the position up to which
    /// they were looked for: less where they are large.
    pub(crate) async fn live_wanted(
        &self,
        wanted: &Wanted,
        position: i64,
        up_to: i64,
    ) -> Result<(Vec<Row>, i64), StoreError> {
        let statement = concat!(
            "select ",
            row_columns!(),
            " from es.event e
             where e.position > $1 and e.position <= $2 and e.category = any($3) and e.type_id <> all($4)
             order by e.position"
        );
        let query = sqlx::query(statement).bind(position).bind(up_to);
        let rows = self.page_of(query.bind(&wanted.categories).bind(&wanted.ignored)).await?;
        let bytes: usize = rows.iter().map(|row| row.payload.len()).sum();
        let is_cut = i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX);
        let looked_at = rows.last().filter(|_| is_cut).map_or(up_to, |last| last.position);
        Ok((rows, looked_at))
    }

    /// Rows as they come, up to the one with which they are a page.
    async fn page_of(&self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.pool().acquire().await?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let row = Row::from_row(&row)?;
            bytes += row.payload.len();
            page.push(row);
            if i64::try_from(bytes).is_ok_and(|bytes| bytes >= PAGE_BYTES_MAX) {
                drop(rows);
                // Whoever had the connection next would first have to take all that is still on its way.
                connection.close_on_drop();
                break;
            }
        }
        Ok(page)
    }

    /// Events of a stream that are in the log, in order, and where the stream ends.
    pub(crate) async fn live_stream(&self, range: &StreamRange) -> Result<(Vec<Row>, StreamEnd), StoreError> {
        let rows: Vec<StreamRow> = sqlx::query_as(concat!(
            "select ",
            row_columns!(),
            ", s.version as head
             from es.stream s join es.event e on e.stream_no = s.stream_no and e.position >= s.stream_no
             where s.tenant_id = $1 and s.stream_id = $2 and (s.state in (0, 2) or $6)
               and e.version > $3 and e.version <= $4 and s.version <= $7
             order by e.version limit $5"
        ))
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
