//! Personal data: sealed wherever it is kept, readable while its subject's key is there, and gone with that key.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pcs_domain::data_subject::{Guard, Subject, SubjectName};
use pcs_domain::ids::{CommandId, PromptCardId, SubjectId, TenantId, TestCaseId};
use pcs_domain::prompt_card::{CasesAdded, PromptCard, PromptCardEvent, Tagged, TestCase};
use pcs_domain::{DomainEvent, EventSet};
use pcs_store::{
    Append, AppendError, CommandContext, Expected, KeySource, PrivacyError, Store, StoreConfig, StoreError,
};
use pcs_tests::database::{MASTER_KEYS, TestDatabase};
use pcs_tests::eventually;
use pcs_tests::samples;
use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::projections::{catch_up, content};

/// What must never be found in clear: it is in the subject's name, the input, the expected output and the assertions,
/// and `echo` puts it into outputs and verdicts.
const MARKER: &str = "Zaphod-4711";
const TENANT: TenantId = TenantId::DEFAULT;

fn name(text: &str) -> SubjectName {
    SubjectName::parse(text).unwrap()
}

/// Every column of every table that can hold text, as text; with the place of what is found.
async fn found_in(pool: &PgPool, needle: &str) -> Vec<String> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "select table_schema::text, table_name::text, column_name::text from information_schema.columns
         where table_schema not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(columns.iter().any(|(schema, table, _)| schema == "es" && table.starts_with("event")));
    assert!(
        columns.iter().any(|(schema, _, _)| schema == "jobs") && columns.iter().any(|(schema, _, _)| schema == "read")
    );
    let mut found = Vec::new();
    for (schema, table, column) in columns {
        let value = format!("\"{column}\"::text");
        let count = format!("select count(*) from {schema}.\"{table}\" where {value} like $1 or {value} like $2");
        let hits: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(format!("%{needle}%"))
            // Bytes are shown in hexadecimal.
            .bind(format!("%{}%", hex::encode(needle)))
            .fetch_one(pool)
            .await
            .unwrap();
        if hits > 0 {
            found.push(format!("{schema}.{table}.{column}"));
        }
    }
    found
}

/// Everything that is said on the broker from now on, below any subject.
async fn listen(url: &str) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let address = reqwest::Url::parse(url).unwrap();
    let (user, password) = (address.username().to_owned(), address.password().unwrap_or_default().to_owned());
    let server = format!("nats://{}:{}", address.host_str().unwrap(), address.port().unwrap());
    let client = async_nats::ConnectOptions::with_user_and_password(user, password).connect(server).await.unwrap();
    let mut messages = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    let kept = Arc::clone(&heard);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _client = client;
        while let Some(message) = messages.next().await {
            let text = format!("{} {}", message.subject, String::from_utf8_lossy(&message.payload));
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    });
    tasks.detach_all();
    heard
}

/// Every event's hash is that of what is stored, chained to the one before it in its stream.
async fn assert_chained(pool: &PgPool) {
    let (events, broken): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where hash is distinct from es.event_hash(before, version,
                    es.event_digest(tenant_id, stream_id, category, event_id, name, schema_version, command_id,
                                    correlation_id, causation_id, actor_id, trace, payload)))
         from (select *, lag(hash) over (partition by stream_no order by version) as before from es.event) e
         join es.event_type using (type_id)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert!(events > 0);
    assert_eq!(broken, 0, "of {events} events");
}

fn cases() -> Value {
    json!([
        {
            "name": "theirs", "subject": format!("customer {MARKER}"),
            "input": { "name": MARKER }, "expected_output": format!("Hello {MARKER}"),
            "assertions": [{ "type": "contains", "value": MARKER }, { "type": "contains", "value": "not there" }]
        },
        { "name": "another's", "subject": "customer-2", "input": { "name": "Trillian" } },
        { "name": "nobody's", "input": { "name": "Marvin" } }
    ])
}

/// A card with the three cases, and a run of them by `echo` that has ended.
async fn run_cases(system: &TestSystem) -> (String, String) {
    let card = system.card("Greeter", "Hello {{name}}", cases()).await;
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }] })).await;
    let ended = system.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    (card, run)
}

