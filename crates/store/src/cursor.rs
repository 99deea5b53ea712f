//! Cursors for the outside: opaque text that is bound to one log, so that a copy of it can't be mistaken for it.

use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;

/// The first version of the text; another layout gets another one.
const PREFIX: &str = "pcs1-";
const STORE_DIGITS: usize = 32;
const EPOCH_DIGITS: usize = 8;
const POSITION_DIGITS: usize = 16;

/// Which log this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Given at the first migration.
    pub store_id: Uuid,
    /// Counts the times that a copy went its own way; from 1.
    pub epoch: i32,
}

/// A cursor that can't be used on this log. Going on from its position could skip or repeat events.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Not a cursor of this program, or not of this version.
    #[error("the cursor can't be read; take one as it was given out")]
    Malformed,
    /// Of another log.
    #[error("the cursor is of the store {cursor}, and this is {store}")]
    ForeignStore {
        /// The cursor's store.
        cursor: Uuid,
        /// This store.
        store: Uuid,
    },
    /// Of this log before it went its own way, such as before a restore.
    #[error(
        "the cursor is of epoch {cursor}, and this is epoch {store} of the same store: begin again from a position"
    )]
    ForeignEpoch {
        /// The cursor's epoch.
        cursor: i32,
        /// This store's epoch.
        store: i32,
    },
    /// After the end of the log: the log was set back without a new epoch.
    #[error("the cursor is at {position}, and the log ends at {head}: it was set back; give it a new epoch")]
    AfterEnd {
        /// The cursor's position.
        position: i64,
        /// The position of the newest event.
        head: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Identity {
    fn encode(self, position: i64) -> String {
        format!("{PREFIX}{}{:08x}{position:016x}", self.store_id.simple(), self.epoch)
    }
}

fn parse(cursor: &str) -> Option<(Identity, i64)> {
    let digits = cursor.strip_prefix(PREFIX)?;
    let canonical = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if digits.len() != STORE_DIGITS + EPOCH_DIGITS + POSITION_DIGITS || !digits.chars().all(canonical) {
        return None;
    }
    let (store, rest) = digits.split_at(STORE_DIGITS);
    let (epoch, position) = rest.split_at(EPOCH_DIGITS);
    let store_id = Uuid::try_parse(store).ok()?;
    let epoch = i32::from_str_radix(epoch, 16).ok()?;
    let position = i64::from_str_radix(position, 16).ok()?;
    Some((Identity { store_id, epoch }, position))
}

impl Store {
    /// Which log this is.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn identity(&self) -> Result<Identity, StoreError> {
        let (store_id, epoch) =
            sqlx::query_as("select store_id, epoch from es.identity").fetch_one(self.pool()).await?;
        Ok(Identity { store_id, epoch })
    }

    /// Makes this log another one than its copies: cursors that were given out before are refused from now on. To be
    /// called on a copy that goes its own way, such as one that was restored from a backup.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn new_epoch(&self) -> Result<Identity, StoreError> {
        let (store_id, epoch) = sqlx::query_as("update es.identity set epoch = epoch + 1 returning store_id, epoch")
            .fetch_one(self.pool())
            .await?;
        Ok(Identity { store_id, epoch })
    }

    /// The cursor of a position, to be given to others.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn cursor(&self, position: i64) -> Result<String, StoreError> {
        Ok(self.identity().await?.encode(position))
    }

    /// The position of a cursor of this log.
    ///
    /// # Errors
    /// [`CursorError`] for a cursor that could skip or repeat events here.
    pub async fn position_of(&self, cursor: &str) -> Result<i64, CursorError> {
        let (identity, position) = parse(cursor).ok_or(CursorError::Malformed)?;
        let (store_id, epoch, head): (Uuid, i32, i64) =
            sqlx::query_as("select store_id, epoch, head.position from es.identity, es.head")
                .fetch_one(self.pool())
                .await
                .map_err(StoreError::from)?;
        if identity.store_id != store_id {
            return Err(CursorError::ForeignStore { cursor: identity.store_id, store: store_id });
        }
        if identity.epoch != epoch {
            return Err(CursorError::ForeignEpoch { cursor: identity.epoch, store: epoch });
        }
        if position > head {
            return Err(CursorError::AfterEnd { position, head });
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let identity = Identity { store_id: Uuid::from_u128(7), epoch: 3 };
        for position in [0, 1, i64::MAX] {
            assert_eq!(parse(&identity.encode(position)), Some((identity, position)));
        }
        let good = identity.encode(5);
        for bad in ["", "5", "pcs1-", &good[1..], &good.to_uppercase(), &format!("{good}0"), &good.replace('1', "2")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let negative = format!("{PREFIX}{}00000001ffffffffffffffff", Uuid::nil().simple());
        assert_eq!(parse(&negative), None, "there is no position below zero");
    }
}
