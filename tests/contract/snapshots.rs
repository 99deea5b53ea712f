//! Snapshots change how long a load takes and nothing else; the numbers are those of the acceptance list.

use pcs_domain::ids::{ActorId, CommandId, TenantId, TestCaseId};
use pcs_domain::prompt_card::{
    Archived, CaseChanged, CasesAdded, CasesRemoved, Created, Described, Labelled, PromptCard, PromptCardEvent,
    Published, Restored, Revised, Tagged, TestCase,
};
use pcs_domain::{Aggregate, SnapshotFormat};
use pcs_store::{Append, CommandContext, Expected, Store};
use pcs_tests::database::TestDatabase;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;

fn format() -> SnapshotFormat<PromptCard> {
    PromptCard::SNAPSHOT.expect("cards have snapshots")
}

fn created() -> PromptCardEvent {
    PromptCardEvent::Created(Created {
        title: "long".to_owned(),
        description: String::new(),
        prompt: "{{q}}".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    })
}

fn case(number: u32) -> TestCase {
    TestCase {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        subject: None,
        id: TestCaseId(Uuid::from_u128(u128::from(number))),
        name: format!("case {number}"),
        input: Map::from_iter([("q".to_owned(), json!({ "n": number, "é": 0.1 }))]),
        expected_output: Some(number.to_string()),
        assertions: Vec::new(),
        threshold: Some(f64::from(number % 10) / 10.0),
    }
}

/// An event of a card, chosen by a number.
fn event(choice: u32) -> PromptCardEvent {
    let number = choice / 10 % 60;
    match choice % 10 {
        0..=3 => PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case(number), case(number + 60)] }),
        4 => PromptCardEvent::CasesRemoved(CasesRemoved { case_ids: vec![case(number).id] }),
        5 => PromptCardEvent::CaseChanged(CaseChanged { case: TestCase { name: "new".to_owned(), ..case(number) } }),
        6 => PromptCardEvent::Revised(Revised {
            version: number + 2,
            prompt: format!("{number} {{{{q}}}}"),
            model: None,
            message: String::new(),
            author: ActorId(Uuid::nil()),
        }),
        7 => PromptCardEvent::Labelled(Labelled { label: format!("l{number}"), version: 1 }),
        8 => PromptCardEvent::Described(Described {
            title: format!("title {number}"),
            description: "d".to_owned(),
            category: "c".to_owned(),
            metadata: Map::from_iter([("n".to_owned(), json!(number))]),
        }),
        _ => match number % 4 {
            0 => PromptCardEvent::Published(Published {}),
            1 => PromptCardEvent::Archived(Archived { reason: String::new() }),
            2 => PromptCardEvent::Restored(Restored {}),
            _ => PromptCardEvent::Tagged(Tagged { tags: vec![number.to_string()] }),
        },
    }
}

