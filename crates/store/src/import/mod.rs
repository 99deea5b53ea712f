//! Importing an exported log: everything is checked before anything is visible, and all of it or nothing.
//!
//! The lines go into a temporary table by COPY while they are checked one by one; what only the whole can show is
//! checked there; then they become rows of the log. All of it is one transaction under the lock of `es.head`, so that
//! appends wait and then go on behind the imported events.

mod chain;
mod lines;
mod staging;

use sqlx::PgConnection;
use tokio::io::AsyncBufRead;

use self::chain::Chain;
use self::lines::Lines;
use crate::Store;
use crate::error::StoreError;
use crate::transfer::Header;

/// What an import brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Imported {
    /// How many events.
    pub events: u64,
    /// The position of the first.
    pub from: i64,
    /// The position of the last.
    pub to: i64,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is not as it should be.
    #[error("line {line}: {message}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// The file does not begin where the log ends.
    #[error(
        "the log ends at position {head}, and the file begins at {from}: a file can be imported into an empty log, or \
         into one that ends right before it; nothing was imported"
    )]
    Position {
        /// The log's newest position.
        head: i64,
        /// The file's first position.
        from: i64,
    },
    /// The file goes on with another log than this one.
    #[error("the file continues another log than this one; nothing was imported")]
    OtherLog,
    /// The file can't be read.
    #[error("the file can't be read: {0}; nothing was imported")]
    Read(#[from] std::io::Error),
    /// The database did not do its part.
    #[error("{0}; nothing was imported")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn fault(line: u64, message: impl Into<String>) -> ImportError {
    ImportError::Line { line, message: message.into() }
}

/// The line of an event, given the position of the first one: the header is line 1, and positions have no gaps.
fn line_of(position: i64, header: &Header) -> u64 {
    u64::try_from(position - header.from).unwrap_or(0) + 2
}

impl Store {
    /// Imports an exported log with its positions, ids, versions, times and payloads as they are. `progress` is told
    /// how many events have been read, and how many there are.
    ///
    /// # Errors
    /// [`ImportError`]; nothing has changed then.
    pub async fn import(
        &self,
        source: impl AsyncBufRead + Send + Unpin,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Imported, ImportError> {
        let mut lines = Lines::new(source);
        let header = lines.header().await?;
        let mut transaction = self.pool().begin().await?;
        let connection = &mut *transaction;
        // From here on appends wait; what they find afterwards is the imported log.
        let (head, seal): (i64, Vec<u8>) =
            sqlx::query_as("select position, seal from es.head for update").fetch_one(&mut *connection).await?;
        self.fits(connection, &header, head).await?;
        let mut chain = Chain::behind(&seal, header.from);
        let types = staging::register_types(connection, &header).await?;
        staging::create(connection).await?;
        let total = u64::try_from(header.to - header.from + 1).unwrap_or(0);
        let events = staging::copy(connection, &mut lines, (&types, &mut chain), total, progress).await?;
        staging::check(connection, &header).await?;
        staging::publish(connection, &header, lines.closed()).await?;
        transaction.commit().await?;
        self.inner.types.refresh(self.pool()).await?;
        Ok(Imported { events, from: header.from, to: header.to })
    }

    /// Whether the file begins right behind what is here.
    async fn fits(&self, connection: &mut PgConnection, header: &Header, head: i64) -> Result<(), ImportError> {
        if header.from != head + 1 {
            return Err(ImportError::Position { head, from: header.from });
        }
        let log_id: Option<uuid::Uuid> =
            sqlx::query_scalar("select event_id from es.event where position = 1").fetch_optional(connection).await?;
        if log_id.is_some() && log_id != header.log_id {
            return Err(ImportError::OtherLog);
        }
        Ok(())
    }
}
