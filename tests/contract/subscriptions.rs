//! Subscriptions against a real PostgreSQL; each test has the numbers of the acceptance cases that it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pcs_domain::Category;
use pcs_store::{
    CursorError, Exhausted, Filter, InvalidLane, Lane, POLL_INTERVAL, Policy, Refusal, Retried, Signal, StartFrom,
    Store, Subscription, SubscriptionError, SubscriptionStatus,
};
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use pcs_tests::subscriber::{Running, Subscriber, append, assert_in_order, subscription};
use tokio::task::JoinSet;
use uuid::Uuid;

/// More than the process's reader keeps.
const MORE_THAN_KEPT: usize = 70_000;

async fn status(store: &Store, name: &str) -> SubscriptionStatus {
    let all = store.subscriptions().await.unwrap();
    all.into_iter().find(|status| status.name == name).expect("the subscription is there")
}

async fn reaches(store: &Store, name: &str, position: i64) {
    eventually("the checkpoint is stored", || async {
        let all = store.subscriptions().await.unwrap();
        all.into_iter().find(|status| status.name == name && status.position >= position)
    })
    .await;
}

async fn long_log(store: &Store) -> i64 {
    let mut last = 0;
    for _ in 0..MORE_THAN_KEPT / 1_000 {
        last = append(store, Uuid::new_v4(), 1_000).await;
    }
    last
}

#[tokio::test]
async fn s1_each_start_delivers_exactly_its_set() {
    let store = TestDatabase::new().await.store().await;
    let (empty, late) = (Subscriber::new(), Subscriber::new());
    let on_empty = Running::start(&store, &subscription("empty"), &empty);
    let now_on_empty = Subscription { from: StartFrom::Now, ..subscription("late") };
    let late_running = Running::start(&store, &now_on_empty, &late);
    eventually("both have begun", || async { (store.subscriptions().await.unwrap().len() == 2).then_some(()) }).await;
    append(&store, Uuid::new_v4(), 5).await;
    let (from_three, from_now) = (Subscriber::new(), Subscriber::new());
    let three = Subscription { from: StartFrom::Position(3), ..subscription("three") };
    let three = Running::start(&store, &three, &from_three);
    let now = Subscription { from: StartFrom::Now, ..subscription("now") };
    let now = Running::start(&store, &now, &from_now);
    eventually("all have begun", || async { (store.subscriptions().await.unwrap().len() == 4).then_some(()) }).await;
    append(&store, Uuid::new_v4(), 2).await;
    for (subscriber, expected) in [(&empty, 1..=7), (&late, 1..=7), (&from_three, 4..=7), (&from_now, 6..=7)] {
        subscriber.has_seen(expected.clone().count()).await;
        assert_eq!(subscriber.positions(), expected.collect::<Vec<i64>>());
    }
    for running in [on_empty, late_running, three, now] {
        running.stop().await;
    }
    let beyond = Subscription { from: StartFrom::Position(8), ..subscription("beyond") };
    let refused = Running::start(&store, &beyond, &Subscriber::new()).end().await;
    assert!(matches!(refused, Err(SubscriptionError::Position { position: 8, head: 7 })), "{refused:?}");
}

#[tokio::test]
async fn s2_catching_up_hands_over_to_living_without_hole_or_double() {
    let database = TestDatabase::new().await;
    let (store, other) = (database.store().await, database.store().await);
    append(&store, Uuid::new_v4(), 1_500).await;
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let store = if number % 2 == 0 { store.clone() } else { other.clone() };
        writers.spawn(async move {
            let streams = [Uuid::new_v4(), Uuid::new_v4()];
            for round in 0..50 {
                append(&store, streams[round % 2], 3).await;
            }
        });
    }
    let subscriber = Subscriber::new();
    let running = Running::start(&store, &subscription("all"), &subscriber);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    subscriber.has_seen(2_100).await;
    assert_eq!(subscriber.positions(), (1..=2_100).collect::<Vec<i64>>());
    running.stop().await;
}

