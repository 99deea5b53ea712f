//! The rules of projections, by the numbers of the acceptance list: P1 and P3 to P11, O1, O3 and O4.
//!
//! P2 (a projection in the append's own transaction) does not apply: there is none. An append holds the lock that orders
//! the log, and whatever ran inside it would be paid by every other command; who has to see its own write passes
//! `min_position` (P10). O2 (the oldest append in flight) does not apply either: with one locked head there is at most one
//! batch in flight, and it is bounded by the appender's time-outs. P11: the runner folds serially, and lanes are what
//! would be folded in parallel; a read model whose rows are made from several streams says so with its `lane`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pcs_domain::prompt_card::{PromptCardEvent, Published};
use pcs_projections::{
    Drained, Generation, Lease, Outcome, Policy, Projection, ProjectionState, RunnerConfig, Status, bad_events, pause,
    resume, retry_lane, run, set_policy, skip_lane, states_of, step, step_as, wait_for_position,
};
use pcs_store::{Store, StoreConfig};
use pcs_tests::eventually;
use sqlx::Connection;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::projections::{append, catch_up, content, history};
use crate::tally::{CUT, FATAL, MISFIT, NAME, POISON, Tally, expire, tag, tags};

const PAGE: i64 = 100;
/// The lease of five seconds, and what a busy machine adds.
const TAKE_OVER_MAX: Duration = Duration::from_secs(20);

/// A runner as a process would have it.
struct Running {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    fn start(store: &Store, projection: &Tally) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (store, projection, token) = (store.clone(), Arc::new(projection.clone()), stop.clone());
        tasks.spawn(async move { run(store, projection, RunnerConfig::default(), token).await.unwrap() });
        Self { tasks, stop }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

async fn state(store: &Store, projection: &dyn Projection) -> ProjectionState {
    states_of(store, projection).await.unwrap().remove(0)
}

async fn fold_all(store: &Store, projection: &Tally) {
    while step(store, projection, PAGE).await.unwrap() > 0 {}
}

fn lane(stream: u128) -> Uuid {
    Uuid::from_u128(stream)
}

#[tokio::test]
async fn p1_rows_and_checkpoint_commit_together_wherever_it_is_cut() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for word in ["a", "b", CUT, "d"] {
        tag(&store, 1, word).await;
    }
    // Cut before a row, with rows of the same page written already.
    assert!(step(&store, &tally, PAGE).await.is_err());
    assert_eq!(tags(&store).await, (Vec::new(), 0));
    // Cut after all rows and before the checkpoint.
    tally.mended.store(true, Ordering::SeqCst);
    tally.cut_after.store(true, Ordering::SeqCst);
    assert!(step(&store, &tally, PAGE).await.is_err());
    assert_eq!(tags(&store).await, (Vec::new(), 0));
    assert_eq!(step(&store, &tally, 3).await.unwrap(), 3);
    assert_eq!(tags(&store).await, (vec!["a".into(), "b".into(), CUT.into()], 3));
}

/// Two processes whose connections are cut at random; the read model is compared with the log in the middle of it.
#[tokio::test]
async fn p3_each_event_is_applied_once_through_crashes_and_competition() {
    let (database, store, tally) = Tally::new(Policy::Stop).await;
    let mut config = StoreConfig::new(&database.url, "pcs-cut");
    config.connections_max = 4;
    let stores = [Store::connect(&config).await.unwrap(), Store::connect(&config).await.unwrap()];
    let running: Vec<_> = stores.iter().map(|store| Running::start(store, &tally)).collect();
    for number in 0..200_u128 {
        tag(&store, number % 7, "x").await;
        if number % 10 == 0 {
            eventually("there is a connection to cut", || async {
                let cut = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
                           where datname = current_database() and application_name = 'pcs-cut'";
                let cut: i64 = sqlx::query_scalar(cut).fetch_one(store.pool()).await.unwrap();
                (cut > 0).then_some(())
            })
            .await;
            let (seen, position) = tags(&store).await;
            assert_eq!(i64::try_from(seen.len()).unwrap(), position, "rows and checkpoint are of one moment");
        }
    }
    assert!(wait_for_position(store.pool(), NAME, 200, Duration::from_secs(60)).await.unwrap());
    for running in running {
        running.stop().await;
    }
    assert_eq!(tags(&store).await.0.len(), 200);
}

