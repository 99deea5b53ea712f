//! Rebuilding read models, by the numbers of the acceptance list: B1 to B8, B10, and P10 across a promotion.
//!
//! B9 (side effects do not fire for history) does not apply: a projection writes its own tables and nothing else; what
//! acts on events is the relay, which has a desk and a checkpoint of its own and is not rebuilt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcs_projections::execution_results::ExecutionResults;
use pcs_projections::{
    BuildEnd, BuildProgress, ControlError, Generation, Policy, Projection, RebuildConfig, RunnerConfig, Status,
    drop_generation, pause, promote, rebuild, rollback, run, shadow, states_of, step, wait_for_position,
};
use pcs_store::Store;
use pcs_tests::database::TestDatabase;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::projections::{catch_up, content, history};
use crate::tally::{NAME, POISON, Tally, expire, tag, tags};

fn quiet(_: BuildProgress) {}

fn pages_of(page_len: i64) -> RebuildConfig {
    RebuildConfig { page_len, ..RebuildConfig::default() }
}

async fn build(store: &Store, projection: &dyn Projection, page_len: i64) -> BuildEnd {
    rebuild(store, projection, pages_of(page_len), CancellationToken::new(), &quiet).await.unwrap()
}

/// Keeps a read model up until the token is cancelled.
fn living(store: &Store, projection: Arc<dyn Projection>, stop: &CancellationToken) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (store, stop) = (store.clone(), stop.clone());
    tasks.spawn(async move { run(store, projection, RunnerConfig::default(), stop).await.unwrap() });
    tasks
}

