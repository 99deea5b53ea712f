//! The events of an export, from the log or from the archive, with what the database keeps beside them.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::StoreError;
use crate::{Store, StoredEvent};

/// An event and what is kept beside it.
pub(crate) struct ExportRow {
    pub(crate) event: StoredEvent,
    /// What is remembered of the command whose last event it is.
    pub(crate) command: Option<CommandRow>,
    /// The seal of the batch whose last event it is.
    pub(crate) seal: Option<Vec<u8>>,
}

/// What is remembered of a command.
#[derive(sqlx::FromRow)]
pub(crate) struct CommandRow {
    last_position: i64,
    pub(crate) fingerprint: Option<Uuid>,
    pub(crate) first_position: i64,
    pub(crate) at: OffsetDateTime,
}

impl Store {
    /// The events after a position and up to another, of one tenant or of all, and the position up to which there are no
    /// more: less than asked for where they are large, many, or where a partition ends.
    pub(crate) async fn export_rows(
        &self,
        after: i64,
        to: i64,
        limit: i64,
        tenant: Option<i32>,
    ) -> Result<(Vec<ExportRow>, i64), StoreError> {
        let mut rows = self.rows_after(after, limit.min(to - after)).await?;
        // Where nothing is left, somebody took it out of the log: the hashes will not fit.
        let looked_at = rows.last().map_or(to, |last| last.position.min(to));
        rows.retain(|row| row.position <= to && tenant.is_none_or(|tenant| tenant == row.tenant_id));
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push(self.stored(row).await?);
        }
        let mut commands = self.commands_of(&events).await?;
        let mut seals = self.seals_of((after, looked_at)).await?;
        let exported = events.into_iter().map(|event| ExportRow {
            command: commands.remove(&event.position),
            seal: seals.remove(&event.position),
            event,
        });
        Ok((exported.collect(), looked_at))
    }

    /// What is remembered of the commands that end with one of these events, by the event's position.
    async fn commands_of(&self, events: &[StoredEvent]) -> Result<HashMap<i64, CommandRow>, StoreError> {
        let rows: Vec<CommandRow> = sqlx::query_as(
            "select c.last_position, c.fingerprint, c.first_position, c.at
             from unnest($1::bigint[], $2::int[], $3::uuid[]) e (position, tenant_id, command_id)
             join es.command c
               on c.command_id = e.command_id and c.tenant_id = e.tenant_id and c.last_position = e.position",
        )
        .bind(events.iter().map(|event| event.position).collect::<Vec<i64>>())
        .bind(events.iter().map(|event| event.tenant.0).collect::<Vec<i32>>())
        .bind(events.iter().map(|event| event.command_id).collect::<Vec<Uuid>>())
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.last_position, row)).collect())
    }

    async fn seals_of(&self, (after, to): (i64, i64)) -> Result<HashMap<i64, Vec<u8>>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select last_position, seal from es.seal where last_position > $1 and last_position <= $2")
                .bind(after)
                .bind(to)
                .fetch_all(self.pool())
                .await?;
        Ok(rows.into_iter().collect())
    }
}
