//! The hashes of the log: the program and the database compute the same, and the chain covers what was written.

use pcs_domain::Category;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Published, Tagged};
use pcs_store::{
    Append, CommandContext, Content, Expected, Hash, NOTHING, Store, batch_digest, batch_seal, event_hash,
};
use pcs_tests::database::TestDatabase;
use time::OffsetDateTime;
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;

fn context() -> CommandContext {
    CommandContext {
        actor: Some(ActorId(Uuid::new_v4())),
        correlation_id: Some(Uuid::new_v4()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..CommandContext::derived(TENANT, CommandId(Uuid::new_v4()))
    }
}

fn tagged(tag: &str) -> PromptCardEvent {
    PromptCardEvent::Tagged(Tagged { tags: vec![tag.to_owned()] })
}

async fn append(store: &Store, context: CommandContext, stream: Uuid, expected: Expected, events: &[PromptCardEvent]) {
    let mut append = Append::new(context);
    store.write(&mut append, stream, expected, events).unwrap();
    store.append(append).await.unwrap();
}

/// Events over both ways into the log: as they are, and judged first.
async fn history(store: &Store) -> (Uuid, Uuid) {
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    append(store, context(), one, Expected::NoStream, &[tagged("a"), tagged("ü\n\"")]).await;
    append(store, context(), two, Expected::Any, &[tagged("b")]).await;
    append(store, context(), one, Expected::Exact(2), &[tagged("c"), PromptCardEvent::Published(Published {})]).await;
    append(store, CommandContext::derived(TENANT, CommandId(Uuid::new_v4())), two, Expected::Exists, &[tagged("d")])
        .await;
    (one, two)
}

#[derive(sqlx::FromRow)]
struct Row {
    position: i64,
    stream_no: i64,
    version: i64,
    recorded_at: OffsetDateTime,
    stream_id: Uuid,
    event_id: Uuid,
    command_id: Uuid,
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    trace: Option<String>,
    payload: String,
    hash: Vec<u8>,
    name: String,
    schema_version: i16,
    before: Option<Vec<u8>>,
    digest_in_sql: Vec<u8>,
    hash_in_sql: Vec<u8>,
}

async fn rows(store: &Store) -> Vec<Row> {
    sqlx::query_as(
        "select e.*, name, schema_version, before, d.digest as digest_in_sql,
                es.event_hash(before, version, d.digest) as hash_in_sql
         from (select *, lag(hash) over (partition by stream_no order by version) as before from es.event) e
         join es.event_type using (type_id),
         lateral (select es.event_digest(tenant_id, stream_id, category, event_id, name, schema_version, command_id,
                                         correlation_id, causation_id, actor_id, trace, payload) as digest) d
         order by position",
    )
    .fetch_all(store.pool())
    .await
    .unwrap()
}

/// Each stored hash is what the program computes from the stored row, and what the database computes from it.
#[tokio::test]
async fn every_event_is_chained_to_the_one_before_it_in_its_stream() {
    let store = TestDatabase::new().await.store().await;
    let (one, _) = history(&store).await;
    let rows = rows(&store).await;
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let content = Content {
            tenant: TENANT,
            stream_id: row.stream_id,
            category: Category::PromptCard,
            event_id: row.event_id,
            type_name: &row.name,
            schema_version: row.schema_version,
            command_id: row.command_id,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            actor_id: row.actor_id,
            trace: row.trace.as_deref(),
            payload: &row.payload,
        };
        assert_eq!(content.digest().as_slice(), row.digest_in_sql, "{}", row.position);
        let before: Hash = row.before.as_ref().map_or(NOTHING, |hash| hash.as_slice().try_into().unwrap());
        assert_eq!(event_hash(&before, row.version, &content.digest()).as_slice(), row.hash, "{}", row.position);
        assert_eq!(row.hash_in_sql, row.hash, "{}", row.position);
        assert_eq!(row.stream_no, if row.stream_id == one { 1 } else { 3 });
    }
    let heads: Vec<(i64, i64, Vec<u8>)> =
        sqlx::query_as("select stream_no, version, head_hash from es.stream order by stream_no")
            .fetch_all(store.pool())
            .await
            .unwrap();
    let newest = |number: i64| rows.iter().rfind(|row| row.stream_no == number).unwrap();
    for (number, version, hash) in heads {
        assert_eq!((version, &hash), (newest(number).version, &newest(number).hash));
    }
}

