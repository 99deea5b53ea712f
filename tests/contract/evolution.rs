//! Events change and the log does not: what older and newer builds wrote is read, passed by or refused, never guessed.

use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, PromptCardRejection, Published};
use pcs_domain::test_run::{CancelCause, Cancelled, TestRun, TestRunEvent};
use pcs_domain::{Aggregate, Category, DecodeError, DomainEvent, EventSet, Timestamp, events};
use pcs_projections::Projection;
use pcs_store::{Append, CommandContext, Expected, Filter, Store, StoreError};
use pcs_tests::database::TestDatabase;
use pcs_tests::samples;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;
const NOBODY: &str =
    r#"{"reason":"it has 3 cells and promises 4","cancelled_by":"00000000-0000-0000-0000-000000000000"}"#;

events! {
    /// What happened to a parcel, a thing that only these tests know.
    enum ParcelEvent in PromptCard {
        /// It was weighed.
        Weighed(Weighed) = "parcel.weighed" version 3
            formerly "parcel.put_on_scale" version 1 with in_grams
            formerly "parcel.weighed" version 2 with by_somebody,
    }
}

/// Payload of `parcel.weighed` version 3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
struct Weighed {
    /// Its weight.
    grams: u64,
    /// Who did it.
    by: String,
}

fn in_grams(payload: Map<String, Value>) -> Map<String, Value> {
    let grams = payload.get("kilograms").and_then(Value::as_u64).map(|kilograms| kilograms * 1_000);
    Map::from_iter([("grams".to_owned(), json!(grams))])
}

fn by_somebody(mut payload: Map<String, Value>) -> Map<String, Value> {
    payload.insert("by".to_owned(), json!("somebody"));
    payload
}

/// All weights in the order of the stream.
#[derive(Debug, Default, PartialEq)]
struct Parcel(Vec<(u64, String)>);

impl Aggregate for Parcel {
    type Command = ();
    type Event = ParcelEvent;
    type Rejection = PromptCardRejection;

    fn decide(&self, (): (), _: Timestamp) -> Result<Vec<ParcelEvent>, PromptCardRejection> {
        Ok(Vec::new())
    }

    fn evolve(&mut self, event: ParcelEvent) {
        let ParcelEvent::Weighed(weighed) = event;
        self.0.push((weighed.grams, weighed.by));
    }
}