/// The keys, indexes and storage options of tables: what a rebuild could forget.
async fn definition(store: &Store, schema: &str, tables: &[&str]) -> Vec<String> {
    sqlx::query_scalar(
        "select replace(pg_get_indexdef(x.indexrelid), $1 || '.', '') || coalesce(t.reloptions::text, '')
         from pg_index x join pg_class t on t.oid = x.indrelid join pg_namespace n on n.oid = t.relnamespace
         where n.nspname = $1 and t.relname = any($2) order by 1",
    )
    .bind(schema)
    .bind(tables)
    .fetch_all(store.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn b1_a_rebuild_equals_a_fold_from_the_start() {
    let store = TestDatabase::new().await.store().await;
    history(&store).await;
    for projection in pcs_projections::all() {
        let projection = &*projection;
        catch_up(&store, projection, 1_000).await;
        let folded = content(&store, projection).await;
        let defined = definition(&store, "read", projection.tables()).await;
        let head = store.head().await.unwrap();
        assert_eq!(build(&store, projection, 5).await, BuildEnd::Ready(head), "{}", projection.name());
        let compared = shadow(&store, projection).await.unwrap();
        assert!(compared.equal && compared.position == head, "{compared:?}");
        assert_eq!(promote(&store, projection).await.unwrap(), head);
        assert_eq!(content(&store, projection).await, folded, "{}", projection.name());
        assert_eq!(definition(&store, "read", projection.tables()).await, defined, "no index is missing");
    }
}

#[tokio::test]
async fn b1_and_b2_appends_and_reads_go_on_during_a_rebuild_and_over_the_promotion() {
    let (database, store, tally) = Tally::new(Policy::Stop).await;
    let stop = CancellationToken::new();
    let mut tasks = living(&store, Arc::new(tally.clone()), &stop);
    for number in 0..50 {
        tag(&store, number % 5, "x").await;
    }
    let appending = Arc::new(AtomicBool::new(true));
    let (appender, flag) = (database.store().await, Arc::clone(&appending));
    tasks.spawn(async move {
        while flag.load(Ordering::SeqCst) {
            tag(&appender, 9, "y").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // A reader asks for what is committed and must always get it, and never less than before.
    let (reader, flag) = (database.store().await, Arc::clone(&appending));
    tasks.spawn(async move {
        let mut most = 0;
        while flag.load(Ordering::SeqCst) {
            let head = reader.head().await.unwrap();
            assert!(wait_for_position(reader.pool(), NAME, head, Duration::from_secs(20)).await.unwrap());
            let rows: i64 =
                sqlx::query_scalar("select count(*) from read.tally").fetch_one(reader.pool()).await.unwrap();
            assert!(rows >= head && rows >= most, "{rows} rows of {head}, and {most} before");
            most = rows;
        }
    });
    for page_len in [20, 500] {
        assert!(matches!(build(&store, &tally, page_len).await, BuildEnd::Ready(_)));
        assert!(shadow(&store, &tally).await.unwrap().equal);
        promote(&store, &tally).await.unwrap();
    }
    rollback(&store, &tally).await.unwrap();
    appending.store(false, Ordering::SeqCst);
    let head = store.head().await.unwrap();
    assert!(wait_for_position(store.pool(), NAME, head, Duration::from_secs(20)).await.unwrap());
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let head = store.head().await.unwrap();
    while step(&store, &tally, 1_000).await.unwrap() > 0 {}
    assert_eq!(i64::try_from(tags(&store).await.0.len()).unwrap(), head);
}

#[tokio::test]
async fn b2_until_the_promotion_readers_see_the_old_one() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    while step(&store, &tally, 10).await.unwrap() > 0 {}
    sqlx::query("update read.tally set tag = 'wrong'").execute(store.pool()).await.unwrap();
    build(&store, &tally, 10).await;
    assert_eq!(tags(&store).await.0, ["wrong"]);
    let compared = shadow(&store, &tally).await.unwrap();
    assert!(!compared.equal && compared.tables[0].differing.len() == 1, "{compared:?}");
    promote(&store, &tally).await.unwrap();
    assert_eq!(tags(&store).await.0, ["a"]);
    // And back, level with the log.
    tag(&store, 1, "b").await;
    while step(&store, &tally, 10).await.unwrap() > 0 {}
    assert_eq!(rollback(&store, &tally).await.unwrap(), 2);
    assert_eq!(tags(&store).await, (vec!["wrong".into(), "b".into()], 2));
    rollback(&store, &tally).await.unwrap();
    assert_eq!(tags(&store).await.0, ["a", "b"]);
    drop_generation(&store, &tally, Generation::Old).await.unwrap();
    assert!(matches!(rollback(&store, &tally).await, Err(ControlError::NoGeneration { .. })));
}

/// Killed at any point: what runs is dropped where it stands, its connections with it.
#[tokio::test]
async fn b3_a_rebuild_that_is_killed_goes_on_and_ends_as_if_it_was_not() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let projection = ExecutionResults;
    catch_up(&store, &projection, 1_000).await;
    let folded = content(&store, &projection).await;
    let head = store.head().await.unwrap();
    let mut kills = 0;
    for lives in 1..200_u64 {
        let stop = CancellationToken::new();
        // Its own connections, as a process has them: one that is dropped in a transaction must not be the next one's.
        let own = database.store().await;
        let building = rebuild(&own, &projection, pages_of(2), stop, &quiet);
        match tokio::time::timeout(Duration::from_millis(5 * lives), building).await {
            // What the one before had asked for was still under way: it has the lease, and is dead.
            Ok(Err(ControlError::Busy { .. })) => (),
            Ok(ended) => {
                assert_eq!(ended.unwrap(), BuildEnd::Ready(head));
                break;
            }
            Err(_) => kills += 1,
        }
        drop(tokio::time::timeout(Duration::from_secs(5), own.pool().close()).await);
        expire(&store, projection.name(), "next").await;
    }
    assert!(kills > 3, "it was killed {kills} times only");
    assert!(shadow(&store, &projection).await.unwrap().equal);
    promote(&store, &projection).await.unwrap();
    assert_eq!(content(&store, &projection).await, folded);
}

#[tokio::test]
async fn b4_a_rebuild_of_nothing_ends_at_once() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    assert_eq!(build(&store, &tally, 10).await, BuildEnd::Ready(0));
    promote(&store, &tally).await.unwrap();
    // And where there are events, and none is for it.
    for _ in 0..25 {
        tag(&store, 1, "a").await;
    }
    assert_eq!(build(&store, &ExecutionResults, 10).await, BuildEnd::Ready(25));
}

#[tokio::test]
async fn b5_a_bad_event_is_treated_by_the_policy_of_the_rebuild() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for word in ["a", POISON, "c"] {
        tag(&store, 1, word).await;
    }
    assert_eq!(build(&store, &tally, 10).await, BuildEnd::Stopped(1));
    let states = states_of(&store, &tally).await.unwrap();
    assert_eq!((states[1].status, states[1].failure.as_ref().unwrap().position), (Status::Stopped, 2));
    assert!(matches!(promote(&store, &tally).await, Err(ControlError::NotNow { .. })));
    let skipping = RebuildConfig { policy: Some(Policy::Skip), ..pages_of(10) };
    let ended = rebuild(&store, &tally, skipping, CancellationToken::new(), &quiet).await.unwrap();
    assert_eq!(ended, BuildEnd::Ready(3));
    promote(&store, &tally).await.unwrap();
    assert_eq!(tags(&store).await, (vec!["a".into(), "c".into()], 3));
    assert_eq!(states_of(&store, &tally).await.unwrap()[0].skipped, 1);
}

#[tokio::test]
async fn b6_a_rebuild_ends_exactly_at_the_boundary_of_a_page() {
    for events in [9, 10, 11, 19, 20, 21] {
        let (_database, store, tally) = Tally::new(Policy::Stop).await;
        for _ in 0..events {
            tag(&store, 1, "x").await;
        }
        assert_eq!(build(&store, &tally, 10).await, BuildEnd::Ready(events));
        promote(&store, &tally).await.unwrap();
        assert_eq!(tags(&store).await.0.len(), usize::try_from(events).unwrap());
    }
}

#[tokio::test]
async fn b7_a_cancelled_or_paused_rebuild_keeps_its_progress() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for _ in 0..30 {
        tag(&store, 1, "x").await;
    }
    let stop = CancellationToken::new();
    let cancel = |progress: BuildProgress| {
        if progress.position >= 10 {
            stop.cancel();
        }
    };
    let ended = rebuild(&store, &tally, pages_of(5), stop.clone(), &cancel).await.unwrap();
    assert_eq!(ended, BuildEnd::Cancelled(10));
    let states = states_of(&store, &tally).await.unwrap();
    assert_eq!((states[1].position, states[1].status), (10, Status::Building));
    let rows: i64 = sqlx::query_scalar("select count(*) from read_next.tally").fetch_one(store.pool()).await.unwrap();
    assert_eq!(rows, 10, "partial, and consistent");
    // Paused from elsewhere while it runs.
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |progress: BuildProgress| sender.send(progress.position).unwrap();
    let (ended, ()) = tokio::join!(rebuild(&store, &tally, pages_of(1), CancellationToken::new(), &tell), async {
        while receiver.recv().await.is_some_and(|position| position < 12) {}
        pause(&store, &tally, Generation::Next).await.unwrap();
    });
    assert!(matches!(ended.unwrap(), BuildEnd::Paused(12..)));
    assert_eq!(build(&store, &tally, 5).await, BuildEnd::Ready(30));
    // Begun anew it is the same.
    let again = RebuildConfig { restart: true, ..pages_of(7) };
    let ended = rebuild(&store, &tally, again, CancellationToken::new(), &quiet).await.unwrap();
    assert_eq!(ended, BuildEnd::Ready(30));
    promote(&store, &tally).await.unwrap();
    assert_eq!(tags(&store).await.0.len(), 30);
}