#[tokio::test]
async fn p4_a_stale_owner_writes_neither_row_nor_checkpoint() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    let stale = Lease::take(store.pool(), NAME, Generation::Live).await.unwrap().unwrap();
    assert!(Lease::take(store.pool(), NAME, Generation::Live).await.unwrap().is_none(), "it is somebody's");
    expire(&store, NAME, "live").await;
    let owner = Lease::take(store.pool(), NAME, Generation::Live).await.unwrap().unwrap();
    assert_eq!(step_as(&store, &tally, &stale, PAGE).await.unwrap().outcome, Outcome::Fenced);
    assert_eq!(tags(&store).await, (Vec::new(), 0));
    let stepped = step_as(&store, &tally, &owner, PAGE).await.unwrap();
    assert_eq!((stepped.outcome, stepped.events, stepped.position), (Outcome::Moved, 1, 1));
    assert_eq!(step_as(&store, &tally, &owner, PAGE).await.unwrap().outcome, Outcome::AtRest);
    tag(&store, 1, "b").await;
    assert_eq!(step_as(&store, &tally, &stale, PAGE).await.unwrap().outcome, Outcome::Fenced);
    assert_eq!(tags(&store).await, (vec!["a".into()], 1));
}

#[tokio::test]
async fn p5_one_is_paused_and_the_others_go_on() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    fold_all(&store, &tally).await;
    pause(&store, &tally, Generation::Live).await.unwrap();
    tag(&store, 1, "b").await;
    // Another process starts, and it stays paused.
    let running = Running::start(&store, &tally);
    for projection in pcs_projections::all() {
        catch_up(&store, &*projection, PAGE).await;
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(tags(&store).await, (vec!["a".into()], 1));
    assert_eq!(state(&store, &tally).await.status, Status::Paused);
    resume(&store, &tally, Generation::Live).await.unwrap();
    assert!(wait_for_position(store.pool(), NAME, 2, Duration::from_secs(10)).await.unwrap());
    running.stop().await;
    assert_eq!(tags(&store).await.0, ["a", "b"]);
}

#[tokio::test]
async fn p6_it_stops_in_front_of_a_bad_event_and_says_why() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for (stream, word) in [(1, "a"), (2, "b"), (1, MISFIT), (2, "d")] {
        tag(&store, stream, word).await;
    }
    fold_all(&store, &tally).await;
    assert_eq!(tags(&store).await, (vec!["a".into(), "b".into()], 2));
    let stopped = state(&store, &tally).await;
    let failure = stopped.failure.unwrap();
    assert_eq!((stopped.status, stopped.failures), (Status::Stopped, 1));
    assert_eq!((failure.position, failure.stream_id, failure.version), (3, lane(1), 2));
    assert_eq!(failure.event_type, "prompt_card.tagged.v1");
    assert!(failure.error.contains("division by zero"), "{}", failure.error);
    // Resumed without a cure it stops at the same place again.
    resume(&store, &tally, Generation::Live).await.unwrap();
    assert!(state(&store, &tally).await.failure.is_none());
    fold_all(&store, &tally).await;
    assert_eq!((state(&store, &tally).await.status, tags(&store).await.1), (Status::Stopped, 2));
}

