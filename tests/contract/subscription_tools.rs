//! `pcs es subscription` and the lags of `pcs es doctor`: how far readers are behind, in events and in seconds.

use pcs::commands::exit::ExitStatus;
use pcs_store::{Store, Subscription};
use pcs_tests::console::es;
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use pcs_tests::subscriber::{Running, Subscriber, append, subscription};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::archive::{archived, everything, fill, run, streams};

/// Runs a subscription to the end of the log and stops it.
async fn caught_up(store: &Store, subscription: &Subscription, events: usize) {
    let subscriber = Subscriber::new();
    let running = Running::start(store, subscription, &subscriber);
    subscriber.has_seen(events).await;
    running.stop().await;
}

/// The age of the first event in seconds, from its batch: it may be archived.
async fn age_of_first(store: &Store) -> f64 {
    let age = "select extract(epoch from clock_timestamp() - recorded_at)::float8 from es.seal order by last_position";
    sqlx::query_scalar(age).fetch_one(store.pool()).await.unwrap()
}

fn seen(report: &Value, check: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|checked| checked["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report:#}"))["seen"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn subscriptions_are_listed_with_their_lanes_owners_and_lags() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    let none = es(url, &["subscription", "ls"]).await.well();
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "nothing was found\n"));
    append(&store, Uuid::new_v4(), 5).await;
    let (wide, subscriber) = (Subscription { lanes: 3, ..subscription("webhooks") }, Subscriber::new());
    let running = Running::start(&store, &wide, &subscriber);
    subscriber.has_seen(5).await;
    eventually("every lane has its owner and its checkpoint", || async {
        let lanes = es(url, &["subscription", "show", "webhooks", "--json"]).await.well().json();
        let lanes = lanes.as_array().unwrap();
        let is_up = |lane: &Value| lane["position"] == 5 && lane["lag_events"] == 0 && lane["owner"].is_string();
        (lanes.len() == 3 && lanes.iter().all(is_up)).then_some(())
    })
    .await;
    let owned = es(url, &["subscription", "ls", "--json"]).await.well().json();
    let expected = json!([{ "name": "webhooks", "lanes": 3, "lanes_owned": 3, "position": 5, "lag_events": 0,
                            "lag_seconds": 0.0, "parked": 0 }]);
    assert_eq!(owned, expected);
    running.stop().await;
    append(&store, Uuid::new_v4(), 2).await;
    let left = es(url, &["subscription", "ls", "--json"]).await.well().json();
    assert_eq!((&left[0]["lanes_owned"], &left[0]["lag_events"]), (&json!(0), &json!(2)));
    assert!(left[0]["lag_seconds"].as_f64().unwrap() > 0.0, "{left}");
    let shown = es(url, &["subscription", "show", "webhooks"]).await.well().out;
    assert!(shown.starts_with("lane  position  behind  seconds  parked  owner  leased until  stored\n"), "{shown}");
    assert_eq!(shown.lines().count(), 4, "{shown}");
    let unknown = es(url, &["subscription", "show", "webhook"]).await;
    assert_eq!(unknown.status, ExitStatus::WrongUse);
    assert_eq!(unknown.err, "there is no subscription webhook\n  mend: `pcs es subscription ls` lists them");
}

#[tokio::test]
async fn a_subscription_is_sent_back_and_deleted() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    append(&store, Uuid::new_v4(), 5).await;
    caught_up(&store, &subscription("webhooks"), 5).await;
    let beyond = es(url, &["subscription", "rewind", "webhooks", "--to", "6"]).await;
    assert_eq!(beyond.status, ExitStatus::WrongUse);
    assert!(beyond.err.starts_with("position 6 is not in the log, which ends at 5\n  mend: "), "{}", beyond.err);
    let sent = es(url, &["subscription", "rewind", "webhooks", "--to", "3", "--json"]).await.well().json();
    assert_eq!(sent, json!({ "name": "webhooks", "position": 3 }));
    caught_up(&store, &subscription("webhooks"), 2).await;
    let asked = es(url, &["subscription", "delete", "webhooks"]).await;
    assert_eq!(asked.status, ExitStatus::WrongUse);
    assert!(asked.err.contains("add --yes"), "{}", asked.err);
    let deleted = es(url, &["subscription", "delete", "webhooks", "--yes"]).await.well().out;
    assert!(deleted.contains("webhooks"), "{deleted}");
    assert_eq!(es(url, &["subscription", "ls", "--json"]).await.well().json(), json!([]));
    for gone in [
        ["subscription", "delete", "webhooks", "--yes"].as_slice(),
        &["subscription", "rewind", "webhooks", "--to", "0"],
    ] {
        let gone = es(url, gone).await;
        assert_eq!(
            (gone.status, gone.err.lines().next()),
            (ExitStatus::WrongUse, Some("there is no subscription webhooks"))
        );
    }
}

/// O1: the seconds are right where the next event of a reader is archived, also for who does not know the archive.
#[tokio::test]
async fn o1_the_lag_in_seconds_counts_what_is_archived() {
    let (database, _archive, store) = archived().await;
    fill(&store, 50, &streams(3)).await;
    caught_up(&store, &subscription("webhooks"), 50).await;
    run(&store, &everything()).await;
    store.rewind_subscription("webhooks", 0).await.unwrap();
    let age = age_of_first(&store).await;
    let url = &database.url;
    let listed = es(url, &["subscription", "ls", "--json"]).await.well().json();
    assert_eq!((&listed[0]["position"], &listed[0]["lag_events"]), (&json!(0), &json!(50)));
    assert!(listed[0]["lag_seconds"].as_f64().unwrap() >= age, "{listed} and {age}");
    let lanes = es(url, &["subscription", "show", "webhooks", "--json"]).await.well().json();
    assert!(lanes[0]["lag_seconds"].as_f64().unwrap() >= age, "{lanes} and {age}");
    let models = es(url, &["projection", "lag", "--json"]).await.well().json();
    assert!(models.as_array().unwrap().iter().all(|model| model["lag_seconds"].as_f64().unwrap() >= age), "{models}");
    let report = es(url, &["doctor", "--json"]).await.json();
    for check in ["subscription webhooks", "projection card_list.v1"] {
        assert!(seen(&report, check).starts_with("at 0, 50 behind, for "), "{}", seen(&report, check));
    }
}
