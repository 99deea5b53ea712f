//! What only the event store on PostgreSQL can promise: several processes, the database's own guards, lost connections.
//! What every log holds is in `log_rules`; the numbers are those of the acceptance list (docs/acceptance.md).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{Create, PromptCard, PromptCardCommand, PromptCardEvent, Published};
use pcs_store::{Append, AppendError, CommandContext, Expected, Recorded, Store, StoreError, execute_new};
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;

fn context() -> CommandContext {
    CommandContext::derived(TENANT, CommandId(Uuid::new_v4()))
}

fn remembered(command_id: Uuid, fingerprint: u128) -> CommandContext {
    CommandContext {
        fingerprint: Some(Uuid::from_u128(fingerprint)),
        ..CommandContext::derived(TENANT, CommandId(command_id))
    }
}

fn published() -> PromptCardEvent {
    PromptCardEvent::Published(Published {})
}

pub(crate) fn create(title: &str) -> PromptCardCommand {
    PromptCardCommand::Create(Create {
        title: title.to_owned(),
        description: String::new(),
        prompt: "{{question}}".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    })
}

async fn append(
    store: &Store,
    stream: Uuid,
    expected: Expected,
    events: &[PromptCardEvent],
) -> Result<pcs_store::Appended, AppendError> {
    append_as(store, context(), stream, expected, events).await
}

async fn append_as(
    store: &Store,
    context: CommandContext,
    stream: Uuid,
    expected: Expected,
    events: &[PromptCardEvent],
) -> Result<pcs_store::Appended, AppendError> {
    let mut append = Append::new(context);
    store.write(&mut append, stream, expected, events)?;
    store.append(append).await
}

async fn whole_log(store: &Store) -> Vec<Recorded> {
    let mut log: Vec<Recorded> = Vec::new();
    loop {
        let after = log.last().map_or(0, |event| event.position);
        let page = store.read_after(after, 1_000).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// A7: of two writers with the same expectation exactly one succeeds.
#[tokio::test]
async fn a7_of_two_processes_with_the_same_expectation_one_wins() {
    let database = TestDatabase::new().await;
    let stores = [database.store().await, database.store().await];
    let stream = Uuid::new_v4();
    let results = join_all((0..20).map(|i| append_one(&stores[i % 2], stream, Expected::NoStream))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(whole_log(&stores[0]).await.len(), 1);
}

async fn append_one(store: &Store, stream: Uuid, expected: Expected) -> Result<pcs_store::Appended, AppendError> {
    append(store, stream, expected, &[published()]).await
}

/// A8 and A9: parallel appends of two processes to one stream all arrive, and nothing else does.
#[tokio::test]
async fn a8_parallel_appends_of_two_processes_to_one_stream_are_numbered_without_gaps() {
    let database = TestDatabase::new().await;
    let stores = [database.store().await, database.store().await];
    let stream = Uuid::new_v4();
    let results = join_all((0..40).map(|i| append_one(&stores[i % 2], stream, Expected::Any))).await;
    let versions: BTreeSet<i64> = results.into_iter().map(|result| result.unwrap().version).collect();
    assert_eq!(versions, (1..=40).collect());
    let stored = stores[0].read_stream(TENANT, stream, 0, 100).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.version).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}

/// A16: the log can't be changed, not even by its owner.
#[tokio::test]
async fn a16_the_log_is_append_only() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), Expected::Any, &[published()]).await.unwrap();
    for statement in ["update es.event set payload = '{}'", "delete from es.event", "truncate es.event"] {
        let error = sqlx::query(statement).execute(store.pool()).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
}

