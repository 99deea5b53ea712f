//! Reading the log: by stream, by position, and as an aggregate's state.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::ids::{ActorId, CommandId, SubjectId, TenantId};
use pcs_domain::{Aggregate, Category, DomainEvent, EventSet, Timestamp, Unread};
use uuid::Uuid;

use crate::Store;
use crate::chain::Tip;
use crate::error::StoreError;
use crate::privacy::sealed_for;
use crate::recorded::{Record, Recorded};
use crate::rows::{Row, StreamRange};
use crate::snapshot::SHORT_STREAM_EVENTS_MAX;
use crate::tail::Entry;
use crate::types::TypeName;

/// Events of a stream that are read at once while an aggregate is loaded.
const STREAM_PAGE_LEN: i64 = 500;

/// An aggregate's state and the version of its stream.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// The state; the default where there is no stream.
    pub state: A,
    /// The stream's version; 0 where there is none.
    pub revision: i64,
    /// The end of the stream at that version; none where there is no stream, or where it is hidden.
    pub tip: Option<Tip>,
}

impl<A: Default> Default for Loaded<A> {
    fn default() -> Self {
        Self { state: A::default(), revision: 0, tip: None }
    }
}

impl Store {
    /// Events of a stream after a version, in order, at most `limit`; none of a stream that is deleted or tombstoned.
    ///
    /// # Errors
    /// Where the database does not answer or an event can't be read.
    pub async fn read_stream(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        after_version: i64,
        limit: i64,
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.stream_rows(&StreamRange::after(tenant, stream_id, after_version, limit)).await?;
        self.decode(rows, &Category::ALL).await
    }

    /// Events after a position, in the order of their commits, at most `limit`, and fewer where they are large.
    ///
    /// # Errors
    /// Where the database does not answer or an event can't be read.
    pub async fn read_after(&self, position: i64, limit: i64) -> Result<Vec<Recorded>, StoreError> {
        self.read_subscribed(position, limit, &Category::ALL).await
    }

    /// As [`Self::read_after`], for a reader that needs some categories only: an event of another category that this
    /// build can't read comes as [`DomainEvent::Unread`] and is counted ([`Self::passed_by`]).
    ///
    /// So a new type of event stops nobody whom it does not concern: readers are deployed first, then writers. The page
    /// is as long as without the events that are passed by, for its last position is the next cursor.
    ///
    /// # Errors
    /// Where the database does not answer, an event of a subscribed category can't be read, or an event's category is
    /// not known at all, so that nobody can say whom it concerns.
    pub async fn read_subscribed(
        &self,
        position: i64,
        limit: i64,
        subscribed: &[Category],
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows = self.rows_after(position, limit).await?;
        self.note_shredded(&rows);
        self.decode(rows, subscribed).await
    }

