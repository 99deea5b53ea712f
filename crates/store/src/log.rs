//! What every event store of this crate can do: the one on PostgreSQL, and the one in memory for tests.

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::{Aggregate, EventSet};
use uuid::Uuid;

use crate::Store;
use crate::append::{Append, Appended, Expected};
use crate::chain::Tip;
use crate::error::{AppendError, StoreError};
use crate::read::Loaded;
use crate::recorded::Recorded;
use crate::stream_state::StreamState;

/// What was remembered of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remembered {
    /// The digest of its content.
    pub fingerprint: Option<Uuid>,
    /// The position of its last event.
    pub last_position: i64,
}

/// An append-only log of events in streams. `tests/contract/log_rules.rs` says what every implementation holds.
pub trait EventLog: Send + Sync {
    /// Adds the events of one stream to an append.
    ///
    /// # Errors
    /// Where an event is not of its schema, or the append has the stream already.
    fn write<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        expected: Expected,
        events: &[E],
    ) -> Result<(), StoreError>;

    /// Adds events behind the end of a stream as it was loaded.
    ///
    /// # Errors
    /// As [`EventLog::write`].
    fn write_behind<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        tip: Option<Tip>,
        events: &[E],
    ) -> Result<(), StoreError>;

    /// Commits an append; all of its streams or none.
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Events of a stream after a version, in order, at most `limit`; none of a stream that is hidden.
    fn read_stream(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        after_version: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Recorded>, StoreError>> + Send;

    /// Events after a position, in order, at most `limit`.
    fn read_after(&self, position: i64, limit: i64) -> impl Future<Output = Result<Vec<Recorded>, StoreError>> + Send;

    /// The position of the newest event; 0 where there is none.
    fn head(&self) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Folds a stream into its aggregate, as it was at a version.
    fn load_at<A: Aggregate>(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        version: i64,
    ) -> impl Future<Output = Result<Loaded<A>, StoreError>> + Send;

    /// Opens the sealed fields of a state, for a decision; a log that keeps all in clear has none.
    fn reveal_state<A: Aggregate>(
        &self,
        tenant: TenantId,
        state: &mut A,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _: (TenantId, &mut A) = (tenant, state);
        std::future::ready(Ok(()))
    }

    /// What was remembered of a command; none where it was not executed, or is not remembered.
    fn remembered(
        &self,
        tenant: TenantId,
        command_id: CommandId,
    ) -> impl Future<Output = Result<Option<Remembered>, StoreError>> + Send;

    /// The version that a stream had at a position; 0 where it was not there yet.
    fn version_at(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        position: i64,
    ) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Opens or closes a stream; answers the state before, none where there is no such stream.
    fn set_stream_state(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        wanted: StreamState,
    ) -> impl Future<Output = Result<Option<StreamState>, StoreError>> + Send;
}

impl EventLog for Store {
    fn write<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        expected: Expected,
        events: &[E],
    ) -> Result<(), StoreError> {
        self.write(append, stream_id, expected, events)
    }

    fn write_behind<E: EventSet>(
        &self,
        append: &mut Append,
        stream_id: Uuid,
        tip: Option<Tip>,
        events: &[E],
    ) -> Result<(), StoreError> {
        self.write_behind(append, stream_id, tip, events)
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.append(append).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        after_version: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read_stream(tenant, stream_id, after_version, limit).await
    }

    async fn read_after(&self, position: i64, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.read_after(position, limit).await
    }

    async fn head(&self) -> Result<i64, StoreError> {
        self.head().await
    }

    async fn load_at<A: Aggregate>(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        version: i64,
    ) -> Result<Loaded<A>, StoreError> {
        self.load_at(tenant, stream_id, version).await
    }

    async fn reveal_state<A: Aggregate>(&self, tenant: TenantId, state: &mut A) -> Result<(), StoreError> {
        self.reveal_state(tenant, state).await
    }

    async fn remembered(&self, tenant: TenantId, command_id: CommandId) -> Result<Option<Remembered>, StoreError> {
        let row: Option<(Option<Uuid>, i64)> = sqlx::query_as(
            "select fingerprint, last_position from es.command where tenant_id = $1 and command_id = $2",
        )
        .bind(tenant.0)
        .bind(command_id.0)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|(fingerprint, last_position)| Remembered { fingerprint, last_position }))
    }

    async fn version_at(&self, tenant: TenantId, stream_id: Uuid, position: i64) -> Result<i64, StoreError> {
        self.version_until(tenant, stream_id, position, None).await
    }

    async fn set_stream_state(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        wanted: StreamState,
    ) -> Result<Option<StreamState>, StoreError> {
        self.set_stream_state(tenant, stream_id, wanted).await
    }
}
