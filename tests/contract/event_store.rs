//! The event store's promises against a real PostgreSQL; the numbers are those of the acceptance list it follows.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use pcs_domain::ids::{ActorId, CommandId, PromptCardId, TenantId};
use pcs_domain::prompt_card::{
    Create, PromptCard, PromptCardCommand, PromptCardEvent, PromptCardRejection, Published, Tagged,
};
use pcs_domain::{Category, DomainEvent};
use pcs_store::{
    Append, AppendError, CommandContext, ExecuteError, Expected, Recorded, Store, StoreError, execute, execute_new,
};
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

fn create(title: &str) -> PromptCardCommand {
    PromptCardCommand::Create(Create {
        title: title.to_owned(),
        description: String::new(),
        prompt: "{{question}}".to_owned(),
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

fn conflict(result: Result<pcs_store::Appended, AppendError>) -> i64 {
    match result {
        Err(AppendError::Conflict { actual, .. }) => actual,
        other => panic!("a conflict was expected, not {other:?}"),
    }
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

/// A1 to A5: each expectation against each state of a stream.
#[tokio::test]
async fn expectations_hold_or_conflict_with_the_current_version() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    let two = [published(), published()];
    let first = append(&store, stream, Expected::NoStream, &two).await.unwrap();
    assert_eq!((first.first_position, first.last_position, first.version), (1, 2, 2));
    assert_eq!(conflict(append(&store, stream, Expected::NoStream, &two).await), 2);
    assert_eq!(conflict(append(&store, stream, Expected::Exact(1), &two).await), 2);
    assert_eq!(conflict(append(&store, stream, Expected::Exact(9), &two).await), 2);
    assert_eq!(append(&store, stream, Expected::Exact(2), &[published()]).await.unwrap().version, 3);
    assert_eq!(append(&store, stream, Expected::Exists, &[published()]).await.unwrap().version, 4);
    assert_eq!(append(&store, stream, Expected::Any, &[published()]).await.unwrap().version, 5);
    assert_eq!(conflict(append(&store, Uuid::new_v4(), Expected::Exists, &two).await), 0);
    assert_eq!(append(&store, Uuid::new_v4(), Expected::Any, &two).await.unwrap().version, 2);
    // A10: nothing of what was refused took a position.
    assert_eq!(store.head().await.unwrap(), 7);
    assert_eq!(whole_log(&store).await.len(), 7);
}

/// A7: of two writers with the same expectation exactly one succeeds.
#[tokio::test]
async fn one_of_two_writers_wins() {
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
async fn parallel_appends_to_one_stream_are_numbered_without_gaps() {
    let database = TestDatabase::new().await;
    let stores = [database.store().await, database.store().await];
    let stream = Uuid::new_v4();
    let results = join_all((0..40).map(|i| append_one(&stores[i % 2], stream, Expected::Any))).await;
    let versions: BTreeSet<i64> = results.into_iter().map(|result| result.unwrap().version).collect();
    assert_eq!(versions, (1..=40).collect());
    let stored = stores[0].read_stream(TENANT, stream, 0, 100).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.version).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}

/// A11 and A12: nothing is nothing, and ten thousand are one.
#[tokio::test]
async fn no_events_write_nothing_and_many_are_atomic() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    let many: Vec<PromptCardEvent> =
        (0..10_000).map(|i| PromptCardEvent::Tagged(Tagged { tags: vec![i.to_string()] })).collect();
    let appended = append(&store, stream, Expected::NoStream, &many).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position, appended.version), (1, 10_000, 10_000));
    let log = whole_log(&store).await;
    let tags: Vec<String> = log
        .iter()
        .map(|recorded| match &recorded.event {
            DomainEvent::PromptCard(PromptCardEvent::Tagged(e)) => e.tags[0].clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tags, (0..10_000).map(|i| i.to_string()).collect::<Vec<_>>());
}

/// A16: the log can't be changed, not even by its owner.
#[tokio::test]
async fn the_log_is_append_only() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), Expected::Any, &[published()]).await.unwrap();
    for statement in ["update es.event set payload = '{}'", "delete from es.event", "truncate es.event"] {
        let error = sqlx::query(statement).execute(store.pool()).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
}