    /// The same rows for followers that want different ones: what can't be read is an entry like any other.
    pub(crate) async fn entries_after(&self, position: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
        let rows = self.rows_after(position, limit).await?;
        self.note_shredded(&rows);
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let name = match self.type_name(row.position, row.type_id).await {
                Ok(name) => Some(name),
                Err(StoreError::Unknown { .. }) => None,
                Err(error) => return Err(error),
            };
            entries.push(entry(row, name));
        }
        Ok(entries)
    }

    /// Whoever tails the log need not wait until the kept key of a shredded subject is old.
    fn note_shredded(&self, rows: &[Row]) {
        for row in rows.iter().filter(|row| row.category == Category::DataSubject.number()) {
            self.inner.keys.forget(TenantId(row.tenant_id), SubjectId(row.stream_id));
        }
    }

    /// The position of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn head(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("select position from es.head").fetch_one(self.pool()).await?)
    }

    /// Folds a stream into its aggregate.
    ///
    /// # Errors
    /// Where the database does not answer or an event can't be read.
    pub async fn load<A: Aggregate>(&self, tenant: TenantId, stream_id: Uuid) -> Result<Loaded<A>, StoreError> {
        self.load_at(tenant, stream_id, i64::MAX).await
    }

    /// Folds a stream into its aggregate, as it was at a version.
    ///
    /// # Errors
    /// Where the database does not answer or an event can't be read.
    pub async fn load_at<A: Aggregate>(
        &self,
        tenant: TenantId,
        stream_id: Uuid,
        version: i64,
    ) -> Result<Loaded<A>, StoreError> {
        let mut loaded = Loaded::<A>::default();
        let mut snapshot_version = 0;
        // A short stream is read at once; only of a long one it pays to ask for a snapshot first.
        let mut longest = if A::SNAPSHOT.is_some() { SHORT_STREAM_EVENTS_MAX } else { i64::MAX };
        loop {
            let after = StreamRange::after(tenant, stream_id, loaded.revision, STREAM_PAGE_LEN);
            let rows = self.stream_rows(&StreamRange { until: version, longest, ..after }).await?;
            if let Some(format) = A::SNAPSHOT.filter(|_| rows.is_empty() && longest < i64::MAX) {
                longest = i64::MAX;
                if let Some(snapshot) = self.snapshot(&format, (tenant, stream_id), version).await? {
                    snapshot_version = snapshot.revision;
                    loaded = snapshot;
                }
                continue;
            }
            let last_page = rows.len() < usize::try_from(STREAM_PAGE_LEN).unwrap_or(usize::MAX);
            for Row { position, stream_no, version, type_id, hash, payload, .. } in rows {
                let (name, schema_version) = self.type_name(position, type_id).await?;
                let event = A::Event::decode(&name, schema_version, &payload).map_err(|source| StoreError::Decode {
                    position,
                    stream_id,
                    version,
                    source,
                })?;
                loaded.state.evolve(event);
                loaded.revision = version;
                let damaged = |hash: Vec<u8>| StoreError::Damaged {
                    stream_id,
                    what: format!("event {position} has a hash of {} bytes instead of 32", hash.len()),
                };
                loaded.tip = Some(Tip { stream_no, version, hash: hash.try_into().map_err(damaged)? });
            }
            if last_page {
                self.offer_snapshot((tenant, stream_id), &loaded, snapshot_version);
                return Ok(loaded);
            }
        }
    }

    /// Waits until this process has appended beyond `after`, or for at most this long: a wake-up is only a hint, and
    /// what other processes append is found by polling.
    pub async fn wait_for_change(&self, after: i64, at_most: Duration) {
        let mut newest = self.inner.newest.subscribe();
        let moved = newest.wait_for(|position| *position > after);
        // Both ends of the race mean the same: look again.
        drop(tokio::time::timeout(at_most, moved).await);
    }

    async fn decode(&self, rows: Vec<Row>, subscribed: &[Category]) -> Result<Vec<Recorded>, StoreError> {
        let mut page = Vec::with_capacity(rows.len());
        for row in rows {
            let name = self.type_name(row.position, row.type_id).await?;
            let recorded = decode(row, name, subscribed)?;
            if let DomainEvent::Unread(unread) = &recorded.event {
                self.inner.passed_by.count(&recorded, unread);
            }
            page.push(recorded);
        }
        Ok(page)
    }

    pub(crate) async fn type_name(&self, position: i64, type_id: i16) -> Result<TypeName, StoreError> {
        if let Some(name) = self.inner.types.name_of(type_id) {
            return Ok(name);
        }
        self.inner.types.refresh(self.pool()).await?;
        let unknown = StoreError::Unknown { position, what: "type", number: type_id };
        self.inner.types.name_of(type_id).ok_or(unknown)
    }
}

fn entry(row: Row, name: Option<TypeName>) -> Entry {
    Entry {
        position: row.position,
        category: row.category,
        stream_id: row.stream_id,
        type_name: name.as_ref().map(|(name, _)| Arc::clone(name)),
        bytes: row.payload.len(),
        event: name.and_then(|name| decode(row, name, &[]).ok()),
    }
}

pub(crate) fn decode(
    row: Row,
    (type_name, schema_version): TypeName,
    subscribed: &[Category],
) -> Result<Recorded, StoreError> {
    let Row { position, stream_id, version, .. } = row;
    let unknown = StoreError::Unknown { position, what: "category", number: row.category };
    let category = Category::from_number(row.category).ok_or(unknown)?;
    let event = match DomainEvent::decode(category, &type_name, schema_version, &row.payload) {
        Ok(event) => event,
        Err(source) if subscribed.contains(&category) => {
            return Err(StoreError::Decode { position, stream_id, version, source });
        }
        Err(reason) => DomainEvent::Unread(Unread(Arc::new(reason))),
    };
    sealed_for(row.event_id, &event)?;
    Ok(Recorded::from(Record {
        position,
        tenant: TenantId(row.tenant_id),
        category,
        stream_id,
        version,
        event_id: row.event_id,
        type_name,
        schema_version,
        recorded_at: Timestamp::new(row.recorded_at),
        command_id: CommandId(row.command_id),
        correlation_id: row.correlation_id,
        causation_id: row.causation_id,
        traceparent: row.trace,
        actor: row.actor_id.map(ActorId),
        event,
    }))
}