#[tokio::test]
async fn p7_a_parked_stream_waits_in_order_and_the_others_go_on() {
    let (_database, store, tally) = Tally::new(Policy::ParkStream).await;
    for (stream, word) in [(1, "a"), (1, POISON), (2, "b"), (1, "c"), (2, "d")] {
        tag(&store, stream, word).await;
    }
    fold_all(&store, &tally).await;
    // On a later page as well.
    tag(&store, 1, "e").await;
    tag(&store, 2, "f").await;
    fold_all(&store, &tally).await;
    assert_eq!(tags(&store).await, (["a", "b", "d", "f"].map(String::from).to_vec(), 7));
    let parked = bad_events(store.pool(), Some(NAME), 0, 10).await.unwrap();
    let found: Vec<_> = parked.iter().map(|event| (event.position, event.state.as_str(), event.attempts)).collect();
    assert_eq!(found, [(2, "parked", 1), (4, "queued", 0), (6, "queued", 0)]);
    assert!(parked[0].error.as_ref().unwrap().contains("it is poison"));
    // Tried without a cure: it stays, and is counted.
    assert_eq!(retry_lane(&store, &tally, 1, lane(1)).await.unwrap(), Drained { applied: 0, left: 3 });
    assert_eq!(bad_events(store.pool(), Some(NAME), 0, 10).await.unwrap()[0].attempts, 2);
    tally.mended.store(true, Ordering::SeqCst);
    assert_eq!(retry_lane(&store, &tally, 1, lane(1)).await.unwrap(), Drained { applied: 3, left: 0 });
    assert_eq!(tags(&store).await.0, ["a", POISON, "b", "c", "d", "e", "f"]);
    assert!(retry_lane(&store, &tally, 1, lane(1)).await.is_err(), "nothing is parked any more");
    // C8: the checkpoint did not move, and later events of the stream are not held back.
    tag(&store, 1, "g").await;
    fold_all(&store, &tally).await;
    assert_eq!(tags(&store).await.1, 8);
    assert_eq!(state(&store, &tally).await.parked, 0);
}

#[tokio::test]
async fn p7_a_parked_event_can_be_given_up() {
    let (_database, store, tally) = Tally::new(Policy::ParkStream).await;
    for word in ["a", POISON, "c", POISON, "e"] {
        tag(&store, 1, word).await;
    }
    fold_all(&store, &tally).await;
    assert_eq!(skip_lane(&store, &tally, 1, lane(1)).await.unwrap(), Drained { applied: 1, left: 2 });
    assert_eq!(skip_lane(&store, &tally, 1, lane(1)).await.unwrap(), Drained { applied: 1, left: 0 });
    assert_eq!(tags(&store).await.0, ["a", "c", "e"]);
    let state = state(&store, &tally).await;
    assert_eq!((state.parked, state.skipped), (0, 2));
}

#[tokio::test]
async fn p8_a_skipped_event_is_recorded_with_its_error() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for word in ["a", POISON, MISFIT, "d"] {
        tag(&store, 1, word).await;
    }
    step(&store, &tally, 1).await.unwrap();
    set_policy(&store, &tally, Generation::Live, Some(Policy::Skip)).await.unwrap();
    fold_all(&store, &tally).await;
    assert_eq!(tags(&store).await, (vec!["a".into(), "d".into()], 4));
    let skipped = bad_events(store.pool(), Some(NAME), 0, 10).await.unwrap();
    assert_eq!(skipped.iter().map(|event| event.state.as_str()).collect::<Vec<_>>(), ["skipped", "skipped"]);
    assert!(skipped[1].error.as_ref().unwrap().contains("division by zero"));
    let state = state(&store, &tally).await;
    assert_eq!((state.status, state.failures, state.skipped, state.parked), (Status::Running, 2, 2, 0));
}

