//! Commits batches over a connection of its own: as they are, or judged command by command.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use super::commit::{self, Session};
use super::judge;
use crate::append::{Append, Appended};
use crate::error::{AppendError, StoreError};

/// Longest time for one batch; a frozen database must not hold callers for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How many batches are judged at once after one was not as expected: while streams are contended, a first try is lost.
const JUDGED_AFTER_SURPRISE: u8 = 8;

/// One outcome per command, in the batch's order.
pub(super) type Outcomes = Vec<Result<Appended, AppendError>>;

/// A way into the log, for one batch at a time.
pub(super) struct Committer {
    session: Session,
    judged_next: u8,
}

impl Committer {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { session: Session::new(options), judged_next: 0 }
    }

    /// Commits the commands together. After an error, and where this future is dropped, what became of them is
    /// unknown, and the next batch gets a fresh connection.
    pub(super) async fn settle(&mut self, batch: &[&Append]) -> Result<Outcomes, StoreError> {
        let settled = tokio::time::timeout(BATCH_TIMEOUT, self.settle_in_time(batch)).await;
        settled.unwrap_or_else(|_| Err(StoreError::Unknowable("the database took too long".to_owned())))
    }

    async fn settle_in_time(&mut self, batch: &[&Append]) -> Result<Outcomes, StoreError> {
        let plain = self.judged_next == 0 && batch.iter().all(|append| append.is_placed());
        self.judged_next = self.judged_next.saturating_sub(1);
        let mut connection = self.session.take().await?;
        let outcomes = match as_it_is(&mut connection, batch, plain).await? {
            Some(outcomes) => outcomes,
            None => {
                if plain {
                    self.judged_next = JUDGED_AFTER_SURPRISE;
                }
                judge::one_by_one(&mut connection, batch).await?
            }
        };
        self.session.keep(connection);
        Ok(outcomes)
    }
}

/// Nothing where the batch is not plain, or something was in its way.
async fn as_it_is(
    connection: &mut PgConnection,
    batch: &[&Append],
    plain: bool,
) -> Result<Option<Outcomes>, StoreError> {
    if !plain {
        return Ok(None);
    }
    let all = commit::as_it_is(connection, batch).await?;
    Ok(all.map(|all| all.into_iter().map(Ok).collect()))
}