fn of<'a>(items: &'a [Value], key: &str, name: &str) -> &'a Value {
    items.iter().find(|item| item[key] == name).unwrap_or_else(|| panic!("{name} is not in {items:#?}"))
}

#[tokio::test]
async fn no_personal_datum_is_in_clear_in_a_table_or_on_the_broker() {
    let system = TestSystem::start().await;
    let heard = listen(system.broker.url()).await;
    let (card, run) = run_cases(&system).await;
    // People read it in clear.
    let listed = system.read(&format!("/cards/{card}/cases")).await.expect(200).body;
    let theirs = of(listed["items"].as_array().unwrap(), "name", "theirs");
    assert_eq!(theirs["input"]["name"], MARKER);
    assert_eq!(theirs["assertions"][0]["value"], MARKER);
    assert_eq!(theirs["subject"]["shredded"], false);
    let results = system.results(&run).await;
    let result = of(&results, "case_name", "theirs");
    assert_eq!(result["output"], format!("Hello {MARKER}"));
    assert!(result["verdicts"][0]["reason"].as_str().unwrap().contains(MARKER), "{result:#}");
    // And finds it nowhere else. The name of the other subject shows that the search finds what is there.
    assert_eq!(found_in(system.store.pool(), MARKER).await, Vec::<String>::new());
    assert!(!found_in(system.store.pool(), "Marvin").await.is_empty());
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard.iter().any(|text| text.starts_with("pcs.result.")) && heard.iter().any(|text| text.contains("Marvin"))
    );
    let in_clear: Vec<_> = heard.iter().filter(|text| text.contains(MARKER)).collect();
    assert!(in_clear.is_empty(), "{in_clear:#?}");
    system.stop().await;
}

#[tokio::test]
async fn d4_after_shredding_no_read_path_has_the_plaintext_and_others_stay_readable() {
    let system = TestSystem::start().await;
    let (card, run) = run_cases(&system).await;
    let shred = || system.request(Method::DELETE, &format!("/api/v1/subjects/customer%20{MARKER}"));
    let first = TestSystem::send(shred()).await.expect(200).body;
    assert_eq!(first["already"], false);
    // Twice is once.
    let again = TestSystem::send(shred()).await.expect(200).body;
    assert_eq!((&again["already"], &again["subject_id"]), (&json!(true), &first["subject_id"]));
    let subject = SubjectId(first["subject_id"].as_str().unwrap().parse().unwrap());
    let history = system.store.read_stream(TENANT, subject.0, 0, 10).await.unwrap();
    assert_eq!(history.len(), 1, "one event says that it was shredded");

    let listed = system.read(&format!("/cards/{card}/cases")).await.expect(200).body;
    let listed = listed["items"].as_array().unwrap();
    let theirs = of(listed, "name", "theirs");
    assert_eq!((&theirs["input"], &theirs["subject"]["shredded"]), (&json!({}), &json!(true)));
    assert_eq!((&theirs["expected_output"], &theirs["assertions"]), (&Value::Null, &json!([])));
    assert_eq!(of(listed, "name", "another's")["input"]["name"], "Trillian");
    assert_eq!(of(listed, "name", "nobody's")["input"]["name"], "Marvin");
    let results = system.results(&run).await;
    let gone = of(&results, "case_name", "theirs");
    assert_eq!((&gone["output"], &gone["input"]), (&json!("[shredded]"), &json!({})));
    assert_eq!((&gone["status"], &gone["verdicts"][0]["reason"]), (&json!("failed"), &json!("[shredded]")));
    assert_eq!(of(&results, "case_name", "another's")["output"], "Hello Trillian");
    let id = gone["execution_id"].as_str().unwrap();
    let story = system.read(&format!("/executions/{id}")).await.expect(200).body;
    assert_eq!(story["output"], "[shredded]");

    // The log itself: the events are as they were, and what is opened is nothing.
    for mut recorded in system.store.read_after(0, 1_000).await.unwrap() {
        system.store.reveal(recorded.tenant, recorded.event.guarded()).await.unwrap();
        assert!(!format!("{:?}", recorded.event).contains(MARKER), "{recorded:?}");
    }
    assert_chained(system.store.pool()).await;
    // What people read is folded to holds nothing either.
    for projection in pcs_projections::all() {
        let rows = content(&system.store, &*projection).await;
        assert!(rows.iter().all(|row| !row.contains(MARKER)), "{rows:#?}");
    }

    // Nothing new is kept of them.
    let refused = system.post(&format!("/cards/{card}/cases"), &json!({ "cases": [cases()[0]] })).await.expect(409);
    assert_eq!(refused.code(), "subject_shredded");
    let path = format!("/api/v1/cards/{card}/cases/{}", theirs["id"].as_str().unwrap());
    let change = system.request(Method::PATCH, &path).json(&json!({ "name": "renamed" }));
    assert_eq!(TestSystem::send(change).await.expect(409).code(), "subject_shredded");
    let asked = system.post("/runs", &json!({ "card_id": card, "models": [{ "id": "echo" }] })).await.expect(409);
    assert_eq!(asked.code(), "subject_shredded");
    // The case can be taken away, and the others run.
    drop(TestSystem::send(system.request(Method::DELETE, &path)).await.expect(200));
    let rest = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }] })).await;
    assert_eq!(system.ended(&rest).await["totals"]["passed"], 2);
    // Somebody of whom nothing was kept can't be shredded: it would only hide a slip of the pen.
    let unknown = system.request(Method::DELETE, "/api/v1/subjects/nobody");
    assert_eq!(TestSystem::send(unknown).await.expect(404).code(), "subject_not_found");
    system.stop().await;
}