#[tokio::test]
async fn s3_each_change_between_caught_up_and_behind_is_told_once() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 200).await;
    let subscriber = Subscriber::answering(Duration::from_millis(1), |_, _| Ok(()));
    let small = Subscription { behind_after: 20, ..subscription("small") };
    let running = Running::start(&store, &small, &subscriber);
    let told = |count: usize| {
        let subscriber = &subscriber;
        async move { eventually("it is told", || async { (subscriber.signals().len() >= count).then_some(()) }).await }
    };
    told(1).await;
    for _ in 0..5 {
        append(&store, Uuid::new_v4(), 3).await;
    }
    subscriber.has_seen(215).await;
    append(&store, Uuid::new_v4(), 2_000).await;
    told(3).await;
    subscriber.has_seen(2_215).await;
    running.stop().await;
    assert_eq!(subscriber.signals(), [Signal::CaughtUp, Signal::FellBehind, Signal::CaughtUp]);
}

#[tokio::test]
async fn s4_s5_o3_a_restart_goes_on_after_the_checkpoint_and_repeats_nothing() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 10).await;
    let (first, second) = (Subscriber::answering(Duration::from_millis(2), |_, _| Ok(())), Subscriber::new());
    let now = Subscription { from: StartFrom::Now, checkpoint_every: 1_000, ..subscription("now") };
    let running = Running::start(&store, &now, &first);
    eventually("it has begun", || async { (!store.subscriptions().await.unwrap().is_empty()).then_some(()) }).await;
    append(&store, Uuid::new_v4(), 100).await;
    first.has_seen(10).await;
    // In the middle of a page: it finishes the event in hand, and stores the checkpoint.
    running.stop().await;
    let seen = first.positions().len();
    assert!(seen < 100, "it was stopped before the end");
    assert_eq!(status(&store, "now").await.position, 10 + i64::try_from(seen).unwrap());
    append(&store, Uuid::new_v4(), 5).await;
    let running = Running::start(&store, &now, &second);
    second.has_seen(105 - seen).await;
    running.stop().await;
    let both: Vec<i64> = first.positions().into_iter().chain(second.positions()).collect();
    assert_eq!(both, (11..=115).collect::<Vec<i64>>());
}

#[tokio::test]
async fn s6_a_slow_follower_slows_nobody_and_finds_what_was_forgotten() {
    let store = TestDatabase::new().await.store().await;
    let (fast, slow) = (store.follow(Filter::all()), store.follow(Filter::all()));
    assert_eq!(slow.read(0, 10).await.unwrap().position, 0);
    let mut read = 0;
    for _ in 0..MORE_THAN_KEPT / 1_000 {
        let last = append(&store, Uuid::new_v4(), 1_000).await;
        while read < last {
            let page = fast.next(read, 2_000, POLL_INTERVAL).await.unwrap();
            read = page.position;
        }
    }
    let mut position = 0;
    loop {
        let page = slow.read(position, 1_700).await.unwrap();
        let expected: Vec<i64> = (position + 1..=page.position).collect();
        assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<i64>>(), expected);
        position = page.position;
        if page.caught_up {
            break;
        }
    }
    assert_eq!(position, read);
}

#[tokio::test]
async fn s7_an_error_applies_the_policy_and_names_the_place() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, 5).await;
    let subscriber = Subscriber::answering(Duration::ZERO, |event, _| match event.position {
        4 => Err(Refusal::Failed("the target said no".to_owned())),
        _ => Ok(()),
    });
    let stopping = Subscription { policy: Policy::STOP, ..subscription("stopping") };
    let error = Running::start(&store, &stopping, &subscriber).end().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("event 4") && text.contains(&stream.to_string()) && text.contains("the target said no"));
    assert!(text.contains("prompt_card.published"), "{text}");
    assert_eq!((subscriber.positions(), status(&store, "stopping").await.position), (vec![1, 2, 3], 3));

    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let subscriber = Subscriber::answering(Duration::ZERO, move |event, delivery| {
        let fails = event.position == 4 && counted.fetch_add(1, Ordering::SeqCst) < 3;
        if fails { Err(Refusal::Failed(format!("attempt {}", delivery.attempt))) } else { Ok(()) }
    });
    let policy = Policy { pause_min: Duration::from_millis(1), ..Policy::RETRY };
    let running = Running::start(&store, &Subscription { policy, ..subscription("trying") }, &subscriber);
    subscriber.has_seen(5).await;
    running.stop().await;
    assert_eq!((subscriber.positions(), tries.load(Ordering::SeqCst)), (vec![1, 2, 3, 4, 5], 4));
    assert_eq!(subscriber.seen()[3].1.attempt, 4);
}