async fn append<E: EventSet>(store: &Store, stream: Uuid, events: &[E]) {
    let mut append = Append::new(CommandContext::derived(TENANT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, events).unwrap();
    store.append(append).await.unwrap();
}

/// Makes an event one that another build wrote: its type, version and payload.
async fn rewrite(store: &Store, position: i64, name: &str, version: i16, payload: &str) {
    let mut transaction = store.pool().begin().await.unwrap();
    sqlx::query("alter table es.event disable trigger append_only").execute(&mut *transaction).await.unwrap();
    sqlx::query("insert into es.event_type (name, schema_version) values ($1, $2) on conflict do nothing")
        .bind(name)
        .bind(version)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let changed = sqlx::query(
        "update es.event set payload = $4,
                type_id = (select type_id from es.event_type where name = $2 and schema_version = $3)
         where position = $1",
    )
    .bind(position)
    .bind(name)
    .bind(version)
    .bind(payload)
    .execute(&mut *transaction)
    .await
    .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    sqlx::query("alter table es.event enable trigger append_only").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

fn published(count: usize) -> Vec<PromptCardEvent> {
    vec![PromptCardEvent::Published(Published {}); count]
}

fn runs() -> Vec<TestRunEvent> {
    let run = |event| match event {
        DomainEvent::TestRun(event) => Some(event),
        DomainEvent::PromptCard(_)
        | DomainEvent::Execution(_)
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Job(_)
        | DomainEvent::Regrade(_)
        | DomainEvent::Review(_)
        | DomainEvent::Unread(_) => None,
    };
    samples::all().into_iter().filter_map(run).collect()
}

fn given_up() -> TestRunEvent {
    TestRunEvent::Cancelled(Cancelled {
        reason: "it has 3 cells and promises 4".to_owned(),
        cancelled_by: None,
        cause: CancelCause::Asked,
    })
}

fn projection(name: &str) -> std::sync::Arc<dyn Projection> {
    pcs_projections::all().into_iter().find(|projection| projection.name().starts_with(name)).expect("it exists")
}

async fn rows(store: &Store, projection: &dyn Projection) -> Vec<String> {
    let mut rows = Vec::new();
    for table in projection.tables() {
        let statement = format!("select row_to_json(t)::text from read.{table} t order by 1");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(store.pool()).await.unwrap();
        rows.extend(found);
    }
    rows
}

async fn rebuilt(store: &Store, projection: &dyn Projection) -> Vec<String> {
    pcs_projections::reset(store.pool(), projection).await.unwrap();
    while pcs_projections::step(store, projection, 100).await.unwrap() > 0 {}
    rows(store, projection).await
}

#[tokio::test]
async fn u1_a_stream_of_three_versions_folds_in_order() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, &published(3)).await;
    rewrite(&store, 1, "parcel.put_on_scale", 1, r#"{"kilograms":2}"#).await;
    rewrite(&store, 2, "parcel.weighed", 2, r#"{"grams":1900}"#).await;
    rewrite(&store, 3, "parcel.weighed", 3, r#"{"grams":1850,"by":"Ada"}"#).await;
    let loaded = store.load::<Parcel>(TENANT, stream).await.unwrap();
    let weights = [(2_000, "somebody"), (1_900, "somebody"), (1_850, "Ada")];
    assert_eq!(loaded.state, Parcel(weights.map(|(grams, by)| (grams, by.to_owned())).to_vec()));
    assert_eq!(loaded.revision, 3);
    // As it was at a version, the same.
    assert_eq!(store.load_at::<Parcel>(TENANT, stream, 2).await.unwrap().state.0.len(), 2);
}

#[tokio::test]
async fn u2_every_way_of_reading_raises_old_events_alike() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, &[runs().remove(0), given_up()]).await;
    let summary = projection("run_summary");
    let today = rebuilt(&store, &*summary).await;
    assert!(!today.is_empty());
    rewrite(&store, 2, "test_run.cancelled", 1, NOBODY).await;
    let expected = DomainEvent::TestRun(given_up());

    let by_stream = store.read_stream(TENANT, stream, 1, 10).await.unwrap().remove(0);
    assert_eq!((by_stream.schema_version, &by_stream.event), (1, &expected), "what is stored keeps its version");
    let page = vec![by_stream];
    assert_eq!(store.read_after(1, 10).await.unwrap(), page);
    assert_eq!(store.read_subscribed(1, 10, &[Category::TestRun]).await.unwrap(), page);
    assert_eq!(store.follow(Filter::all()).read(1, 10).await.unwrap().events, page, "what subscriptions are handed");
    for version in [2, i64::MAX] {
        let loaded = store.load_at::<TestRun>(TENANT, stream, version).await.unwrap();
        assert!(matches!(loaded.state, TestRun::Cancelled(_)), "{loaded:?}");
    }
    assert_eq!(rebuilt(&store, &*summary).await, today, "a rebuild");
    // The log itself is as it was written.
    let payload: String =
        sqlx::query_scalar("select payload from es.event where position = 2").fetch_one(store.pool()).await.unwrap();
    assert_eq!(payload, NOBODY);
}

#[tokio::test]
async fn u3_a_renamed_type_is_read_under_its_new_name() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, &published(1)).await;
    rewrite(&store, 1, "parcel.put_on_scale", 1, r#"{"kilograms":3}"#).await;
    let loaded = store.load::<Parcel>(TENANT, stream).await.unwrap();
    assert_eq!(loaded.state, Parcel(vec![(3_000, "somebody".to_owned())]));
    // The old name is not a new type: it can't be written, and has no other version.
    assert!(ParcelEvent::TYPES.iter().all(|event_type| event_type.name != "parcel.put_on_scale"));
    let error = ParcelEvent::decode("parcel.put_on_scale", 2, r#"{"grams":3}"#).unwrap_err();
    assert!(matches!(error, DecodeError::UnknownType { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn r6_what_cannot_be_read_is_a_typed_error_on_every_way() {
    let store = TestDatabase::new().await.store().await;
    for (name, version, payload) in [
        ("prompt_card.pinned", 1, "{}"),
        ("prompt_card.published", 9, "{}"),
        ("prompt_card.revised", 1, r#"{"version":"two"}"#),
        ("test_run.cancelled", 1, "[]"),
    ] {
        let stream = Uuid::new_v4();
        append(&store, stream, &published(3)).await;
        let position = store.head().await.unwrap() - 1;
        rewrite(&store, position, name, version, payload).await;
        let place = |error: StoreError| match error {
            StoreError::Decode { position, stream_id, version, .. } => (position, stream_id, version),
            other => panic!("{other}"),
        };
        let here = (position, stream, 2);
        assert_eq!(place(store.read_stream(TENANT, stream, 0, 10).await.unwrap_err()), here, "{name}");
        assert_eq!(place(store.read_after(position - 2, 10).await.unwrap_err()), here, "{name}");
        let loaded = store.load::<pcs_domain::prompt_card::PromptCard>(TENANT, stream).await;
        assert_eq!(place(loaded.unwrap_err()), here, "{name}");
    }
}

#[tokio::test]
async fn p9_an_unknown_type_stops_only_those_whom_it_concerns() {
    let store = TestDatabase::new().await.store().await;
    let (card, run) = (Uuid::new_v4(), Uuid::new_v4());
    append(&store, card, &published(2)).await;
    append(&store, run, &[runs().remove(0)]).await;
    rewrite(&store, 1, "prompt_card.pinned", 1, r#"{"by":"a newer build"}"#).await;
    rewrite(&store, 2, "prompt_card.published", 9, "{}").await;

    let page = store.read_subscribed(0, 10, &[Category::TestRun]).await.unwrap();
    let unread = page.iter().filter(|recorded| matches!(recorded.event, DomainEvent::Unread(_))).count();
    assert_eq!((page.len(), unread), (3, 2), "the page has them all, so that its last position is the next cursor");
    let counted: Vec<(String, i16, u64)> = store
        .passed_by()
        .into_iter()
        .map(|passed| (passed.type_name.to_string(), passed.schema_version, passed.times))
        .collect();
    assert_eq!(counted, [("prompt_card.pinned".to_owned(), 1, 1), ("prompt_card.published".to_owned(), 9, 1)]);

    let runs = projection("run_summary");
    assert!(!rebuilt(&store, &*runs).await.is_empty());
    assert_eq!(pcs_projections::position(store.pool(), runs.name()).await.unwrap(), 3);
    let cards = projection("card_list");
    assert_eq!(pcs_projections::step(&store, &*cards, 100).await.unwrap(), 0);
    assert_eq!(pcs_projections::position(store.pool(), cards.name()).await.unwrap(), 0);
    let states = pcs_projections::states(&store).await.unwrap();
    let stopped = states.into_iter().find(|state| state.name == cards.name()).expect("it has a state");
    let failure = stopped.failure.expect("it says why");
    assert_eq!((failure.position, failure.event_type.as_str()), (1, "prompt_card.pinned.v1"));
}

#[tokio::test]
async fn a_version_that_is_not_registered_is_not_written() {
    let store = TestDatabase::new().await.store().await;
    let mut append = Append::new(CommandContext::derived(TENANT, CommandId(Uuid::new_v4())));
    let weighed = ParcelEvent::Weighed(Weighed { grams: 1, by: ActorId(Uuid::nil()).to_string() });
    let refused = store.write(&mut append, Uuid::new_v4(), Expected::Any, &[weighed]).unwrap_err();
    let StoreError::Schema { event_type, .. } = refused else { panic!("{refused}") };
    assert_eq!(event_type, "parcel.weighed.v3");
    assert_eq!(store.head().await.unwrap(), 0);
}

#[tokio::test]
async fn the_types_of_a_database_are_those_that_any_build_registered() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    append(&store, Uuid::new_v4(), &published(1)).await;
    rewrite(&store, 1, "prompt_card.pinned", 1, "{}").await;
    let mut connection = store.pool().acquire().await.unwrap();
    let registered = pcs_store::registered_types(&mut connection).await.unwrap();
    let build = pcs_schemas::Build::current();
    let unread: Vec<&(String, i16)> =
        registered.iter().filter(|(name, version)| build.reader_of(name, *version).is_none()).collect();
    assert_eq!(unread, [&("prompt_card.pinned".to_owned(), 1)]);
    assert_eq!(registered.len(), build.events.len() + 1);
}