/// A19: what is damaged in one stream is told to those who write to it, and to nobody else of the batch.
#[tokio::test]
async fn a19_a_damaged_stream_does_not_touch_its_neighbours() {
    let store = TestDatabase::new().await.store().await;
    let damaged = Uuid::new_v4();
    append_one(&store, damaged, Expected::NoStream).await.unwrap();
    sqlx::query("update es.stream set state = 9 where stream_id = $1")
        .bind(damaged)
        .execute(store.pool())
        .await
        .unwrap();
    let streams: Vec<Uuid> = (0..20).map(|i| if i % 5 == 0 { damaged } else { Uuid::new_v4() }).collect();
    let results = join_all(streams.iter().map(|&stream| append_one(&store, stream, Expected::Any))).await;
    for (stream, result) in streams.iter().zip(results) {
        match result {
            Ok(_) => assert_ne!(*stream, damaged),
            Err(AppendError::Store(StoreError::UnknownState { stream_id, number: 9 })) => {
                assert_eq!((*stream, stream_id), (damaged, damaged));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(store.head().await.unwrap(), 17);
}

/// I8: the same command from many callers of two processes at once is executed once, and all get its result.
#[tokio::test]
async fn i8_identical_commands_of_two_processes_at_once_are_one() {
    let database = TestDatabase::new().await;
    let stores = [database.store().await, database.store().await];
    let (command_id, card) = (Uuid::new_v4(), Uuid::new_v4());
    let results = join_all((0..50).map(|i| {
        let (store, command) = (stores[i % 2].clone(), remembered(command_id, 9));
        async move { execute_new::<PromptCard>(&store, &command, card, create("one")).await }
    }))
    .await;
    let positions: BTreeSet<Option<i64>> = results.into_iter().map(|result| result.unwrap().position).collect();
    assert_eq!(positions, BTreeSet::from([Some(1)]));
    assert_eq!(stores[0].head().await.unwrap(), 1);
}

/// G10 in a short form: many writers of two processes; a tailing reader sees everything once and in order.
#[tokio::test]
async fn g10_a_tailing_reader_misses_nothing_and_sees_nothing_twice() {
    let database = TestDatabase::new().await;
    let (one, two, reader) = (database.store().await, database.store().await, database.store().await);
    let mut tail = JoinSet::new();
    tail.spawn(async move {
        let mut seen: Vec<(i64, Uuid, i64)> = Vec::new();
        while seen.len() < 2_000 {
            let after = seen.last().map_or(0, |(position, _, _)| *position);
            let page = reader.read_after(after, 97).await.unwrap();
            if page.is_empty() {
                reader.wait_for_change(after, Duration::from_millis(5)).await;
            }
            seen.extend(page.into_iter().map(|event| (event.position, event.stream_id, event.version)));
        }
        seen
    });
    let streams: Vec<Uuid> = (0..50).map(|_| Uuid::new_v4()).collect();
    let writers = (0..2_000).map(|i| append_one(if i % 2 == 0 { &one } else { &two }, streams[i % 50], Expected::Any));
    for result in join_all(writers).await {
        result.unwrap();
    }
    let seen = tail.join_next().await.unwrap().unwrap();
    assert_eq!(seen.iter().map(|(position, _, _)| *position).collect::<Vec<_>>(), (1..=2_000).collect::<Vec<_>>());
    for stream in streams {
        let versions: Vec<i64> = seen.iter().filter(|(_, id, _)| *id == stream).map(|(_, _, v)| *v).collect();
        assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    }
}

/// R6: an event that can't be read stops its reader with its place, and is not left out.
#[tokio::test]
async fn r6_an_unreadable_event_stops_its_reader() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, Expected::Any, &[published(), published()]).await.unwrap();
    sqlx::query("alter table es.event disable trigger append_only").execute(store.pool()).await.unwrap();
    sqlx::query(
        "update es.event set type_id = (select type_id from es.event_type where name = 'prompt_card.created')
                 where position = 2",
    )
    .execute(store.pool())
    .await
    .unwrap();
    match store.read_after(0, 10).await {
        Err(StoreError::Decode { position: 2, stream_id, version: 2, .. }) => assert_eq!(stream_id, stream),
        other => panic!("{other:?}"),
    }
}

/// O6 and I10: the store goes on after its connections were cut, and an unknown outcome can be sent again.
#[tokio::test]
async fn i10_o6_cut_connections_lose_nothing_that_was_acknowledged() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    let saboteur = database.store().await;
    let mut cut = JoinSet::new();
    cut.spawn(async move {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .execute(saboteur.pool())
            .await
            .ok();
        }
    });
    let commands = (0..400_u32).map(|i| {
        let store = store.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(u64::from(i) / 2)).await;
            let (command, stream) = (remembered(Uuid::new_v4(), 1), Uuid::new_v4());
            eventually("the append is acknowledged", || async {
                append_as(&store, command.clone(), stream, Expected::NoStream, &[published()]).await.ok()
            })
            .await;
        }
    });
    join_all(commands).await;
    cut.join_next().await.unwrap().unwrap();
    let positions: Vec<i64> = whole_log(&store).await.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=400).collect::<Vec<_>>());
}