#[tokio::test]
async fn s8_a_filter_that_matches_nothing_moves_the_checkpoint() {
    let store = TestDatabase::new().await.store().await;
    let last = long_log(&store).await;
    let nothing = Subscription { filter: Filter::all().categories(&[Category::TestRun]), ..subscription("nothing") };
    let subscriber = Subscriber::new();
    let running = Running::start(&store, &nothing, &subscriber);
    reaches(&store, "nothing", last).await;
    running.stop().await;
    assert!(subscriber.positions().is_empty());
}

#[tokio::test]
async fn s10_a_rewind_delivers_exactly_what_follows_again() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 20).await;
    let subscriber = Subscriber::new();
    let running = Running::start(&store, &subscription("again"), &subscriber);
    subscriber.has_seen(20).await;
    reaches(&store, "again", 20).await;
    store.rewind_subscription("again", 15).await.unwrap();
    subscriber.has_seen(25).await;
    store.rewind_subscription("again", 0).await.unwrap();
    subscriber.has_seen(45).await;
    running.stop().await;
    let expected: Vec<i64> = (1..=20).chain(16..=20).chain(1..=20).collect();
    assert_eq!(subscriber.positions(), expected);
    let refused = store.rewind_subscription("again", 21).await;
    assert!(matches!(refused, Err(SubscriptionError::Position { position: 21, head: 20 })));
    assert!(matches!(store.rewind_subscription("other", 0).await, Err(SubscriptionError::Unknown { .. })));
}

/// Fails when two members are at one lane at once.
struct OneAtATime {
    busy: Vec<AtomicBool>,
}

impl OneAtATime {
    fn new(lanes: u16) -> Arc<Self> {
        Arc::new(Self { busy: (0..lanes).map(|_| AtomicBool::new(false)).collect() })
    }