#[tokio::test]
async fn b8_the_others_are_untouched() {
    let store = TestDatabase::new().await.store().await;
    history(&store).await;
    for projection in pcs_projections::all() {
        catch_up(&store, &*projection, 1_000).await;
    }
    let others = [&pcs_projections::card_list::CardList as &dyn Projection, &pcs_projections::run_summary::RunSummary];
    let mut before = Vec::new();
    for other in others {
        before.push((content(&store, other).await, states_of(&store, other).await.unwrap()));
    }
    build(&store, &ExecutionResults, 10).await;
    promote(&store, &ExecutionResults).await.unwrap();
    for (other, before) in others.into_iter().zip(before) {
        let after = (content(&store, other).await, states_of(&store, other).await.unwrap());
        assert_eq!(after, before, "{}", other.name());
    }
}

#[tokio::test]
async fn b10_of_two_that_rebuild_the_same_one_does() {
    let (database, store, tally) = Tally::new(Policy::Stop).await;
    for _ in 0..50 {
        tag(&store, 1, "x").await;
    }
    let other = database.store().await;
    let (one, two) = tokio::join!(
        rebuild(&store, &tally, pages_of(1), CancellationToken::new(), &quiet),
        rebuild(&other, &tally, pages_of(1), CancellationToken::new(), &quiet),
    );
    let ended = [one, two];
    let built = ended.iter().filter(|ended| matches!(ended, Ok(BuildEnd::Ready(50)))).count();
    let busy = ended.iter().filter(|ended| matches!(ended, Err(ControlError::Busy { .. }))).count();
    assert_eq!((built, busy), (1, 1), "{ended:?}");
}