/// A18: positions above 2^32 are like all others.
#[tokio::test]
async fn a18_positions_and_versions_beyond_32_bits_are_like_all_others() {
    let store = TestDatabase::new().await.store().await;
    let far: i64 = (1 << 32) + 5;
    let stream = Uuid::new_v4();
    append(&store, stream, Expected::NoStream, &[published()]).await.unwrap();
    for statement in [
        "update es.head set position = (1::bigint << 32) + 5",
        "update es.stream set version = (1::bigint << 32) + 5",
        "create table es.event_far partition of es.event for values from (4290000000) to (4300000000)",
    ] {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    }
    let appended = append(&store, stream, Expected::Exact(far), &[published()]).await.unwrap();
    assert_eq!((appended.first_position, appended.version), (far + 1, far + 1));
    let stored = store.read_stream(TENANT, stream, far, 10).await.unwrap();
    assert_eq!(stored.iter().map(|event| (event.position, event.version)).collect::<Vec<_>>(), [(far + 1, far + 1)]);
    assert_eq!(store.read_after(far, 10).await.unwrap().len(), 1);
}

/// A frozen or gone writer that holds the head: others wait for it, and go on when its session is ended.
#[tokio::test]
async fn a_writer_that_stops_half_way_delays_the_others_and_nothing_more() {
    let database = TestDatabase::new().await;
    let (store, other) = (database.store().await, database.store().await);
    let mut frozen = other.pool().begin().await.unwrap();
    sqlx::query("select position from es.head for update").execute(&mut *frozen).await.unwrap();
    let waiting = append_one(&store, Uuid::new_v4(), Expected::NoStream);
    let ended = async {
        eventually("the append waits for the head", || async {
            let waiting: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                                where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(other.pool())
            .await
            .ok()?;
            waiting.then_some(())
        })
        .await;
        drop(frozen);
    };
    let (appended, ()) = tokio::join!(waiting, ended);
    assert_eq!(appended.unwrap().first_position, 1);
}

/// A former primary that takes no writes is said to be one, and is not kept.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_refused_and_tried_again() {
    let database = TestDatabase::new().await;
    let admin = database.store().await;
    let read_only = |value: &'static str| {
        let admin = admin.clone();
        async move {
            let statement = format!(
                "do $$ begin execute format('alter database %I set default_transaction_read_only = {value}', current_database()); end $$"
            );
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(admin.pool()).await.unwrap();
        }
    };
    let store = database.store().await;
    read_only("on").await;
    let refused = append_one(&store, Uuid::new_v4(), Expected::Any).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::ReadOnly))), "{refused:?}");
    sqlx::query("set transaction_read_only = off").execute(admin.pool()).await.unwrap();
    read_only("off").await;
    eventually("appends go on", || async { append_one(&store, Uuid::new_v4(), Expected::Any).await.ok() }).await;
}