#[tokio::test]
async fn d4_a_rebuild_after_shredding_makes_the_same_rows() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    write_case(&store, "customer", MARKER).await;
    let folded = async |projection: &dyn pcs_projections::Projection| {
        catch_up(&store, projection, 100).await;
        content(&store, projection).await
    };
    let mut before = Vec::new();
    for projection in pcs_projections::all() {
        before.push(folded(&*projection).await);
    }
    assert!(before.iter().any(|rows| rows.iter().any(|row| row.contains("sealed"))), "{before:#?}");
    store.shred(TENANT, &name("customer"), None).await.unwrap();
    for (projection, before) in pcs_projections::all().iter().zip(before) {
        pcs_projections::reset(store.pool(), &**projection).await.unwrap();
        assert_eq!(folded(&**projection).await, before, "{}", projection.name());
        assert!(before.iter().all(|row| !row.contains(MARKER)));
    }
}

async fn write_case(store: &Store, subject: &str, word: &str) -> (PromptCardId, TestCase) {
    let card = PromptCardId(Uuid::new_v4());
    let known = store.know_subjects(TENANT, &BTreeSet::from([name(subject)])).await.unwrap();
    let input = json!({ "name": word }).as_object().unwrap().clone();
    let draft = known[&name(subject)].of_case(card, &TestCaseId::content(&input, None));
    let case = TestCase {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        id: draft.case_id,
        name: "theirs".to_owned(),
        subject: Some(Subject::open(draft.id)),
        input,
        expected_output: Some(word.to_owned()),
        assertions: Vec::new(),
        threshold: None,
    };
    let Some(DomainEvent::PromptCard(created)) = samples::all().into_iter().next() else {
        panic!("the first sample is a card's creation")
    };
    let events = [created, PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case.clone()] })];
    append(store, card.0, &events).await.unwrap();
    (card, case)
}