    fn subscriber(self: &Arc<Self>, clashes: &Arc<AtomicUsize>) -> Arc<Subscriber> {
        let (own, clashes) = (Arc::clone(self), Arc::clone(clashes));
        Subscriber::answering(Duration::ZERO, move |_, delivery| {
            let busy = &own.busy[usize::from(delivery.lane)];
            clashes.fetch_add(usize::from(busy.swap(true, Ordering::SeqCst)), Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
            busy.store(false, Ordering::SeqCst);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_c2_c4_members_share_the_lanes_and_keep_the_order_while_they_come_and_go() {
    let database = TestDatabase::new().await;
    let stores = [database.store().await, database.store().await, database.store().await];
    let (lanes, clashes) = (OneAtATime::new(4), Arc::new(AtomicUsize::new(0)));
    let shared = Subscription { lanes: 4, ..subscription("shared") };
    let subscribers: Vec<_> = stores.iter().map(|_| lanes.subscriber(&clashes)).collect();
    let first = Running::start(&stores[0], &shared, &subscribers[0]);
    let mut writers = JoinSet::new();
    let store = stores[0].clone();
    writers.spawn(async move {
        let streams: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
        for round in 0..400 {
            append(&store, streams[round % 20], 3).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    subscribers[0].has_seen(50).await;
    let second = Running::start(&stores[1], &shared, &subscribers[1]);
    let third = Running::start(&stores[2], &shared, &subscribers[2]);
    subscribers[1].has_seen(20).await;
    subscribers[2].has_seen(20).await;
    second.stop().await;
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    reaches(&stores[0], "shared", 1_200).await;
    first.stop().await;
    third.stop().await;
    let mut positions: Vec<i64> = subscribers.iter().flat_map(|subscriber| subscriber.positions()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=1_200).collect::<Vec<i64>>(), "nothing is lost, and nothing comes twice");
    assert_eq!(clashes.load(Ordering::SeqCst), 0, "two members were at one lane at once");
    let mut all: Vec<_> = subscribers.iter().flat_map(|subscriber| subscriber.seen()).collect();
    all.sort_by_key(|(event, _)| event.position);
    assert_in_order(&all, 1);
    for subscriber in &subscribers {
        let seen = subscriber.seen();
        let in_order = |lane| seen.iter().filter(move |(_, delivery)| delivery.lane == lane);
        for lane in 0..4 {
            assert!(in_order(lane).map(|(event, _)| event.position).is_sorted(), "a lane is worked on in order");
        }
    }
}

#[tokio::test]
async fn c3_a_crash_gives_the_lanes_to_another_within_the_lease() {
    let database = TestDatabase::new().await;
    let (doomed_store, store) = (database.store().await, database.store().await);
    let each = Subscription { checkpoint_every: 1, ..subscription("each") };
    let doomed = Subscriber::answering(Duration::ZERO, |event, _| match event.position {
        ..=5 => Ok(()),
        _ => Err(Refusal::Retry("it hangs here".to_owned())),
    });
    let running = Running::start(&doomed_store, &each, &doomed);
    append(&store, Uuid::new_v4(), 8).await;
    reaches(&store, "each", 5).await;
    let heir = Subscriber::new();
    let heir_running = Running::start(&store, &each, &heir);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(heir.positions().is_empty(), "the lane is held");
    let killed_at = Instant::now();
    running.kill();
    heir.has_seen(3).await;
    assert!(killed_at.elapsed() < each.lease * 2, "it took {:?}", killed_at.elapsed());
    assert_eq!(heir.positions(), [6, 7, 8], "what was acknowledged does not come again");
    heir_running.stop().await;
}

#[tokio::test]
async fn c5_lanes_that_can_not_be_are_refused() {
    let store = TestDatabase::new().await.store().await;
    assert_eq!(Lane::new(4, 4), Err(InvalidLane::Index { index: 4, of: 4 }));
    assert_eq!(Lane::new(0, 0), Err(InvalidLane::Count { of: 0 }));
    let refused = |lanes, name: &str| {
        let described = Subscription { lanes, ..subscription(name) };
        let store = store.clone();
        async move { Running::start(&store, &described, &Subscriber::new()).end().await.unwrap_err() }
    };
    assert!(matches!(refused(0, "none").await, SubscriptionError::Lane(InvalidLane::Count { of: 0 })));
    assert!(matches!(refused(65, "many").await, SubscriptionError::Lane(InvalidLane::Count { of: 65 })));
    assert!(matches!(refused(1, "").await, SubscriptionError::Name));
    let two = Subscription { lanes: 2, ..subscription("two") };
    let running = Running::start(&store, &two, &Subscriber::new());
    eventually("it has begun", || async { (!store.subscriptions().await.unwrap().is_empty()).then_some(()) }).await;
    running.stop().await;
    assert!(matches!(refused(3, "two").await, SubscriptionError::LanesChanged { stored: 2, asked: 3, .. }));
}

#[tokio::test]
async fn c6_the_checkpoint_never_passes_an_event_that_is_not_handled() {
    let store = TestDatabase::new().await.store().await;
    let streams: Vec<Uuid> = (0..16).map(|_| Uuid::new_v4()).collect();
    for stream in &streams {
        append(&store, *stream, 2).await;
    }
    let free = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&free);
    let subscriber = Subscriber::answering(Duration::ZERO, move |event, _| match event.position {
        7 if !opened.load(Ordering::SeqCst) => Err(Refusal::Retry("not yet".to_owned())),
        _ => Ok(()),
    });
    let policy = Policy { pause_min: Duration::from_millis(5), ..Policy::RETRY };
    let wide = Subscription { lanes: 8, checkpoint_every: 1, policy, ..subscription("wide") };
    let running = Running::start(&store, &wide, &subscriber);
    let lane = (0..8).find(|lane| Lane::new(*lane, 8).unwrap().has(streams[3])).unwrap();
    let others = streams.iter().filter(|stream| !Lane::new(lane, 8).unwrap().has(**stream)).count() * 2;
    subscriber.has_seen(others).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(subscriber.positions().iter().any(|position| *position > 7), "other lanes go on");
    assert!(status(&store, "wide").await.position < 7);
    free.store(true, Ordering::SeqCst);
    reaches(&store, "wide", 32).await;
    running.stop().await;
    assert_eq!(subscriber.positions().len(), 32);
}

fn parking(name: &str, attempts_max: u32) -> Subscription {
    let (pause_min, pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    let policy = Policy { attempts_max, pause_min, pause_max, then: Exhausted::Park };
    Subscription { policy, ..subscription(name) }
}

#[tokio::test]
async fn c7_c8_c9_an_event_is_parked_once_and_retried_without_the_checkpoint() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, stream, 6).await;
    let subscriber = Subscriber::answering(Duration::ZERO, |event, _| match event.position {
        2 | 4 => Err(Refusal::Failed(format!("no {}", event.position))),
        _ => Ok(()),
    });
    let running = Running::start(&store, &parking("parking", 3), &subscriber);
    reaches(&store, "parking", 6).await;
    running.stop().await;
    assert_eq!(subscriber.positions(), [1, 3, 5, 6]);
    let parked = store.parked("parking", 0, 10).await.unwrap();
    let found: Vec<_> = parked.iter().map(|parked| (parked.position, parked.attempts, parked.error.as_str())).collect();
    assert_eq!(found, [(2, 3, "no 2"), (4, 3, "no 4")]);
    assert_eq!(
        (parked[0].stream_id, parked[0].event_type.as_deref()),
        (Some(stream), Some("prompt_card.published.v1"))
    );

    // The first fails again, so the second of the same stream is not even tried.
    let stubborn = Subscriber::answering(Duration::ZERO, |_, _| Err(Refusal::Failed("still no".to_owned())));
    let retried = store.retry_parked("parking", &*stubborn, 10).await.unwrap();
    assert_eq!(retried, Retried { handled: 0, left: 2 });
    let again = store.parked("parking", 0, 10).await.unwrap();
    assert_eq!((again[0].attempts, again[1].attempts), (4, 3));

    // Up to N, and nobody else meanwhile.
    let slow = Subscriber::answering(Duration::from_millis(400), |_, _| Ok(()));
    let (retried, (other, discarded)) = tokio::join!(store.retry_parked("parking", &*slow, 1), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        (store.retry_parked("parking", &*subscriber, 1).await, store.discard_parked("parking").await)
    });
    assert_eq!(retried.unwrap(), Retried { handled: 1, left: 0 });
    assert!(matches!(other, Err(SubscriptionError::RetryRunning { .. })), "{other:?}");
    assert!(matches!(discarded, Err(SubscriptionError::RetryRunning { .. })), "{discarded:?}");
    assert_eq!(slow.positions(), [2]);
    assert_eq!(status(&store, "parking").await.position, 6, "the checkpoint stays");
    assert_eq!(store.discard_parked("parking").await.unwrap(), 1);
}

#[tokio::test]
async fn c7_an_event_that_crashes_its_handler_is_parked() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 5).await;
    let subscriber = Subscriber::answering(Duration::ZERO, |event, _| {
        assert!(event.position != 3, "a bug in the handler");
        Ok(())
    });
    let running = Running::start(&store, &parking("crashing", 2), &subscriber);
    reaches(&store, "crashing", 5).await;
    running.stop().await;
    let parked = store.parked("crashing", 0, 10).await.unwrap();
    assert_eq!(parked.iter().map(|parked| (parked.position, parked.attempts)).collect::<Vec<_>>(), [(3, 2)]);
    let mut positions = subscriber.positions();
    positions.dedup();
    assert!(positions.ends_with(&[4, 5]), "{positions:?}");
}

#[tokio::test]
async fn c10_c11_refusals_do_as_they_say_and_a_deleted_subscription_leaves_nothing() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 4).await;
    let retried = Arc::new(AtomicBool::new(false));
    let subscriber = Subscriber::answering(Duration::ZERO, move |event, _| match event.position {
        1 => Err(Refusal::Skip("not for us".to_owned())),
        2 => Err(Refusal::Park("look at it".to_owned())),
        3 if !retried.swap(true, Ordering::SeqCst) => Err(Refusal::Retry("once more".to_owned())),
        _ => Ok(()),
    });
    let running = Running::start(&store, &parking("named", 1), &subscriber);
    reaches(&store, "named", 4).await;
    assert_eq!(subscriber.positions(), [3, 4]);
    let parked = store.parked("named", 0, 10).await.unwrap();
    assert_eq!(
        parked.iter().map(|parked| (parked.position, parked.error.as_str())).collect::<Vec<_>>(),
        [(2, "look at it")]
    );
    store.delete_subscription("named").await.unwrap();
    assert!(matches!(running.end().await, Err(SubscriptionError::Unknown { .. })), "who runs it learns of it");
    assert_eq!(store.subscriptions().await.unwrap(), []);
    assert_eq!(store.parked("named", 0, 10).await.unwrap(), []);
    assert!(matches!(store.delete_subscription("named").await, Err(SubscriptionError::Unknown { .. })));
}