/// A19: the conflict of one command does not touch its neighbours of the same batch.
#[tokio::test]
async fn a_conflict_does_not_fail_its_neighbours() {
    let store = TestDatabase::new().await.store().await;
    let taken = Uuid::new_v4();
    append(&store, taken, Expected::Any, &[published()]).await.unwrap();
    let results = join_all((0..100).map(|i| {
        let stream = if i % 10 == 0 { taken } else { Uuid::new_v4() };
        append_one(&store, stream, Expected::NoStream)
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 90);
    assert_eq!(store.head().await.unwrap(), 91);
}

/// I1 to I3, I6: a command that is sent again has its first result, whatever has happened since.
#[tokio::test]
async fn a_command_that_is_sent_again_has_its_first_result() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    let command = remembered(Uuid::new_v4(), 1);
    let first = append_as(&store, command.clone(), stream, Expected::NoStream, &[published()]).await.unwrap();
    append(&store, stream, Expected::Any, &[published()]).await.unwrap();
    for expected in [Expected::NoStream, Expected::Any, Expected::Exact(7)] {
        let again = append_as(&store, command.clone(), stream, expected, &[published()]).await.unwrap();
        assert!(again.duplicate);
        assert_eq!(again.last_position, first.last_position);
    }
    assert_eq!(store.head().await.unwrap(), 2);
    let other = CommandContext { fingerprint: Some(Uuid::from_u128(2)), ..command };
    let reused = append_as(&store, other, stream, Expected::Any, &[published()]).await;
    assert!(matches!(reused, Err(AppendError::KeyReused)), "{reused:?}");
}

/// I8: the same command from many callers of two processes at once is executed once, and all get its result.
#[tokio::test]
async fn identical_commands_at_once_are_one() {
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

/// T1: equal stream and command ids of two tenants have nothing to do with each other.
#[tokio::test]
async fn tenants_do_not_meet() {
    let store = TestDatabase::new().await.store().await;
    let (stream, command_id) = (Uuid::new_v4(), Uuid::new_v4());
    for tenant in [TenantId(1), TenantId(2)] {
        let command = CommandContext { tenant, ..remembered(command_id, 1) };
        let appended = append_as(&store, command, stream, Expected::NoStream, &[published()]).await.unwrap();
        assert!(!appended.duplicate);
    }
    for tenant in [TenantId(1), TenantId(2)] {
        let events = store.read_stream(tenant, stream, 0, 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.tenant).collect::<Vec<_>>(), vec![tenant]);
    }
}

/// M1 and M2: a command over several streams is one, and may check a stream that it does not write.
#[tokio::test]
async fn a_command_over_several_streams_is_all_or_nothing() {
    let store = TestDatabase::new().await.store().await;
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    append(&store, b, Expected::Any, &[published()]).await.unwrap();
    let both = |expected_b| {
        let mut both = Append::new(context());
        store.write(&mut both, a, Expected::NoStream, &[published()]).unwrap();
        store.write(&mut both, b, expected_b, &[published()]).unwrap();
        both
    };
    assert!(matches!(store.append(both(Expected::Exact(5))).await, Err(AppendError::Conflict { actual: 1, .. })));
    assert!(store.read_stream(TENANT, a, 0, 10).await.unwrap().is_empty());
    store.append(both(Expected::Exact(1))).await.unwrap();
    let checked = |version| {
        let mut checked = Append::new(context());
        store.write(&mut checked, a, Expected::Exact(1), &[published()]).unwrap();
        checked.check(Category::PromptCard, b, Expected::Exact(version))
    };
    assert!(matches!(store.append(checked(1)).await, Err(AppendError::Conflict { actual: 2, .. })));
    assert_eq!(store.append(checked(2)).await.unwrap().first_position, 4);
}

/// G10 in a short form: many writers of two processes; a tailing reader sees everything once and in order.
#[tokio::test]
async fn a_tailing_reader_misses_nothing_and_sees_nothing_twice() {
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

/// R5: what surrounds an event is stored with it.
#[tokio::test]
async fn the_circumstances_of_an_event_are_kept() {
    let store = TestDatabase::new().await.store().await;
    let id = Uuid::new_v4;
    let command = CommandContext {
        actor: Some(ActorId(id())),
        correlation_id: Some(id()),
        causation_id: Some(id()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..context()
    };
    let stream = id();
    append_as(&store, command.clone(), stream, Expected::Any, &[published()]).await.unwrap();
    let event = store.read_stream(TENANT, stream, 0, 1).await.unwrap().remove(0);
    assert_eq!(event.actor, command.actor);
    assert_eq!(event.correlation_id, command.correlation_id);
    assert_eq!(event.causation_id, command.causation_id);
    assert_eq!(event.traceparent, command.traceparent);
    assert_eq!(event.command_id, command.command_id);
}

/// R6: an event that can't be read stops its reader with its place, and is not left out.
#[tokio::test]
async fn an_unreadable_event_stops_its_reader() {
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

/// A rejection is the domain's word, a stale revision is a conflict, and neither writes anything.
#[tokio::test]
async fn rules_and_revisions_refuse_differently() {
    let store = TestDatabase::new().await.store().await;
    let card = PromptCardId(Uuid::new_v4());
    let made = execute_new::<PromptCard>(&store, &context(), card.0, create("one")).await.unwrap();
    assert_eq!((made.revision, made.position), (1, Some(1)));
    let again = execute_new::<PromptCard>(&store, &context(), card.0, create("one")).await;
    assert!(matches!(again, Err(ExecuteError::Rejected(PromptCardRejection::AlreadyExists))), "{again:?}");
    let stale = execute::<PromptCard>(&store, &context(), card.0, Expected::Exact(7), PromptCardCommand::Publish).await;
    assert!(matches!(stale, Err(ExecuteError::Conflict { actual: 1, .. })), "{stale:?}");
    let publish = || async {
        execute::<PromptCard>(&store, &context(), card.0, Expected::Exists, PromptCardCommand::Publish).await
    };
    assert_eq!(publish().await.unwrap().position, Some(2));
    assert_eq!(publish().await.unwrap().position, None);
    assert_eq!(store.head().await.unwrap(), 2);
}

/// O6 and I10: the store goes on after its connections were cut, and an unknown outcome can be sent again.
#[tokio::test]
async fn cut_connections_lose_nothing_that_was_acknowledged() {
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
