//! `pcs es`: looking at streams and events, replaying them, and examining the database under them.

use std::time::Duration;

use pcs::commands::exit::ExitStatus;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{Created, PromptCardEvent, Revised, Tagged};
use pcs_store::{Append, CommandContext, Expected, Store};
use pcs_tests::broker::TestBroker;
use pcs_tests::console::es;
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

pub(crate) const CARD: Uuid = Uuid::from_u128(0xCA8D);

async fn append(store: &Store, stream: Uuid, event: PromptCardEvent) {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, &[event]).unwrap();
    store.append(append).await.unwrap();
}

/// A card that was created and revised, and ten events on other streams.
pub(crate) async fn history(store: &Store) {
    let created = Created {
        title: "Greeter".to_owned(),
        description: String::new(),
        prompt: "Hello {{name}}".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    };
    let revised = Revised {
        version: 2,
        prompt: "Good morning {{name}}".to_owned(),
        model: None,
        message: "politer".to_owned(),
        author: ActorId(Uuid::nil()),
    };
    append(store, CARD, PromptCardEvent::Created(created)).await;
    append(store, CARD, PromptCardEvent::Revised(revised)).await;
    for number in 0..10 {
        append(store, Uuid::new_v4(), PromptCardEvent::Tagged(Tagged { tags: vec![format!("tag {number}")] })).await;
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn streams_are_listed_shown_and_folded_at_any_version() {
    let database = TestDatabase::new().await;
    history(&database.store().await).await;
    let url = &database.url;
    let card = format!("prompt_card-{CARD}");
    let listed = es(url, &["stream", "ls", "--like", &card, "--json"]).await.well().json();
    assert_eq!(
        (&listed[0]["stream"], &listed[0]["version"], &listed[0]["last_position"]),
        (&json!(card), &json!(2), &json!(2))
    );
    let first = es(url, &["stream", "ls", "--limit", "4", "--json"]).await.well().json();
    let after = first[3]["stream"].as_str().unwrap();
    let rest = es(url, &["stream", "ls", "--after", after, "--json"]).await.well().json();
    assert_eq!(first.as_array().unwrap().len() + rest.as_array().unwrap().len(), 11);
    let shown = es(url, &["stream", "show", &card, "--json"]).await.well().json();
    assert_eq!(shown[1]["payload"]["message"], "politer");
    let backward = es(url, &["stream", "show", &card, "--backward", "--limit", "1"]).await.well();
    assert!(backward.out.contains("prompt_card.revised.v") && backward.err.contains("--from 1"), "{backward:?}");
    let state = |ran: Value| ran["state"]["Active"]["prompts"].clone();
    let now = es(url, &["stream", "state", &CARD.to_string()]).await.well().json();
    assert_eq!(state(now), json!({ "1": "Hello {{name}}", "2": "Good morning {{name}}" }));
    for at in [["--at-version", "1"], ["--at-position", "1"]] {
        let then = es(url, &["stream", "state", &card, at[0], at[1]]).await.well().json();
        assert_eq!((state(then.clone()), &then["version"]), (json!({ "1": "Hello {{name}}" }), &json!(1)), "{at:?}");
    }
    let before = es(url, &["stream", "state", &card, "--at-time", "2020-01-01T00:00:00Z"]).await.well().json();
    assert_eq!((&before["state"], &before["version"]), (&json!("Absent"), &json!(0)));
    let diff = es(url, &["stream", "diff", &card, "1", "2"]).await.well().out;
    assert!(diff.contains("+      \"2\": \"Good morning {{name}}\""), "{diff}");
    for wrong in [format!("test_run-{CARD}"), Uuid::nil().to_string()] {
        let ran = es(url, &["stream", "show", &wrong]).await;
        assert_eq!(ran.status, ExitStatus::WrongUse);
        assert!(ran.err.contains("there is no stream"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_tail_shows_what_is_committed_while_it_runs() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let tail = es(&database.url, &["stream", "tail", "--from", "11", "--limit", "5", "--json"]);
    let appended = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        history_more(&store, 3).await;
    };
    let (ran, ()) = tokio::join!(tail, appended);
    let positions: Vec<i64> = lines(&ran.well().out).iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, [11, 12, 13, 14, 15]);
}

async fn history_more(store: &Store, count: usize) {
    for _ in 0..count {
        append(store, CARD, PromptCardEvent::Tagged(Tagged { tags: Vec::new() })).await;
    }
}

#[tokio::test]
async fn events_are_found_by_position_by_id_and_by_what_is_in_them() {
    let database = TestDatabase::new().await;
    history(&database.store().await).await;
    let url = &database.url;
    let by_position = es(url, &["event", "get", "2", "--json"]).await.well().json();
    let id = by_position["event_id"].as_str().unwrap();
    assert_eq!(es(url, &["event", "get", id, "--json"]).await.well().json(), by_position);
    assert!(es(url, &["event", "get", "2"]).await.well().out.contains("\"message\": \"politer\""));
    assert_eq!(es(url, &["event", "get", "99"]).await.status, ExitStatus::WrongUse);
    let found = es(url, &["event", "grep", "tag [3-5]", "--json"]).await.well();
    let positions: Vec<i64> = lines(&found.out).iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, [6, 7, 8]);
    let by_field = es(url, &["event", "grep", "--field", "tags.0=tag 3", "--json"]).await.well();
    assert_eq!(lines(&by_field.out).len(), 1);
    let nothing = es(url, &["event", "grep", "tag 3", "--to", "5"]).await;
    assert_eq!((nothing.status, nothing.out.as_str()), (ExitStatus::GateFailed, ""));
    let unknown = es(url, &["event", "grep", "x", "--type", "prompt_card.exploded"]).await;
    assert_eq!(unknown.status, ExitStatus::WrongUse);
    assert!(unknown.err.contains("prompt_card.tagged"), "the mend names what there is: {}", unknown.err);
}

#[tokio::test]
async fn a_replay_counts_first_and_sends_in_order() {
    let database = TestDatabase::new().await;
    history(&database.store().await).await;
    let url = &database.url;
    let counted = es(url, &["replay", "--dry-run", "--rate", "2/s", "--json"]).await.well();
    assert_eq!(
        counted.json().as_array().unwrap().iter().map(|count| count["events"].as_u64().unwrap()).sum::<u64>(),
        12
    );
    assert!(counted.err.contains("12 events, which take 6 s; nothing was sent"), "{}", counted.err);
    let sent = es(url, &["replay", "--from", "2", "--to", "9", "--type", "prompt_card.tagged"]).await.well();
    let positions: Vec<i64> = lines(&sent.out).iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (3..=9).collect::<Vec<_>>());
}

/// Into a stream of JetStream: each event is there once, however often it is sent.
#[tokio::test]
async fn a_replay_into_a_stream_can_be_repeated() {
    let (database, broker) = (TestDatabase::new().await, TestBroker::new().await);
    history(&database.store().await).await;
    let bus = broker.bus().await;
    bus.ensure_topology().await.unwrap();
    let subject = "pcs.job.std.replayed.events.all";
    let arguments = ["replay", "--target", "nats", "--nats-url", broker.url(), "--subject", subject, "--json"];
    for _ in 0..2 {
        let ran = es(&database.url, &arguments).await.well();
        assert_eq!(ran.json()["events"], 12);
        assert_eq!(bus.stream_state().await.unwrap().messages, 12);
    }
    // No stream has this subject: nothing is confirmed, and the place to go on is said.
    let nowhere =
        ["replay", "--target", "nats", "--nats-url", broker.url(), "--subject", "nobody.listens", "--from", "3"];
    let ran = es(&database.url, &nowhere).await;
    assert_eq!(ran.status, ExitStatus::SystemFailed);
    assert!(ran.err.contains("0 events were sent, go on with --from 3"), "{}", ran.err);
}

/// O2: who holds the head is named with its process, its program and since when, and so is how many wait.
#[tokio::test]
async fn o2_who_holds_up_all_appends_is_named() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    let healthy = es(&database.url, &["doctor", "--json"]).await.json();
    assert_eq!(seen(&healthy, "appenders")["health"], "ok");
    let url = format!("{}?application_name=frozen", database.url);
    let mut frozen = PgConnection::connect(&url).await.unwrap();
    let mut transaction = frozen.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid() from es.head for update")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    let waiting = async {
        history_more(&store, 1).await;
    };
    let examined = async {
        let found = eventually("the doctor sees who holds the head for more than a second", || async {
            let report = es(&database.url, &["doctor", "--json"]).await.json();
            let appenders = seen(&report, "appenders").clone();
            (appenders["health"] == "warn").then_some(appenders)
        })
        .await;
        transaction.rollback().await.unwrap();
        found
    };
    let (found, ()) = tokio::join!(examined, waiting);
    let text = found["seen"].as_str().unwrap();
    assert!(text.starts_with(&format!("pid {pid} (frozen, ")), "{text}");
    assert!(text.contains("idle in transaction") && text.contains("1 wait"), "{text}");
    assert_eq!(found["mend"], format!("if it does not end by itself: select pg_terminate_backend({pid})"));
}

fn seen<'a>(report: &'a Value, check: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|checked| checked["check"] == check).unwrap_or_else(|| panic!("no {check} in {report:#}"))
}

/// The doctor: an old schema, a head that is wrong and a setting that loses data are bad, each with its mend.
#[tokio::test]
async fn the_doctor_names_what_is_bad_and_ends_with_1() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    // The tests' own server gives up durability for speed, and the doctor must not find that good.
    let ran = es(&database.url, &["doctor"]).await;
    assert_eq!(ran.status, ExitStatus::GateFailed);
    assert!(ran.out.contains("fsync") && ran.out.contains("a power cut can destroy the whole database"), "{}", ran.out);
    let report = es(&database.url, &["doctor", "--json"]).await.json();
    for check in ["version", "primary", "schema", "head", "partitions"] {
        assert_eq!(seen(&report, check)["health"], "ok", "{report:#}");
    }
    sqlx::query("update es.head set position = position + 1").execute(store.pool()).await.unwrap();
    sqlx::query("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .execute(store.pool())
        .await
        .unwrap();
    let report = es(&database.url, &["doctor", "--json"]).await.json();
    assert_eq!(seen(&report, "schema")["mend"], "run `pcs migrate`");
    assert_eq!(report["ok"], false);
}