#[tokio::test]
async fn c12_a_stale_owner_can_not_move_the_checkpoint() {
    let store = TestDatabase::new().await.store().await;
    append(&store, Uuid::new_v4(), 10).await;
    let subscriber = Subscriber::answering(Duration::from_millis(20), |_, _| Ok(()));
    let each = Subscription { checkpoint_every: 1, ..subscription("each") };
    let running = Running::start(&store, &each, &subscriber);
    reaches(&store, "each", 3).await;
    // What another process does when the lease of this one has ended while it was frozen.
    let taken_at: i64 = sqlx::query_scalar(
        "update es.subscription_lane set owner = gen_random_uuid(), fence = fence + 1,
                leased_until = clock_timestamp() + interval '1 hour'
         where name = 'each' returning position",
    )
    .fetch_one(store.pool())
    .await
    .unwrap();
    tokio::time::sleep(each.lease).await;
    assert_eq!(status(&store, "each").await.position, taken_at, "the fence holds");
    let handled = i64::try_from(subscriber.positions().len()).unwrap();
    assert!(handled <= taken_at + 1, "and the owner stops after the event in hand: {handled} of {taken_at}");
    running.stop().await;
}

#[tokio::test]
async fn o6_subscriptions_survive_a_database_that_drops_every_session() {
    let database = TestDatabase::new().await;
    let (store, writer) = (database.store().await, database.store().await);
    let subscriber = Subscriber::new();
    let running = Running::start(&store, &subscription("steady"), &subscriber);
    append(&writer, Uuid::new_v4(), 10).await;
    subscriber.has_seen(10).await;
    for round in 1..=3_usize {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .execute(writer.pool())
        .await
        .unwrap();
        let stream = Uuid::new_v4();
        eventually("an append gets through again", || async { store.head().await.ok() }).await;
        let another = database.store().await;
        append(&another, stream, 10).await;
        subscriber.has_seen(10 + round * 10).await;
    }
    running.stop().await;
    let mut positions = subscriber.positions();
    positions.dedup();
    assert_eq!(positions.len(), 40, "{positions:?}");
}

