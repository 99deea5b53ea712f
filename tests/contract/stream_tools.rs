//! `pcs es stream delete`, `archive`, `open` and `tombstone`: each says the state before and after, and does as it says.

use pcs::commands::exit::ExitStatus;
use pcs_domain::ids::TenantId;
use pcs_store::StreamState;
use pcs_tests::console::es;
use pcs_tests::database::TestDatabase;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::log_tools::{CARD, history};

/// The state that `stream ls` shows.
async fn listed(url: &str, stream: &str) -> Value {
    es(url, &["stream", "ls", "--like", stream, "--json"]).await.well().json()[0]["state"].clone()
}

#[tokio::test]
async fn a_stream_is_closed_and_opened_again_and_each_time_both_states_are_said() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let (url, card) = (&database.url, format!("prompt_card-{CARD}"));
    let changes = [
        ("archive", "open", "archived", 2),
        ("archive", "archived", "archived", 2),
        ("delete", "archived", "deleted", 0),
        ("open", "deleted", "open", 2),
        ("delete", "open", "deleted", 0),
    ];
    for (command, before, after, readable) in changes {
        let ran = es(url, &["stream", command, &card, "--json"]).await.well().json();
        assert_eq!(ran, json!({ "stream": card, "before": before, "after": after }));
        assert_eq!(listed(url, &card).await, after);
        let read = store.read_stream(TenantId::DEFAULT, CARD, 0, 10).await.unwrap();
        assert_eq!(read.len(), readable, "{command} of one that was {before}");
    }
    let ran = es(url, &["stream", "open", &CARD.to_string()]).await.well();
    assert_eq!(ran.out, format!("stream  {card}\nbefore  deleted\nafter   open\n"));
    // Nothing is hidden from who looks at the log.
    es(url, &["event", "get", "2"]).await.well();
}

#[tokio::test]
async fn a_tombstone_is_asked_for_twice_and_is_for_ever() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let (url, card) = (&database.url, format!("prompt_card-{CARD}"));
    let asked = es(url, &["stream", "tombstone", &card]).await;
    assert_eq!(asked.status, ExitStatus::WrongUse);
    assert!(asked.err.contains("for ever") && asked.err.contains("mend: add --yes"), "{}", asked.err);
    assert_eq!(listed(url, &card).await, "open");
    for before in ["open", "tombstoned"] {
        let ran = es(url, &["stream", "tombstone", &card, "--yes", "--json"]).await.well().json();
        assert_eq!((&ran["before"], &ran["after"]), (&json!(before), &json!("tombstoned")));
    }
    for command in ["open", "archive", "delete"] {
        let refused = es(url, &["stream", command, &card]).await;
        assert_eq!(refused.status, ExitStatus::WrongUse);
        assert!(refused.err.contains(&format!("{card} is tombstoned, and stays so")), "{}", refused.err);
    }
    let still = store.set_stream_state(TenantId::DEFAULT, CARD, StreamState::Open).await.unwrap();
    assert_eq!(still, Some(StreamState::Tombstoned));
}

#[tokio::test]
async fn only_a_stream_that_is_there_is_closed() {
    let database = TestDatabase::new().await;
    history(&database.store().await).await;
    // Not there, of another category, of another tenant.
    let calls: [&[&str]; 3] = [
        &["stream", "delete", &Uuid::nil().to_string()],
        &["stream", "archive", &format!("test_run-{CARD}")],
        &["stream", "tombstone", &CARD.to_string(), "--yes", "--tenant", "2"],
    ];
    for call in calls {
        let refused = es(&database.url, call).await;
        assert_eq!(refused.status, ExitStatus::WrongUse);
        assert!(refused.err.contains("there is no stream") && refused.err.contains("stream ls"), "{}", refused.err);
    }
    assert_eq!(listed(&database.url, &format!("prompt_card-{CARD}")).await, "open");
}
