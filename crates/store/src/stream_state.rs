//! Closing streams: deleted, archived and tombstoned ones take no events, and the log keeps all of theirs.

use pcs_domain::ids::TenantId;
use uuid::Uuid;

use crate::Store;
use crate::error::StoreError;

/// Whether a stream can be read by its id, and written. Readers of the log see its events in any state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i16)]
pub enum StreamState {
    /// It is read and written.
    Open = 0,
    /// It is hidden and takes no events until it is opened again; its version goes on from where it was.
    Deleted = 1,
    /// It is read and takes no events until it is opened again.
    Archived = 2,
    /// It is hidden and takes no events, for ever.
    Tombstoned = 3,
}

impl StreamState {
    const ALL: [Self; 4] = [Self::Open, Self::Deleted, Self::Archived, Self::Tombstoned];

    /// The state with this number in `es.stream`.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i16 == number)
    }
}

impl std::fmt::Display for StreamState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Deleted => "deleted",
            Self::Archived => "archived",
            Self::Tombstoned => "tombstoned",
        })
    }
}

impl Store {
    /// Opens or closes a stream; answers the state before, none where there is no such stream. A tombstoned stream
    /// stays so, whatever is wanted.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn set_stream_state(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        wanted: StreamState,
    ) -> Result<Option<StreamState>, StoreError> {
        let before: Option<i16> = sqlx::query_scalar("select es.set_stream_state($1, $2, $3)")
            .bind(tenant.0)
            .bind(stream_id)
            .bind(wanted as i16)
            .fetch_one(self.pool())
            .await?;
        let Some(number) = before else { return Ok(None) };
        StreamState::from_number(number).map(Some).ok_or(StoreError::UnknownState { stream_id, number })
    }
}
