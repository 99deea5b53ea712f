//! Given these events, then these rows: how a fold is tested, against a real database and in pages of several sizes.

use std::sync::Arc;

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::{DomainEvent, EventSet};
use pcs_projections::Projection;
use pcs_store::{Append, CommandContext, Expected, Store};
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::database::TestDatabase;

/// Lengths of pages that have to come to the same rows.
const PAGES: [i64; 3] = [1_000, 1, 3];

/// A read model after its events.
pub struct Folded {
    store: Store,
    projection: Arc<dyn Projection>,
}

/// Appends events, each to a stream, and folds them: in one page, one by one and in threes. The rows have to be the same.
///
/// # Panics
/// When the events can't be appended or folded, or when the length of the pages makes a difference.
pub async fn given(
    projection: impl Projection + 'static,
    events: impl IntoIterator<Item = (Uuid, DomainEvent)>,
) -> Folded {
    let store = TestDatabase::new().await.store().await;
    for (stream, event) in events {
        match event {
            DomainEvent::PromptCard(event) => append(&store, stream, event).await,
            DomainEvent::TestRun(event) => append(&store, stream, event).await,
            DomainEvent::Execution(event) => append(&store, stream, event).await,
            DomainEvent::DataSubject(event) => append(&store, stream, event).await,
            DomainEvent::JobPolicy(event) => append(&store, stream, event).await,
            DomainEvent::Schedule(event) => append(&store, stream, event).await,
            DomainEvent::Job(event) => append(&store, stream, event).await,
            DomainEvent::Regrade(event) => append(&store, stream, event).await,
            DomainEvent::Review(event) => append(&store, stream, event).await,
            DomainEvent::Unread(_) => panic!("an event that can't be read can't be given"),
        }
    }
    let folded = Folded { store, projection: Arc::new(projection) };
    let mut rows = Vec::new();
    for page in PAGES {
        rows.push(folded.fold(page).await);
    }
    assert!(rows.iter().all(|other| *other == rows[0]), "the rows depend on the length of the pages: {rows:#?}");
    folded
}

async fn append<E: EventSet>(store: &Store, stream: Uuid, event: E) {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, &[event]).expect("the event is of its schema");
    store.append(append).await.expect("the event is appended");
}

impl Folded {
    /// Folds from the start; answers all rows of all tables.
    async fn fold(&self, page: i64) -> Vec<Vec<Value>> {
        let projection = &*self.projection;
        pcs_projections::reset(self.store.pool(), projection).await.expect("it can be emptied");
        while pcs_projections::step(&self.store, projection, page).await.expect("the page can be folded") > 0 {}
        let position = pcs_projections::position(self.store.pool(), projection.name()).await.expect("a checkpoint");
        assert_eq!(position, self.store.head().await.expect("a head"), "the fold stopped before the last event");
        let mut tables = Vec::new();
        for table in projection.tables() {
            tables.push(self.rows(table, &Map::new()).await);
        }
        tables
    }

    /// Expects exactly one row with this key in a table, and that it has these columns with these values among others.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn then_row(self, table: &str, key: Value, columns: Value) -> Self {
        let rows = self.rows(table, &object(key.clone())).await;
        let [row] = &rows[..] else { panic!("{} rows of {table} have the key {key}: {rows:#?}", rows.len()) };
        for (column, expected) in object(columns) {
            assert_eq!(row.get(&column), Some(&expected), "the column {column} of {table} {key}");
        }
        self
    }

    /// Expects that a table has as many rows with these values.
    ///
    /// # Panics
    /// When it has not.
    pub async fn then_count(self, table: &str, columns: Value, count: usize) -> Self {
        let rows = self.rows(table, &object(columns.clone())).await;
        assert_eq!(rows.len(), count, "rows of {table} with {columns}: {rows:#?}");
        self
    }

    async fn rows(&self, table: &str, columns: &Map<String, Value>) -> Vec<Value> {
        let statement =
            format!("select to_jsonb(t) from read.{table} t where to_jsonb(t) @> $1 order by to_jsonb(t)::text");
        let rows = sqlx::query_scalar(AssertSqlSafe(statement)).bind(Value::Object(columns.clone()));
        rows.fetch_all(self.store.pool()).await.expect("the table can be read")
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("columns are an object, not {other}"),
    }
}
