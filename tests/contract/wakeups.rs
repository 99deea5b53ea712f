//! Wake-ups between processes: hints over the broker make followers fast, and losing them costs only time.

use std::time::{Duration, Instant};

use pcs::lifecycle::Lifecycle;
use pcs::roles::services;
use pcs_bus::BusConfig;
use pcs_store::{Filter, Follower, POLL_INTERVAL, Record, Store};
use pcs_tests::broker::TestBroker;
use pcs_tests::database::TestDatabase;
use pcs_tests::subscriber::append;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Appends one event after the other in one process, and says how long each took to be seen in another.
async fn delays(writer: &Store, reader: &Store, count: usize) -> Vec<Duration> {
    let follower = reader.follow(Filter::all());
    let mut delays = Vec::with_capacity(count);
    for _ in 0..count {
        let position = append(writer, Uuid::new_v4(), 1).await;
        let committed_at = Instant::now();
        follower.wait(position - 1, pcs_tests::PATIENCE).await;
        let page = follower.read(position - 1, 10).await.unwrap();
        assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<i64>>(), [position]);
        delays.push(committed_at.elapsed());
        // Not in step with the poll.
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    delays.sort_unstable();
    delays
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_hints_make_it_fast_and_losing_them_costs_only_time() {
    let (database, mut broker) = (TestDatabase::new().await, TestBroker::new().await);
    let (writer, reader) = (database.store().await, database.store().await);
    let lifecycle = Lifecycle::default();
    for (store, name) in [(&writer, "writer"), (&reader, "reader")] {
        let broker = BusConfig { url: broker.url().to_owned(), name: name.to_owned() };
        services::hints(&lifecycle, store.clone(), broker);
    }
    // Until both are connected, events are found by polling.
    let first = delays(&writer, &reader, 10).await;
    assert!(first.iter().all(|delay| *delay < POLL_INTERVAL * 8), "{first:?}");
    let hinted = delays(&writer, &reader, 40).await;
    assert!(hinted[20] < POLL_INTERVAL / 4, "half of them are seen long before the next poll: {hinted:?}");
    broker.stack.nats.as_mut().expect("it is ours").kill9().await;
    let polled = delays(&writer, &reader, 10).await;
    assert!(polled[9] < POLL_INTERVAL * 8, "all of them are seen: {polled:?}");
    lifecycle.stop().await;
}

/// One reader of the log per process: what six followers are handed is the very same event, fetched and decoded once.
#[tokio::test(flavor = "multi_thread")]
async fn six_followers_read_the_log_once() {
    const EVENTS: i64 = 20_000;
    let database = TestDatabase::new().await;
    let (writer, reader) = (database.store().await, database.store().await);
    let followers: Vec<Follower> = (0..6).map(|_| reader.follow(Filter::all())).collect();
    // The reader has begun when it brings something.
    let begun = append(&writer, Uuid::new_v4(), 1).await;
    followers[0].wait(begun - 1, pcs_tests::PATIENCE).await;
    let mut reading = JoinSet::new();
    for follower in followers {
        reading.spawn(async move {
            let (mut position, mut seen) = (begun, Vec::new());
            while position < begun + EVENTS {
                let page = follower.next(position, 2_000, POLL_INTERVAL).await.unwrap();
                assert!(page.events.iter().map(|event| event.position).eq(position + 1..=page.position));
                position = page.position;
                seen.extend(page.events);
            }
            seen
        });
    }
    for _ in 0..EVENTS / 100 {
        append(&writer, Uuid::new_v4(), 100).await;
    }
    let all = reading.join_all().await;
    for seen in &all[1..] {
        let same = seen.iter().zip(&all[0]).filter(|(one, other)| std::ptr::eq::<Record>(&***one, &***other)).count();
        assert_eq!((same, seen.len()), (all[0].len(), all[0].len()));
    }
}