/// Batches share one time, times grow with positions, and each seal covers its batch and all before it.
#[tokio::test]
async fn every_batch_is_sealed_over_all_before_it() {
    let store = TestDatabase::new().await.store().await;
    history(&store).await;
    let rows = rows(&store).await;
    let seals: Vec<(i64, i64, OffsetDateTime, Vec<u8>)> =
        sqlx::query_as("select first_position, last_position, recorded_at, seal from es.seal order by last_position")
            .fetch_all(store.pool())
            .await
            .unwrap();
    let mut before = NOTHING;
    let mut next = 1;
    let mut time = OffsetDateTime::UNIX_EPOCH;
    for (first, last, at, seal) in &seals {
        assert_eq!(*first, next);
        assert!(*at > time, "{at} after {time}");
        let of_batch = || rows.iter().filter(|row| (*first..=*last).contains(&row.position));
        assert!(of_batch().all(|row| row.recorded_at == *at));
        before = batch_seal(&before, (*first, *last), *at, &batch_digest(of_batch().map(|row| &row.hash)));
        assert_eq!(before.as_slice(), seal);
        (next, time) = (last + 1, *at);
    }
    assert_eq!(next, 7);
    let tip: (i64, Vec<u8>) =
        sqlx::query_as("select position, seal from es.head").fetch_one(store.pool()).await.unwrap();
    assert_eq!(tip, (6, before.to_vec()));
}

/// The payload is canonical: keys in order, whatever order the fields of the type have.
#[tokio::test]
async fn payloads_are_stored_in_their_canonical_form() {
    let store = TestDatabase::new().await.store().await;
    append(&store, context(), Uuid::new_v4(), Expected::Any, &[PromptCardEvent::Labelled(labelled())]).await;
    let stored = rows(&store).await.remove(0).payload;
    assert_eq!(stored, r#"{"label":"production","version":7}"#);
}

fn labelled() -> pcs_domain::prompt_card::Labelled {
    pcs_domain::prompt_card::Labelled { label: "production".to_owned(), version: 7 }
}

/// The log of an earlier schema is chained by the migration, and appends go on behind it.
#[tokio::test]
async fn o5_a_log_of_an_earlier_schema_is_chained_as_it_is() {
    let database = TestDatabase::empty().await;
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    pcs_store::migrate_to(&pool, 5).await.unwrap();
    let stream = Uuid::from_u128(7);
    sqlx::query("insert into es.event_type (name, schema_version) values ('prompt_card.published', 1)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into es.event (position, tenant_id, stream_id, version, event_id, category, type_id, command_id, payload)
         select n, 1, case when n = 2 then gen_random_uuid() else $1 end, case n when 3 then 2 else 1 end,
                gen_random_uuid(), 1, 1, gen_random_uuid(), '{}' from generate_series(1, 3) n",
    )
    .bind(stream)
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into es.stream (tenant_id, stream_id, category, version)
         select tenant_id, stream_id, 1, max(version) from es.event group by 1, 2",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("update es.head set position = 3").execute(&pool).await.unwrap();
    pcs_store::migrate(&pool).await.unwrap();
    let store = database.store().await;
    append(&store, context(), stream, Expected::Exact(2), &[PromptCardEvent::Published(Published {})]).await;
    let rows = rows(&store).await;
    assert_eq!(
        rows.iter().map(|row| (row.stream_no, row.version)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (1, 2), (1, 3)]
    );
    assert!(rows.iter().all(|row| row.hash == row.hash_in_sql));
    assert!(rows.windows(2).all(|pair| pair[0].recorded_at < pair[1].recorded_at));
}