#[tokio::test]
async fn p9_an_unknown_type_is_an_error_only_for_those_who_subscribe_to_it() {
    let (database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    append(&store, lane(2), &[PromptCardEvent::Published(Published {})]).await;
    tag(&store, 1, "c").await;
    // To a process that starts now, the second event is of a type that it has never heard of.
    let rename = "update es.event_type set name = $2 where name = $1";
    let rename = async |from: &str, to: &str| {
        sqlx::query(rename).bind(from).bind(to).execute(store.pool()).await.unwrap();
    };
    rename("prompt_card.published", "prompt_card.novel").await;
    let older = database.store().await;
    fold_all(&older, &tally).await;
    let stopped = state(&older, &tally).await;
    assert_eq!((stopped.status, stopped.position), (Status::Stopped, 1));
    assert_eq!(stopped.failure.unwrap().event_type, "prompt_card.novel.v1");
    let results = pcs_projections::execution_results::ExecutionResults;
    while step(&older, &results, PAGE).await.unwrap() > 0 {}
    let passed = state(&older, &results).await;
    assert_eq!((passed.status, passed.position, passed.passed_over), (Status::Running, 3, 3));
    // A build that knows it goes on by itself when it takes over.
    sqlx::query("delete from es.event_type where name = 'prompt_card.published'").execute(store.pool()).await.unwrap();
    rename("prompt_card.novel", "prompt_card.published").await;
    let newer = database.store().await;
    let running = Running::start(&newer, &tally);
    assert!(wait_for_position(store.pool(), NAME, 3, Duration::from_secs(10)).await.unwrap());
    running.stop().await;
    assert_eq!(tags(&store).await.0, ["a", "c"]);
}

#[tokio::test]
async fn p10_waiting_for_a_position_ends_when_it_is_applied_or_in_time() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    assert!(!wait_for_position(store.pool(), NAME, 1, Duration::from_millis(50)).await.unwrap());
    let running = Running::start(&store, &tally);
    assert!(wait_for_position(store.pool(), NAME, 1, Duration::from_secs(10)).await.unwrap());
    assert_eq!(tags(&store).await.0, ["a"]);
    running.stop().await;
}

/// Folded lane by lane, in any number of partitions, a read model is the same.
#[tokio::test]
async fn p11_lanes_can_be_folded_apart() {
    let store = TestStore::with_history().await;
    for projection in pcs_projections::all() {
        catch_up(&store, &*projection, PAGE).await;
        let serial = content(&store, &*projection).await;
        for partitions in [1_u128, 2, 5] {
            pcs_projections::reset(store.pool(), &*projection).await.unwrap();
            let page = store.read_page(0, 10_000, &projection.subscribed()).await.unwrap();
            let mut folds = JoinSet::new();
            for partition in 0..partitions {
                let is_mine = |event: &&_| projection.lane(event).as_u128() % partitions == partition;
                let events: Vec<_> = page.events.iter().filter(is_mine).cloned().collect();
                let (pool, projection) = (store.pool().clone(), Arc::clone(&projection));
                folds.spawn(async move {
                    let mut connection = pool.acquire().await.unwrap();
                    let mut transaction = connection.begin().await.unwrap();
                    sqlx::query("set local search_path = read").execute(&mut *transaction).await.unwrap();
                    projection.apply(&mut transaction, &events).await.unwrap();
                    transaction.commit().await.unwrap();
                });
            }
            while let Some(folded) = folds.join_next().await {
                folded.unwrap();
            }
            assert_eq!(content(&store, &*projection).await, serial, "{} in {partitions}", projection.name());
        }
    }
}

struct TestStore;

impl TestStore {
    async fn with_history() -> Store {
        let store = pcs_tests::database::TestDatabase::new().await.store().await;
        history(&store).await;
        store
    }
}

/// C7: an event that ends the process each time is found, and then the policy decides.
#[tokio::test]
async fn an_event_that_kills_its_process_stops_the_projection_and_not_every_process() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for word in ["a", "b", FATAL, "d"] {
        tag(&store, 1, word).await;
    }
    let mut deaths = 0;
    while state(&store, &tally).await.status != Status::Stopped {
        assert!(deaths < 10, "it is never found");
        let mut running = Running::start(&store, &tally);
        tokio::select! {
            ended = running.tasks.join_next() => {
                assert!(ended.unwrap().is_err(), "it ends by its panic only");
                deaths += 1;
            }
            () = eventually_stopped(&store, &tally) => running.stop().await,
        }
        expire(&store, NAME, "live").await;
    }
    let failure = state(&store, &tally).await.failure.unwrap();
    assert_eq!(failure.position, 3);
    assert!(failure.error.contains("ended 3 times"), "{}", failure.error);
    assert_eq!(tags(&store).await, (vec!["a".into(), "b".into()], 2));
}