async fn append(store: &Store, tenant: TenantId, stream: Uuid, events: &[PromptCardEvent]) {
    let mut append = Append::new(CommandContext::derived(tenant, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, events).unwrap();
    store.append(append).await.unwrap();
}

async fn card_of(store: &Store, stream: Uuid, len: u32) {
    let events: Vec<_> = std::iter::once(created()).chain((1..len).map(|nth| event(nth * 7))).collect();
    append(store, TENANT, stream, &events).await;
}

/// Loads, and waits until the snapshot is written that the load may have caused.
async fn load(store: &Store, stream: Uuid, version: i64) -> (PromptCard, i64) {
    let loaded = store.load_at::<PromptCard>(TENANT, stream, version).await.unwrap();
    store.snapshots_written().await;
    (loaded.state, loaded.revision)
}

async fn replayed(store: &Store, stream: Uuid, version: i64) -> PromptCard {
    let history = store.read_stream(TENANT, stream, 0, version).await.unwrap();
    PromptCard::fold(history.into_iter().map(|recorded| match recorded.into_record().event {
        pcs_domain::DomainEvent::PromptCard(event) => event,
        other => panic!("{other:?} in a card's stream"),
    }))
}

/// The versions of a stream's snapshots of this build's state.
async fn kept(store: &Store, stream: Uuid) -> Vec<i64> {
    sqlx::query_scalar("select version from es.snapshot where stream_id = $1 and state_hash = $2")
        .bind(stream)
        .bind(format().state_hash().as_slice())
        .fetch_all(store.pool())
        .await
        .unwrap()
}

/// Puts a state that no history has into the stream's snapshot: whoever reads it, shows it.
async fn forge(store: &Store, stream: Uuid, hash: &[u8], version: i64, state: &str) {
    sqlx::query(
        "insert into es.snapshot (tenant_id, stream_id, state_type, state_hash, version, state, written_at)
         values ($1, $2, 'prompt_card', $3, $4, $5, now() - interval '2 days')
         on conflict (stream_id, tenant_id, state_type, state_hash) do update set state = $5, version = $4",
    )
    .bind(TENANT.0)
    .bind(stream)
    .bind(hash)
    .bind(version)
    .bind(state)
    .execute(store.pool())
    .await
    .unwrap();
}

fn forged() -> String {
    let PromptCardEvent::Created(mut event) = created() else { unreachable!() };
    event.title = "forged".to_owned();
    format().encode(&PromptCard::fold([PromptCardEvent::Created(event)])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn n1_a_state_from_a_snapshot_and_its_tail_is_that_of_a_full_replay() {
    let store = TestDatabase::new().await.store().await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let histories = (proptest::collection::vec(0..600_u32, 500..720), 0..200_usize, 1..720_i64);
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&histories, |(choices, early, wanted)| {
                runtime.block_on(async {
                    let stream = Uuid::new_v4();
                    let events: Vec<_> = std::iter::once(created()).chain(choices.into_iter().map(event)).collect();
                    let len = i64::try_from(events.len()).unwrap();
                    let early = events.len() - early.min(events.len() - 500);
                    append(&store, TENANT, stream, &events[..early]).await;
                    load(&store, stream, i64::MAX).await;
                    prop_assert_eq!(kept(&store, stream).await, [i64::try_from(early).unwrap()]);
                    if early < events.len() {
                        append(&store, TENANT, stream, &events[early..]).await;
                    }
                    for version in [i64::MAX, len, wanted.min(len)] {
                        let (state, revision) = load(&store, stream, version).await;
                        prop_assert_eq!(revision, version.min(len));
                        prop_assert_eq!(state, replayed(&store, stream, version.min(len)).await);
                    }
                    Ok(())
                })
            })
            .unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn n1_a_snapshot_is_what_the_load_goes_on_from_and_never_ahead_of_the_wanted_version() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    card_of(&store, stream, 550).await;
    forge(&store, stream, &format().state_hash(), 540, &forged()).await;
    let title = |state: &PromptCard| state.card().unwrap().title.clone();
    // Whether it is really used, only a wrong one shows; the tail of ten events has no title.
    assert_eq!(title(&load(&store, stream, 541).await.0), "forged");
    assert_eq!(load(&store, stream, 539).await.0, replayed(&store, stream, 539).await);
    // Of another tenant, it is not this one's.
    append(&store, TenantId(2), stream, &[created()]).await;
    let other = store.load::<PromptCard>(TenantId(2), stream).await.unwrap();
    assert_eq!((other.revision, title(&other.state)), (1, "long".to_owned()));
}

#[tokio::test]
async fn n2_an_older_snapshot_never_replaces_a_newer_one() {
    let database = TestDatabase::new().await;
    let (store, late) = (database.store().await, database.store().await);
    let stream = Uuid::new_v4();
    card_of(&store, stream, 550).await;
    // A load of an older version is offered as well, and comes too late.
    load(&store, stream, i64::MAX).await;
    assert_eq!(kept(&store, stream).await, [550]);
    load(&late, stream, 530).await;
    assert_eq!(kept(&store, stream).await, [550]);
    card_of(&store, stream, 120).await;
    load(&late, stream, i64::MAX).await;
    assert_eq!(kept(&store, stream).await, [670]);
}

#[tokio::test]
async fn n2_short_streams_and_short_tails_have_no_new_snapshot() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    card_of(&store, stream, 499).await;
    load(&store, stream, i64::MAX).await;
    assert_eq!(kept(&store, stream).await, [0; 0]);
    append(&store, TENANT, stream, &[event(0)]).await;
    load(&store, stream, i64::MAX).await;
    append(&store, TENANT, stream, &[event(6)]).await;
    load(&store, stream, i64::MAX).await;
    assert_eq!(kept(&store, stream).await, [500]);
}

#[tokio::test]
async fn n1_a_deleted_stream_is_not_brought_back_by_its_snapshot() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    card_of(&store, stream, 550).await;
    load(&store, stream, i64::MAX).await;
    assert_eq!(kept(&store, stream).await, [550]);
    sqlx::query("update es.stream set state = 1 where stream_id = $1")
        .bind(stream)
        .execute(store.pool())
        .await
        .unwrap();
    assert_eq!(load(&store, stream, i64::MAX).await, (PromptCard::default(), 0));
}

#[tokio::test]
async fn n3_a_snapshot_of_another_state_is_ignored_and_replaced() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    card_of(&store, stream, 550).await;
    let other = [7_u8; 32];
    forge(&store, stream, &other, 549, "not even JSON").await;
    assert_eq!(load(&store, stream, i64::MAX).await.0, replayed(&store, stream, 550).await);
    assert_eq!(kept(&store, stream).await, [550]);
    let left: i64 = sqlx::query_scalar("select count(*) from es.snapshot where state_hash = $1")
        .bind(other.as_slice())
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(left, 0, "nobody has written the old one for a day");
    // One with the right hash that can't be read is ignored too.
    forge(&store, stream, &format().state_hash(), 540, "{\"Active\":{}}").await;
    assert_eq!(load(&store, stream, i64::MAX).await.0, replayed(&store, stream, 550).await);
}

#[tokio::test]
async fn n4_without_its_snapshots_everything_is_the_same() {
    let store = TestDatabase::new().await.store().await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    card_of(&store, one, 560).await;
    card_of(&store, two, 1_100).await;
    let before = (load(&store, one, i64::MAX).await, load(&store, two, i64::MAX).await);
    assert_eq!(store.delete_snapshots(TenantId(2), None).await.unwrap(), 0);
    assert_eq!(store.delete_snapshots(TENANT, Some(one)).await.unwrap(), 1);
    assert_eq!(store.delete_snapshots(TENANT, None).await.unwrap(), 1);
    assert_eq!((load(&store, one, i64::MAX).await, load(&store, two, i64::MAX).await), before);
}
