//! A read model for tests: one row an event, so that a loss and a double both show, with events that it can't take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pcs_domain::prompt_card::{PromptCardEvent, Tagged};
use pcs_domain::{Category, DomainEvent};
use pcs_projections::{BoxFuture, Policy, Projection, ProjectionError};
use pcs_store::{Recorded, Store};
use pcs_tests::database::TestDatabase;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::projections::append;

/// The name of its checkpoint.
pub(crate) const NAME: &str = "tally.v1";
/// The fold refuses it.
pub(crate) const POISON: &str = "poison";
/// The database refuses its row.
pub(crate) const MISFIT: &str = "misfit";
/// The process dies of it.
pub(crate) const FATAL: &str = "fatal";
/// The connection breaks before the rows are written.
pub(crate) const CUT: &str = "cut";

/// The read model; clones share what it can take.
#[derive(Clone)]
pub(crate) struct Tally {
    /// Whether poison is taken as anything else: the fold has been mended.
    pub(crate) mended: Arc<AtomicBool>,
    /// Its own policy.
    pub(crate) policy: Policy,
    /// Whether the connection breaks after the rows are written.
    pub(crate) cut_after: Arc<AtomicBool>,
    /// How often the connection broke before the rows were written.
    pub(crate) cuts: Arc<AtomicU32>,
}

impl Tally {
    /// A read model with its table on a fresh database.
    pub(crate) async fn new(policy: Policy) -> (TestDatabase, Store, Self) {
        let database = TestDatabase::new().await;
        let store = database.store().await;
        sqlx::raw_sql(
            "create table read.tally (stream uuid not null, version bigint not null, position bigint not null,
                                      tag text not null, number int, primary key (stream, version));
             create index tally_position on read.tally (position)",
        )
        .execute(store.pool())
        .await
        .unwrap();
        (database, store, Self { mended: Arc::default(), policy, cut_after: Arc::default(), cuts: Arc::default() })
    }
}

impl Projection for Tally {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["tally"]
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::PromptCard]
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            for recorded in batch {
                let DomainEvent::PromptCard(PromptCardEvent::Tagged(event)) = &recorded.event else { continue };
                let tag = event.tags[0].as_str();
                if !self.mended.load(Ordering::SeqCst) {
                    match tag {
                        POISON => return Err(ProjectionError::Fold("it is poison".to_owned())),
                        FATAL => panic!("the process dies"),
                        CUT => {
                            self.cuts.fetch_add(1, Ordering::SeqCst);
                            cut(connection).await?;
                        }
                        _ => (),
                    }
                }
                sqlx::query(
                    "insert into tally (stream, version, position, tag, number)
                     values ($1, $2, $3, $4, case when $4 = $5 then 1 / (length($4) - length($5)) else 1 end)",
                )
                .bind(recorded.stream_id)
                .bind(recorded.version)
                .bind(recorded.position)
                .bind(tag)
                .bind(MISFIT)
                .execute(&mut *connection)
                .await?;
            }
            if self.cut_after.swap(false, Ordering::SeqCst) { cut(connection).await } else { Ok(()) }
        })
    }
}

/// Ends the connection as a crash of the server's process would.
async fn cut(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    sqlx::query("select pg_terminate_backend(pg_backend_pid())").execute(connection).await?;
    Ok(())
}

/// Appends one event with a tag to a stream.
pub(crate) async fn tag(store: &Store, stream: u128, tag: &str) {
    let event = PromptCardEvent::Tagged(Tagged { tags: vec![tag.to_owned()] });
    append(store, Uuid::from_u128(stream), &[event]).await;
}

/// The tags that the living read model has, in the order of positions, and its checkpoint, in one snapshot.
pub(crate) async fn tags(store: &Store) -> (Vec<String>, i64) {
    sqlx::query_as(
        "select coalesce((select array_agg(tag order by position) from read.tally), '{}'),
                coalesce((select position from read.projection where name = $1 and generation = 'live'), 0)",
    )
    .bind(NAME)
    .fetch_one(store.pool())
    .await
    .unwrap()
}

/// Lets the lease of a generation end, as if its owner had been silent for long.
pub(crate) async fn expire(store: &Store, name: &str, generation: &str) {
    let lease = "update read.projection set lease_until = clock_timestamp() - interval '1 s'
                 where name = $1 and generation = $2 and lease_until is not null";
    sqlx::query(lease).bind(name).bind(generation).execute(store.pool()).await.unwrap();
}