async fn append<E: EventSet>(store: &Store, stream: Uuid, events: &[E]) -> Result<(), AppendError> {
    let mut append = Append::new(CommandContext::derived(TENANT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, events)?;
    store.append(append).await.map(drop)
}

async fn loaded_case(store: &Store, card: PromptCardId) -> TestCase {
    let mut loaded = store.load::<PromptCard>(TENANT, card.0).await.unwrap();
    store.reveal_state(TENANT, &mut loaded.state).await.unwrap();
    loaded.state.card().unwrap().cases.values().next().unwrap().clone()
}

#[tokio::test]
async fn every_marked_event_is_opened_as_it_was_written() {
    let store = TestDatabase::new().await.store().await;
    let known = store.know_subjects(TENANT, &BTreeSet::from([name("ada")])).await.unwrap();
    let subject = || Some(Subject::open(known[&name("ada")].id));
    let mut marked = 0;
    for sample in samples::all() {
        let mut event = sample.clone();
        for part in &mut event.guarded() {
            // Samples have no subject: their parts get one.
            assert!(part.subject().is_none());
        }
        match &mut event {
            DomainEvent::PromptCard(PromptCardEvent::CasesAdded(e)) => e.cases[0].subject = subject(),
            DomainEvent::PromptCard(PromptCardEvent::CaseChanged(e)) => e.case.subject = subject(),
            DomainEvent::Execution(pcs_domain::execution::ExecutionEvent::Finished(e)) => e.subject = subject(),
            DomainEvent::Execution(pcs_domain::execution::ExecutionEvent::AttemptFailed(e)) => e.subject = subject(),
            DomainEvent::Execution(pcs_domain::execution::ExecutionEvent::DeadLettered(e)) => e.subject = subject(),
            _ => continue,
        }
        marked += 1;
        let stream = Uuid::new_v4();
        match event.clone() {
            DomainEvent::PromptCard(event) => append(&store, stream, &[event]).await.unwrap(),
            DomainEvent::Execution(event) => append(&store, stream, &[event]).await.unwrap(),
            _ => unreachable!("only these are marked"),
        }
        let mut read = store.read_stream(TENANT, stream, 0, 1).await.unwrap().remove(0);
        assert_ne!(read.event, event, "it is sealed");
        store.reveal(TENANT, read.event.guarded()).await.unwrap();
        assert_eq!(read.event, event);
    }
    assert_eq!(marked, 5);
}

#[tokio::test]
async fn d5_shredding_changes_no_row_of_the_log() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    let (card, case) = write_case(&store, "customer", MARKER).await;
    assert_eq!(loaded_case(&store, card).await, case);
    // Every row as it is stored, its hash included.
    let rows = async || -> Vec<String> {
        sqlx::query_scalar("select row_to_json(e)::text from es.event e where category <> 4 order by position")
            .fetch_all(store.pool())
            .await
            .unwrap()
    };
    let before = rows().await;
    store.shred(TENANT, &name("customer"), None).await.unwrap();
    assert_eq!(rows().await, before);
    assert_chained(store.pool()).await;
    let gone = loaded_case(&store, card).await;
    assert_eq!((gone.input.len(), gone.expected_output, gone.name.as_str()), (0, None, "theirs"));
    assert_eq!(gone.subject.unwrap().guard, Guard::Shredded);
}

#[tokio::test]
async fn d4_a_snapshot_has_no_plaintext_and_does_not_outlive_the_key() {
    let store = TestDatabase::new().await.store().await;
    let (card, case) = write_case(&store, "customer", MARKER).await;
    let tagged = |number: u32| PromptCardEvent::Tagged(Tagged { tags: vec![format!("tag {number}")] });
    for page in 0..5 {
        let events: Vec<PromptCardEvent> = (0..100).map(|number| tagged(page * 100 + number)).collect();
        append(&store, card.0, &events).await.unwrap();
    }
    assert_eq!(loaded_case(&store, card).await, case);
    store.snapshots_written().await;
    let kept: i64 = sqlx::query_scalar("select count(*) from es.snapshot").fetch_one(store.pool()).await.unwrap();
    assert_eq!(kept, 1, "the stream is long enough for a snapshot");
    assert_eq!(found_in(store.pool(), MARKER).await, Vec::<String>::new());
    // From the snapshot, as from the stream.
    assert_eq!(loaded_case(&store, card).await, case);
    store.shred(TENANT, &name("customer"), None).await.unwrap();
    assert!(loaded_case(&store, card).await.subject.unwrap().guard.is_shredded());
}