/// A process that ended leaves the suspicion behind; connections that break after it are no deaths of the next one.
#[tokio::test]
async fn a_connection_that_breaks_again_and_again_condemns_no_event() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, CUT).await;
    for _ in 0..2 {
        assert!(Lease::take(store.pool(), NAME, Generation::Live).await.unwrap().is_some());
        expire(&store, NAME, "live").await;
    }
    let running = Running::start(&store, &tally);
    let often = || async { (tally.cuts.load(Ordering::SeqCst) > 4).then_some(()) };
    eventually("the connection broke more often than an event may end a process", often).await;
    tally.mended.store(true, Ordering::SeqCst);
    assert!(wait_for_position(store.pool(), NAME, 1, Duration::from_secs(20)).await.unwrap());
    assert_eq!(state(&store, &tally).await.status, Status::Running);
    running.stop().await;
}

async fn eventually_stopped(store: &Store, tally: &Tally) {
    while state(store, tally).await.status != Status::Stopped {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn o1_the_lag_is_right_at_rest_under_load_and_while_paused() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    tag(&store, 1, "a").await;
    fold_all(&store, &tally).await;
    let rest = state(&store, &tally).await;
    assert_eq!((rest.lag_events, rest.lag_seconds), (0, 0.0));
    tokio::time::sleep(Duration::from_millis(300)).await;
    tag(&store, 1, "b").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    tag(&store, 1, "c").await;
    pause(&store, &tally, Generation::Live).await.unwrap();
    let paused = state(&store, &tally).await;
    assert_eq!(paused.lag_events, 2);
    assert!((0.2..30.0).contains(&paused.lag_seconds), "{}", paused.lag_seconds);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(state(&store, &tally).await.lag_seconds >= paused.lag_seconds + 0.2, "it grows while it is paused");
    resume(&store, &tally, Generation::Live).await.unwrap();
    step(&store, &tally, 1).await.unwrap();
    let behind = state(&store, &tally).await;
    assert_eq!(behind.lag_events, 1);
    assert!(behind.lag_seconds < paused.lag_seconds + 30.0 && behind.lag_seconds > 0.0);
    fold_all(&store, &tally).await;
    assert_eq!(state(&store, &tally).await.lag_seconds, 0.0);
}

/// The checkpoint moves over what it does not use: at rest it is level with the log (S8).
#[tokio::test]
async fn o1_events_that_it_does_not_use_are_no_lag() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    let results = pcs_projections::execution_results::ExecutionResults;
    for _ in 0..30 {
        tag(&store, 1, "a").await;
    }
    assert_eq!(step(&store, &results, 7).await.unwrap(), 0);
    let state = state(&store, &results).await;
    assert_eq!((state.position, state.lag_events, state.passed_over), (30, 0, 30));
    fold_all(&store, &tally).await;
}

#[tokio::test]
async fn o3_a_graceful_stop_gives_the_lease_back_and_repeats_nothing() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    for round in 1..=3 {
        let running = Running::start(&store, &tally);
        for _ in 0..20 {
            tag(&store, 1, "x").await;
        }
        running.stop().await;
        let state = state(&store, &tally).await;
        assert_eq!(state.owner, None, "the next one need not wait");
        let (seen, position) = tags(&store).await;
        assert_eq!(i64::try_from(seen.len()).unwrap(), position, "round {round}");
    }
    fold_all(&store, &tally).await;
    assert_eq!(tags(&store).await.0.len(), 60);
}

#[tokio::test]
async fn o4_another_takes_over_within_seconds_and_never_two_write() {
    let (_database, store, tally) = Tally::new(Policy::Stop).await;
    let first = Running::start(&store, &tally);
    tag(&store, 1, "a").await;
    assert!(wait_for_position(store.pool(), NAME, 1, Duration::from_secs(10)).await.unwrap());
    let owner = state(&store, &tally).await.owner;
    let second = Running::start(&store, &tally);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(state(&store, &tally).await.owner, owner, "the second stands by");
    // The first dies without a word.
    drop(first);
    tag(&store, 1, "b").await;
    let died = tokio::time::Instant::now();
    eventually("the second takes over", || async { (tags(&store).await.1 == 2).then_some(()) }).await;
    assert!(died.elapsed() < TAKE_OVER_MAX, "it took {:?}", died.elapsed());
    assert_ne!(state(&store, &tally).await.owner, owner);
    second.stop().await;
}
