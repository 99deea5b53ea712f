//! The numbers of event types: registered at start, cached, looked up again when a row has a new one.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use pcs_domain::data_subject::DataSubjectEvent;
use pcs_domain::execution::ExecutionEvent;
use pcs_domain::job::JobEvent;
use pcs_domain::job_policy::JobPolicyEvent;
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_domain::regrade::RegradeEvent;
use pcs_domain::review::ReviewEvent;
use pcs_domain::schedule::ScheduleEvent;
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::{EventSet, EventType};
use sqlx::{PgConnection, PgPool};

use crate::error::StoreError;

/// A type's name and version as the database has them.
pub(crate) type TypeName = (Arc<str>, i16);

/// Both directions of `es.event_type`.
pub(crate) struct TypeRegistry {
    ids: HashMap<EventType, i16>,
    names: RwLock<HashMap<i16, TypeName>>,
}

/// All types that this build writes.
pub(crate) fn written() -> Vec<EventType> {
    [
        PromptCardEvent::TYPES,
        TestRunEvent::TYPES,
        ExecutionEvent::TYPES,
        DataSubjectEvent::TYPES,
        JobPolicyEvent::TYPES,
        ScheduleEvent::TYPES,
        JobEvent::TYPES,
        RegradeEvent::TYPES,
        ReviewEvent::TYPES,
    ]
    .concat()
}

impl TypeRegistry {
    /// Registers what this build writes, and reads what all builds wrote.
    pub(crate) async fn register(pool: &PgPool) -> Result<Self, StoreError> {
        let types = written();
        let (names, versions): (Vec<String>, Vec<i16>) =
            types.iter().map(|event_type| (event_type.name.to_owned(), event_type.version)).unzip();
        // Sorted by the select, so that several processes that start at once lock in one order.
        sqlx::query(
            "insert into es.event_type (name, schema_version)
             select n, v from unnest($1::text[], $2::smallint[]) t(n, v)
             where not exists (select from es.event_type e where e.name = n and e.schema_version = v)
             order by n, v on conflict do nothing",
        )
        .bind(names)
        .bind(versions)
        .execute(pool)
        .await?;
        let known = read(pool).await?;
        let ids = types
            .into_iter()
            .filter_map(|event_type| {
                let same = |(name, version): &TypeName| **name == *event_type.name && *version == event_type.version;
                let (id, _) = known.iter().find(|(_, name)| same(name))?;
                Some((event_type, *id))
            })
            .collect();
        Ok(Self { ids, names: RwLock::new(known) })
    }

    /// The numbers of the types that this build writes.
    pub(crate) fn ids(&self) -> &HashMap<EventType, i16> {
        &self.ids
    }

    /// The numbers of these types; one that is not registered has none.
    pub(crate) fn ids_of(&self, types: &[EventType]) -> Vec<i16> {
        types.iter().filter_map(|event_type| self.ids.get(event_type).copied()).collect()
    }

    pub(crate) fn name_of(&self, type_id: i16) -> Option<TypeName> {
        self.names.read().ok()?.get(&type_id).cloned()
    }

    /// Reads the table again: a newer process may have registered types since.
    pub(crate) async fn refresh(&self, pool: &PgPool) -> Result<(), StoreError> {
        let known = read(pool).await?;
        if let Ok(mut names) = self.names.write() {
            *names = known;
        }
        Ok(())
    }
}

/// The types that a database knows, by name and version, in that order: what any build that was started on it can write.
/// Unlike opening a store, it registers nothing.
///
/// # Errors
/// Where the database does not answer or has not been migrated.
pub async fn registered_types(connection: &mut PgConnection) -> Result<Vec<(String, i16)>, StoreError> {
    Ok(sqlx::query_as("select name, schema_version from es.event_type order by name, schema_version")
        .fetch_all(connection)
        .await?)
}

async fn read(pool: &PgPool) -> Result<HashMap<i16, TypeName>, StoreError> {
    let rows: Vec<(i16, String, i16)> =
        sqlx::query_as("select type_id, name, schema_version from es.event_type").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(id, name, version)| (id, (name.into(), version))).collect())
}