#[tokio::test]
async fn d4_a_backup_without_the_keys_has_no_plaintext_and_an_old_key_does_not_bring_it_back() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    let (card, case) = write_case(&store, "customer", MARKER).await;
    let keys: Vec<(Uuid, String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select subject_id, key_id, wrapped_key, sealed_name from es.subject_key")
            .fetch_all(store.pool())
            .await
            .unwrap();
    store.shred(TENANT, &name("customer"), None).await.unwrap();
    store.pool().close().await;
    drop(store);

    // A copy of the database, made after the shredding, without the keys, as a backup should be.
    let (server, source) = database.url.rsplit_once('/').unwrap();
    let copy = format!("{source}_restored");
    let maintenance = PgPool::connect(&format!("{server}/postgres")).await.unwrap();
    eventually("the appender has let go of the database", || async {
        let statement = format!("create database {copy} template {source}");
        sqlx::query(AssertSqlSafe(statement)).execute(&maintenance).await.ok()
    })
    .await;
    let restored = format!("{server}/{copy}");
    let pool = PgPool::connect(&restored).await.unwrap();
    sqlx::query("delete from es.subject_key").execute(&pool).await.unwrap();
    assert_eq!(found_in(&pool, MARKER).await, Vec::<String>::new());
    let keyed = StoreConfig {
        keys: Some(KeySource::Text(MASTER_KEYS.to_owned().into())),
        ..StoreConfig::new(&restored, "test")
    };
    let store = Store::connect(&keyed).await.unwrap();
    let mut loaded = store.load::<PromptCard>(TENANT, card.0).await.unwrap();
    let missing = store.reveal_state(TENANT, &mut loaded.state).await.unwrap_err();
    assert!(matches!(missing, StoreError::Privacy(PrivacyError::KeyMissing { .. })), "{missing}");

    // Somebody restores the keys of before: the log knows better.
    for (id, key_id, wrapped, sealed) in keys {
        sqlx::query(
            "insert into es.subject_key (tenant_id, subject_id, key_id, wrapped_key, sealed_name) values (1, $1, $2, $3, $4)",
        )
        .bind(id)
        .bind(key_id)
        .bind(wrapped)
        .bind(sealed)
        .execute(&pool)
        .await
        .unwrap();
    }
    let store = Store::connect(&keyed).await.unwrap();
    let gone = loaded_case(&store, card).await;
    assert_ne!(gone, case);
    assert!(gone.subject.unwrap().guard.is_shredded());
}

#[tokio::test]
async fn a_shredded_subject_is_refused_in_the_append_itself() {
    let store = TestDatabase::new().await.store().await;
    let (card, case) = write_case(&store, "customer", MARKER).await;
    store.shred(TENANT, &name("customer"), None).await.unwrap();
    let again = PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case] });
    let refused = append(&store, card.0, &[again]).await.unwrap_err();
    assert!(matches!(refused, AppendError::Store(StoreError::Privacy(PrivacyError::Shredded { .. }))), "{refused}");
}

#[tokio::test]
async fn other_processes_follow_a_shredding_through_the_log_at_once() {
    let database = TestDatabase::new().await;
    let (one, other) = (database.store().await, database.store().await);
    let (card, case) = write_case(&one, "customer", MARKER).await;
    assert_eq!(loaded_case(&other, card).await, case);
    one.shred(TENANT, &name("customer"), None).await.unwrap();
    // Its kept key is believed for a bounded time; who tails the log forgets it when the event comes by.
    drop(other.read_after(0, 100).await.unwrap());
    assert!(loaded_case(&other, card).await.subject.unwrap().guard.is_shredded());
    assert!(pcs_store::KEY_FRESH <= Duration::from_secs(60));
}

#[tokio::test]
async fn what_was_moved_to_another_event_is_refused() {
    let store = TestDatabase::new().await.store().await;
    let (card, _) = write_case(&store, "customer", MARKER).await;
    let other = Uuid::new_v4();
    // By hand, as somebody would who can write the tables.
    sqlx::query("alter table es.event disable trigger all").execute(store.pool()).await.unwrap();
    sqlx::query("update es.event set event_id = $1 where stream_id = $2 and version = 2")
        .bind(other)
        .bind(card.0)
        .execute(store.pool())
        .await
        .unwrap();
    let refused = store.read_stream(TENANT, card.0, 1, 1).await.unwrap_err();
    assert!(matches!(refused, StoreError::Privacy(PrivacyError::Misplaced { .. })), "{refused}");
}

