//! Read models as they were at a position: folded anew, by the projections themselves, into tables of one transaction.
//!
//! The answer of then comes from the same fold and the same queries as the answer of now. What the past needs beside
//! them are the streams that belong to a question: a card's own, a run's own. Lists take their candidates, and runs
//! their results, from the living read models: ids, orders and results never change, so the caller waits until these
//! models have come to the position. Temporary tables vanish with the transaction, which is never committed.

mod cards;
mod runs;

use std::time::Duration;

use pcs_domain::ids::TenantId;
use pcs_store::{Recorded, Store};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use uuid::Uuid;

pub use self::cards::{card, cards, cases, version, versions};
pub use self::runs::{execution, results, run, runs};
use crate::reader::Reader;
use crate::{Projection, ProjectionError, ReadError};

/// Longest time for one statement of such a read.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Events of a stream that are read at once.
const STREAM_PAGE_LEN: i64 = 500;
/// Events that are folded at once, at least: many short streams share one statement.
const FOLD_LEN: usize = 1_000;
/// Candidates of a list that are folded for one page, at most; the page is then shorter, and says where to go on.
const CANDIDATES_MAX: usize = 2_000;
/// Candidates that are folded at once, after the first ones did not fill the page.
const ROUND_LEN: i64 = 500;
/// What PostgreSQL calls a statement that took too long.
const QUERY_CANCELED: &str = "57014";

/// The past could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// A read model could not be read, or a cursor is not one.
    #[error(transparent)]
    Read(ReadError),
    /// The events could not be folded.
    #[error(transparent)]
    Fold(ProjectionError),
    /// There is too much to fold or to count.
    #[error("it takes too long to fold so much of the past; ask for fewer items")]
    TooMuch,
}

fn took_too_long(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == QUERY_CANCELED)
}

impl From<ReadError> for PastError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) if took_too_long(&error) => Self::TooMuch,
            error => Self::Read(error),
        }
    }
}

impl From<ProjectionError> for PastError {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::Database(error) if took_too_long(&error) => Self::TooMuch,
            error => Self::Fold(error),
        }
    }
}

impl From<sqlx::Error> for PastError {
    fn from(error: sqlx::Error) -> Self {
        ReadError::from(error).into()
    }
}

impl From<pcs_store::StoreError> for PastError {
    fn from(error: pcs_store::StoreError) -> Self {
        ProjectionError::from(error).into()
    }
}

/// A moment of the past of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'s> {
    /// The log.
    pub store: &'s Store,
    /// The tenant.
    pub tenant: TenantId,
    /// The position that the log's head was at.
    pub position: i64,
}

/// Tables of the past, in a transaction that holds nothing else.
struct Past<'s> {
    moment: Moment<'s>,
    transaction: Transaction<'static, Postgres>,
    waiting: Vec<Recorded>,
}

impl<'s> Past<'s> {
    /// Opens empty tables of some projections.
    async fn open(moment: Moment<'s>, projections: &[&dyn Projection]) -> Result<Self, sqlx::Error> {
        let mut transaction = moment.store.pool().begin().await?;
        sqlx::query(
            "select set_config('search_path', 'pg_temp, read', true), set_config('statement_timeout', $1, true)",
        )
        .bind(STATEMENT_TIMEOUT.as_millis().to_string())
        .execute(&mut *transaction)
        .await?;
        let mut statements = String::new();
        for table in projections.iter().flat_map(|projection| projection.tables()) {
            // The names are constants of this crate.
            statements += &format!("create temp table {table} (like read.{table} including all) on commit drop;");
        }
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *transaction).await?;
        Ok(Self { moment, transaction, waiting: Vec::new() })
    }

    fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    fn reader(&mut self) -> Reader<&mut PgConnection> {
        Reader::folded(&mut self.transaction, self.moment.position)
    }

    /// Folds what a stream held at the position; some of it may wait for [`Past::settle`]. The events come over another
    /// connection: the server allows few reads of the past at once, so these can't take them all.
    async fn fold(&mut self, projection: &dyn Projection, stream_id: Uuid) -> Result<(), PastError> {
        let Moment { store, tenant, position } = self.moment;
        let mut after = 0;
        loop {
            let page = store.read_stream(tenant, stream_id, after, STREAM_PAGE_LEN).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let is_last = last.position > position || last.version - after < STREAM_PAGE_LEN;
            after = last.version;
            self.waiting.extend(page.into_iter().filter(|recorded| recorded.position <= position));
            if self.waiting.len() >= FOLD_LEN {
                self.settle(projection).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Writes what waits, in the order of the log.
    async fn settle(&mut self, projection: &dyn Projection) -> Result<(), PastError> {
        let mut batch = std::mem::take(&mut self.waiting);
        batch.sort_unstable_by_key(|recorded| recorded.position);
        if !batch.is_empty() {
            projection.apply(&mut self.transaction, &batch).await?;
        }
        Ok(())
    }

    /// Folds one stream.
    async fn fold_all(&mut self, projection: &dyn Projection, stream_id: Uuid) -> Result<(), PastError> {
        self.fold(projection, stream_id).await?;
        self.settle(projection).await
    }
}
