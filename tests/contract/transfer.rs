//! Export and import: the same log in another database, or nothing; the numbers are those of the acceptance list.

use pcs::commands::exit::ExitStatus;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Tagged};
use pcs_domain::{DomainEvent, EventSet};
use pcs_store::{Append, Check, CommandContext, Expected, Export, ImportError, Imported, Store, Verification};
use pcs_tests::console::es;
use pcs_tests::database::TestDatabase;
use pcs_tests::samples;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

const STREAM: Uuid = Uuid::from_u128(0xA);
const COMMAND: Uuid = Uuid::from_u128(0xC);

fn tagged(tag: &str) -> PromptCardEvent {
    PromptCardEvent::Tagged(Tagged { tags: vec![tag.to_owned()] })
}

fn remembered() -> CommandContext {
    CommandContext {
        actor: Some(ActorId(Uuid::from_u128(1))),
        fingerprint: Some(Uuid::from_u128(2)),
        correlation_id: Some(Uuid::from_u128(3)),
        causation_id: Some(Uuid::from_u128(4)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\t\\".to_owned()),
        ..CommandContext::derived(TenantId::DEFAULT, CommandId(COMMAND))
    }
}

async fn append<E: EventSet>(
    store: &Store,
    context: CommandContext,
    stream: Uuid,
    events: &[E],
) -> pcs_store::Appended {
    let mut append = Append::new(context);
    store.write(&mut append, stream, Expected::Any, events).unwrap();
    store.append(append).await.unwrap()
}

/// Every type of event, a remembered command with everything around it, two tenants, texts with all that COPY escapes.
pub(crate) async fn history(store: &Store) {
    let context = |tenant| CommandContext::derived(TenantId(tenant), CommandId(Uuid::new_v4()));
    append(store, remembered(), STREAM, &[tagged("a"), tagged("back\\slash \\N \u{1f389} \t\r\n \"")]).await;
    for (tenant, event) in (1..).zip(samples::all()) {
        let stream = Uuid::new_v4();
        match event {
            DomainEvent::PromptCard(event) => append(store, context(tenant % 2 + 1), stream, &[event]).await,
            DomainEvent::TestRun(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Execution(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::DataSubject(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::JobPolicy(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Schedule(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Job(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Regrade(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Review(event) => append(store, context(1), stream, &[event]).await,
            DomainEvent::Unread(_) => panic!("a sample can be read"),
        };
    }
    append(store, context(1), STREAM, &[tagged("b")]).await;
}

/// Everything that the store keeps, as text.
pub(crate) async fn content(store: &Store) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["event", "stream", "command", "seal", "head"] {
        let statement = format!("select '{table} ' || row_to_json(t)::text from es.{table} t order by 1");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(store.pool()).await.unwrap();
        rows.extend(found);
    }
    rows
}

async fn exported(store: &Store, from: i64, to: Option<i64>) -> Vec<u8> {
    let mut export = Export::begin(store, from, to, None).await.unwrap();
    let mut file = Vec::new();
    while let Some(text) = export.next(store).await.unwrap() {
        file.extend(text);
    }
    file
}

pub(crate) async fn import(store: &Store, file: &[u8]) -> Result<Imported, ImportError> {
    store.import(file, &mut |_, _| ()).await
}

async fn is_empty(store: &Store) -> bool {
    let events: i64 = sqlx::query_scalar("select count(*) from es.event").fetch_one(store.pool()).await.unwrap();
    let streams: i64 = sqlx::query_scalar("select count(*) from es.stream").fetch_one(store.pool()).await.unwrap();
    (events, streams, store.head().await.unwrap()) == (0, 0, 0)
}

/// X2: positions, ids, versions, times, payloads, hashes, seals and remembered commands come back byte for byte.
#[tokio::test]
async fn x2_an_imported_log_is_the_exported_one() {
    let (here, there) = (TestDatabase::new().await.store().await, TestDatabase::new().await.store().await);
    history(&here).await;
    let file = exported(&here, 1, None).await;
    let head = here.head().await.unwrap();
    let imported = import(&there, &file).await.unwrap();
    assert_eq!((imported.from, imported.to, i64::try_from(imported.events)), (1, head, Ok(head)));
    assert_eq!(content(&there).await, content(&here).await);
    assert_eq!(exported(&there, 1, None).await, file);
}

/// X2: a log can be carried over in pieces, and a piece fits only where the one before it ends.
#[tokio::test]
async fn x2_a_log_is_imported_in_pieces_that_fit() {
    let (here, there) = (TestDatabase::new().await.store().await, TestDatabase::new().await.store().await);
    history(&here).await;
    // Position 1 is inside of a batch: the piece goes on to its end.
    let first = exported(&here, 1, Some(1)).await;
    let rest = exported(&here, 3, None).await;
    assert!(matches!(import(&there, &rest).await, Err(ImportError::Position { head: 0, from: 3 })));
    assert_eq!(import(&there, &first).await.unwrap().to, 2);
    assert!(matches!(import(&there, &first).await, Err(ImportError::Position { head: 2, from: 1 })));
    import(&there, &rest).await.unwrap();
    assert_eq!(content(&there).await, content(&here).await);
    let other = TestDatabase::new().await.store().await;
    append(&other, CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())), STREAM, &[tagged("x")]).await;
    append(&other, CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())), STREAM, &[tagged("y")]).await;
    assert!(matches!(import(&other, &rest).await, Err(ImportError::OtherLog)));
}

/// The lines with a last line that fits them: what somebody would write who wants to go unnoticed.
fn forged(lines: &[String]) -> String {
    let (_, before) = lines.split_last().unwrap();
    let text: String = before.iter().map(|line| format!("{line}\n")).collect();
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let events = before.len() - 1;
    format!("{text}{{\"count\":{events},\"sha256\":\"{digest}\"}}\n")
}

/// X2: what is out of order, gapped, cut off or changed is refused with its line, and nothing of it is visible.
#[tokio::test]
async fn x2_a_file_that_was_changed_is_refused_with_its_line() {
    let (here, there) = (TestDatabase::new().await.store().await, TestDatabase::new().await.store().await);
    history(&here).await;
    let file = String::from_utf8(exported(&here, 1, None).await).unwrap();
    let lines: Vec<String> = file.lines().map(str::to_owned).collect();
    let last = lines.len();
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines
    };
    let plain = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let swapped = changed(&|lines| lines.swap(4, 5));
    let gapped = changed(&|lines| drop(lines.remove(4)));
    let doubled = changed(&|lines| lines.insert(4, lines[4].clone()));
    let payload = changed(&|lines| lines[1] = lines[1].replace("[\\\"a\\\"]", "[\\\"z\\\"]"));
    let time = changed(&|lines| lines[6] = lines[6].replacen("\"recorded_at\":\"2", "\"recorded_at\":\"3", 1));
    let actor = changed(&|lines| lines[2] = lines[2].replacen("\"actor_id\":\"00", "\"actor_id\":\"01", 1));
    let version = changed(&|lines| lines[2] = lines[2].replacen("\"version\":2", "\"version\":3", 1));
    let type_name = changed(&|lines| lines[1] = lines[1].replacen("prompt_card.tagged", "prompt_card.taggad", 1));
    for case in [&payload, &time, &actor, &version, &type_name] {
        assert_ne!(case, &lines, "the change was made");
    }
    let cases = [
        ("swapped", plain(&swapped), 5),
        ("gapped", plain(&gapped), 5),
        ("doubled", plain(&doubled), 6),
        ("cut off", plain(&lines[..last - 1]), last),
        ("cut off inside of a line", plain(&lines[..4])[..plain(&lines[..4]).len() - 9].to_owned(), 4),
        ("continued", file.clone() + "{}\n", last + 1),
        ("changed", plain(&actor), last),
        ("forged payload", forged(&payload), 2),
        ("forged time", forged(&time), 7),
        ("forged actor", forged(&actor), 3),
        ("forged version", forged(&version), 3),
        ("forged type", forged(&type_name), 2),
        ("not JSON", plain(&changed(&|lines| lines[3].truncate(20))), 4),
        ("of another format", file.replacen("{\"pcs_export\":1", "{\"pcs_export\":9", 1), 1),
        ("empty", String::new(), 1),
    ];
    for (what, text, expected) in cases {
        match import(&there, text.as_bytes()).await {
            Err(ImportError::Line { line, message }) => {
                assert_eq!(line, u64::try_from(expected).unwrap(), "{what}: {message}");
            }
            other => panic!("{what}: a refusal was expected, not {other:?}"),
        }
        assert!(is_empty(&there).await, "{what}: something is visible");
    }
    import(&there, file.as_bytes()).await.unwrap();
}

/// X3: what is appended after an import goes on behind it, in the log, in its streams, and in what is remembered.
#[tokio::test]
async fn x3_new_appends_go_on_behind_what_was_imported() {
    let (here, there) = (TestDatabase::new().await.store().await, TestDatabase::new().await.store().await);
    history(&here).await;
    let head = here.head().await.unwrap();
    import(&there, &exported(&here, 1, None).await).await.unwrap();
    let again = append(&there, remembered(), STREAM, &[tagged("a"), tagged("b")]).await;
    assert!(again.duplicate);
    assert_eq!((again.first_position, again.last_position), (1, 2));
    for (tenant, stream, version) in [(1, STREAM, 4), (2, STREAM, 1), (1, Uuid::new_v4(), 1)] {
        let context = CommandContext::derived(TenantId(tenant), CommandId(Uuid::new_v4()));
        assert_eq!(append(&there, context, stream, &[tagged("new")]).await.version, version);
    }
    assert_eq!(there.head().await.unwrap(), head + 3);
    let mut verification = Verification::begin(&there, &Check::ALL, None, None).await.unwrap();
    while let Some(findings) = verification.next(&there).await.unwrap() {
        assert_eq!(findings, []);
    }
}

/// The commands do the same with files, and with nothing half written.
#[tokio::test]
async fn x2_the_commands_carry_a_log_in_a_file() {
    let (here, there) = (TestDatabase::new().await, TestDatabase::new().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson").display().to_string();
    history(&here.store().await).await;
    let ran = es(&here.url, &["export", &path, "--json"]).await.well();
    assert_eq!(ran.json()["events"], here.store().await.head().await.unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    let text = es(&here.url, &["export", "-"]).await.well().out;
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
    es(&there.url, &["import", &path]).await.well();
    assert_eq!(content(&there.store().await).await, content(&here.store().await).await);
    let again = es(&there.url, &["import", &path]).await;
    assert_eq!(again.status, ExitStatus::WrongUse);
    assert!(again.err.contains("the log ends at position"), "{}", again.err);
    assert_eq!(es(&there.url, &["import", "no-such-file"]).await.status, ExitStatus::WrongUse);
}