#[tokio::test]
async fn a_case_has_no_identity_that_can_be_guessed() {
    let store = TestDatabase::new().await.store().await;
    let (card, case) = write_case(&store, "customer", MARKER).await;
    let input = json!({ "name": MARKER }).as_object().unwrap().clone();
    assert_ne!(case.id, TestCaseId::derive(card, &input, Some(MARKER)));
    assert_ne!(case.id, TestCaseId::derive(card, &input, None));
    // The same content of the same subject is the same case; another's is another one.
    let known = store.know_subjects(TENANT, &BTreeSet::from([name("customer"), name("other")])).await.unwrap();
    let content = TestCaseId::content(&input, None);
    assert_eq!(known[&name("customer")].of_case(card, &content).case_id, case.id);
    assert_ne!(known[&name("other")].of_case(card, &content).case_id, case.id);
    let elsewhere = PromptCardId(Uuid::new_v4());
    assert_ne!(known[&name("customer")].of_case(elsewhere, &content).case_id, case.id);
}

#[tokio::test]
async fn a_rotated_master_key_opens_everything_and_the_old_one_nothing() {
    let database = TestDatabase::new().await;
    let (card, case) = write_case(&database.store().await, "customer", MARKER).await;
    let new = "new 6e65776e65776e65776e65776e65776e65776e65776e65776e65776e65776e65";
    let with = async |keys: &str| {
        let keys = Some(KeySource::Text(keys.to_owned().into()));
        Store::connect(&StoreConfig { keys, ..StoreConfig::new(&database.url, "test") }).await.unwrap()
    };
    let both = with(&format!("{new}\n{MASTER_KEYS}")).await;
    // The subject's key and the tenant's.
    assert_eq!((both.rotate_keys().await.unwrap(), both.rotate_keys().await.unwrap()), (2, 0));
    let used: Vec<(String, i64)> =
        both.keys_in_use().await.unwrap().into_iter().map(|key| (key.name, key.keys)).collect();
    assert_eq!(used, [("new".to_owned(), 2)]);
    let only_new = with(new).await;
    assert_eq!(loaded_case(&only_new, card).await, case);
    assert_eq!(only_new.subjects(TENANT, None, 10).await.unwrap()[0].name.as_deref(), Some("customer"));
    let only_old = with(MASTER_KEYS).await;
    let mut loaded = only_old.load::<PromptCard>(TENANT, card.0).await.unwrap();
    let error = only_old.reveal_state(TENANT, &mut loaded.state).await.unwrap_err();
    assert!(matches!(error, StoreError::Privacy(PrivacyError::UnknownMasterKey { .. })), "{error}");
}

#[tokio::test]
async fn without_master_keys_personal_data_is_neither_taken_nor_shown() {
    let database = TestDatabase::new().await;
    let (card, _) = write_case(&database.store().await, "customer", MARKER).await;
    let bare = Store::connect(&StoreConfig::new(&database.url, "test")).await.unwrap();
    let refused = bare.know_subjects(TENANT, &BTreeSet::from([name("x")])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Privacy(PrivacyError::NoMasterKey)), "{refused}");
    // What only moves what is sealed works: the log, the states, the read models.
    assert_eq!(bare.load::<PromptCard>(TENANT, card.0).await.unwrap().revision, 2);
    for projection in pcs_projections::all() {
        catch_up(&bare, &*projection, 100).await;
    }
}

#[tokio::test]
async fn a_run_whose_subject_is_shredded_meanwhile_ends() {
    let system = TestSystem::start().await;
    let slow = json!([{ "id": "scripted:slow", "script": { "answer": "Hello {{name}}", "latency_ms": 1500 } }]);
    let card = system.card("Greeter", "Hello {{name}}", cases()).await;
    let run = system.run(&json!({ "card_id": card, "models": slow })).await;
    system.store.shred(TENANT, &name(&format!("customer {MARKER}")), None).await.unwrap();
    let ended = system.ended(&run).await;
    assert_eq!((&ended["status"], &ended["totals"]["executions"]), (&json!("completed"), &json!(3)));
    let results = system.results(&run).await;
    let gone = of(&results, "case_name", "theirs");
    assert_eq!((&gone["status"], &gone["error"]["class"]), (&json!("error"), &json!("subject_shredded")));
    assert_eq!(found_in(system.store.pool(), MARKER).await, Vec::<String>::new());
    system.stop().await;
}