#[tokio::test]
async fn g13_a_cursor_of_another_log_or_epoch_is_refused() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    append(&store, Uuid::new_v4(), 5).await;
    let cursor = store.cursor(3).await.unwrap();
    assert_eq!(store.position_of(&cursor).await.unwrap(), 3);
    // A copy is the same log, until it is said to go its own way.
    let copy = database.copy().await;
    let copied = copy.store().await;
    assert_eq!(copied.position_of(&cursor).await.unwrap(), 3);
    copied.new_epoch().await.unwrap();
    let refused = copied.position_of(&cursor).await;
    assert!(matches!(refused, Err(CursorError::ForeignEpoch { cursor: 1, store: 2 })), "{refused:?}");
    let own = copied.cursor(4).await.unwrap();
    assert_eq!(copied.position_of(&own).await.unwrap(), 4);
    assert!(matches!(store.position_of(&own).await, Err(CursorError::ForeignEpoch { cursor: 2, store: 1 })));
    // A log that was set back without a new epoch.
    let ahead = store.cursor(6).await.unwrap();
    assert!(matches!(store.position_of(&ahead).await, Err(CursorError::AfterEnd { position: 6, head: 5 })));
    sqlx::query("update es.identity set store_id = gen_random_uuid()").execute(copied.pool()).await.unwrap();
    assert!(matches!(copied.position_of(&own).await, Err(CursorError::ForeignStore { .. })));
    assert!(matches!(store.position_of("6").await, Err(CursorError::Malformed)));
}
