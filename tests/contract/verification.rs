//! Verifying the log: a whole one is whole, and whatever is changed in it is found; numbers as in the acceptance list.

use pcs::commands::exit::ExitStatus;
use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{Created, PromptCardEvent, Tagged};
use pcs_store::{Append, Check, CommandContext, Expected, Finding, Store, Verification};
use pcs_tests::console::es;
use pcs_tests::database::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// The event that is tampered with: in the middle of its stream and of the log.
const VICTIM: i64 = 12;

async fn history(store: &Store) {
    let streams = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];
    for round in 0..24 {
        let mut context = CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4()));
        context.traceparent = Some(format!("00-{round:032x}-b7ad6b7169203331-01"));
        context.correlation_id = Some(Uuid::new_v4());
        let mut append = Append::new(context);
        let tags = vec![format!("round {round}")];
        let event = PromptCardEvent::Tagged(Tagged { tags });
        store.write(&mut append, streams[round % 3], Expected::Any, &[event]).unwrap();
        store.append(append).await.unwrap();
    }
}

async fn findings(store: &Store) -> Vec<Finding> {
    let mut verification = Verification::begin(store, &Check::ALL, None, None).await.unwrap();
    let mut all = Vec::new();
    while let Some(findings) = verification.next(store).await.unwrap() {
        all.extend(findings);
    }
    all
}

/// A connection on which no trigger protects the log, as somebody has it who owns the machine.
pub(crate) async fn unprotected(database: &TestDatabase) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query("set session_replication_role = replica").execute(&mut connection).await.unwrap();
    connection
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The same value with one bit or one letter changed; something where there was nothing.
fn flipped(column: &str, kind: &str) -> String {
    match kind {
        "bigint" | "integer" => format!("{column} # 4096"),
        "smallint" => format!("({column}::int # 2)::smallint"),
        "uuid" => format!(
            "case when {column} is null then gen_random_uuid() else
             encode(set_byte(uuid_send({column}), 7, get_byte(uuid_send({column}), 7) # 1), 'hex')::uuid end"
        ),
        "timestamp with time zone" => format!("{column} + interval '1 microsecond'"),
        "bytea" => format!("set_byte({column}, 9, get_byte({column}, 9) # 1)"),
        "text" => format!("overlay(coalesce({column}, 'nothing') placing 'y' from 12 for 1)"),
        other => panic!("a column of type {other}: say here how a byte of it is flipped"),
    }
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_whole() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    assert_eq!(findings(&store).await, []);
    history(&store).await;
    assert_eq!(findings(&store).await, []);
    catch_up(&store).await;
    let ran = es(&database.url, &["verify"]).await.well();
    assert!(ran.out.starts_with("24 events are whole: "), "{}", ran.out);
    assert!(ran.out.contains("chain, projections"), "{}", ran.out);
    es(&database.url, &["verify", "chain", "--from", "5", "--to", "9"]).await.well();
}

async fn catch_up(store: &Store) {
    for projection in pcs_projections::all() {
        while pcs_projections::step(store, &*projection, 1_000).await.unwrap() > 0 {}
    }
}

/// A read model that is not what the log folds to is named, with the key of the row.
#[tokio::test]
async fn a_read_model_that_is_not_the_fold_is_reported() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    let card = Uuid::from_u128(7);
    let created = Created {
        title: "Greeter".to_owned(),
        description: String::new(),
        prompt: "Hello".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: pcs_domain::ids::ActorId(Uuid::nil()),
    };
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, card, Expected::NoStream, &[PromptCardEvent::Created(created)]).unwrap();
    store.append(append).await.unwrap();
    catch_up(&store).await;
    es(&database.url, &["verify", "projections"]).await.well();
    let changed = sqlx::query("update read.card set title = 'Other'").execute(store.pool()).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    let ran = es(&database.url, &["verify", "projections", "--json"]).await;
    assert_eq!(ran.status, ExitStatus::GateFailed);
    let report = ran.json();
    assert_eq!((&report["found"], &report["findings"][0]["position"]), (&1.into(), &1.into()), "{report:#}");
    let what = report["findings"][0]["what"].as_str().unwrap();
    assert!(what.starts_with("card_list.") && what.contains(&card.to_string()), "{what}");
}

/// X4: one byte of any stored column of an event.
#[tokio::test]
async fn x4_a_flipped_byte_of_any_column_is_reported_with_its_position() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let mut connection = unprotected(&database).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select column_name::text, data_type::text from information_schema.columns
         where table_schema = 'es' and table_name = 'event' order by ordinal_position",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(columns.len() >= 15, "the columns were found: {columns:?}");
    run(&mut connection, &format!("create temporary table kept as select * from es.event where position = {VICTIM}"))
        .await;
    for (column, kind) in columns {
        let value = flipped(&column, &kind);
        run(&mut connection, &format!("update es.event set {column} = {value} where position = {VICTIM}")).await;
        let found = findings(&store).await;
        let names = found.iter().any(|finding| finding.position == Some(VICTIM));
        assert!(names, "a flipped byte of {column} is not found at its position: {found:#?}");
        let moved = if column == "event_id" {
            format!("position = {VICTIM}")
        } else {
            "event_id = (select event_id from kept)".to_owned()
        };
        run(&mut connection, &format!("delete from es.event where {moved}")).await;
        run(&mut connection, "insert into es.event select * from kept").await;
        assert_eq!(findings(&store).await, [], "{column} was put back");
    }
}

/// X4: an event that is gone, in the middle and at the end, of the log and of a stream.
#[tokio::test]
async fn x4_a_removed_event_is_reported_with_its_position() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let mut connection = unprotected(&database).await;
    for position in [1, VICTIM, 22, 24] {
        run(
            &mut connection,
            &format!("create temporary table kept as select * from es.event where position = {position}"),
        )
        .await;
        run(&mut connection, &format!("delete from es.event where position = {position}")).await;
        let found = findings(&store).await;
        assert!(found.iter().any(|finding| finding.position == Some(position)), "{position}: {found:#?}");
        run(&mut connection, "insert into es.event select * from kept").await;
        run(&mut connection, "drop table kept").await;
    }
    assert_eq!(findings(&store).await, []);
}

/// X4: two events that changed places, of one stream and of two.
#[tokio::test]
async fn x4_two_swapped_events_are_reported_with_a_position_of_theirs() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let mut connection = unprotected(&database).await;
    for (one, other) in [(VICTIM, VICTIM + 1), (VICTIM, VICTIM + 3), (1, 24)] {
        let swap = format!(
            "update es.event set position = case position when {one} then -{other} when {other} then -{one} end
             where position in ({one}, {other})"
        );
        // In two steps, for the key is checked row by row; the negative positions need a partition for a moment.
        run(&mut connection, "create table es.event_below partition of es.event for values from (-1000) to (0)").await;
        run(&mut connection, &swap).await;
        run(&mut connection, "update es.event set position = -position where position < 0").await;
        run(&mut connection, "drop table es.event_below").await;
        let found = findings(&store).await;
        let hit = |finding: &Finding| finding.position == Some(one) || finding.position == Some(other);
        assert!(found.iter().any(hit), "{one} and {other}: {found:#?}");
        run(&mut connection, "create table es.event_below partition of es.event for values from (-1000) to (0)").await;
        run(&mut connection, &swap).await;
        run(&mut connection, "update es.event set position = -position where position < 0").await;
        run(&mut connection, "drop table es.event_below").await;
        assert_eq!(findings(&store).await, []);
    }
}

/// What stands beside the events is verified as well: seals, heads of streams, the head of the log.
#[tokio::test]
async fn x4_changed_seals_and_heads_are_reported() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let mut connection = unprotected(&database).await;
    let flips = [
        ("es.seal", "seal = set_byte(seal, 3, get_byte(seal, 3) # 1)", "last_position = 12"),
        ("es.seal", "recorded_at = recorded_at + interval '1 microsecond'", "last_position = 12"),
        ("es.stream", "version = version + 1", "stream_id = '00000000-0000-0000-0000-000000000002'"),
        ("es.stream", "head_hash = set_byte(head_hash, 3, 77)", "stream_id = '00000000-0000-0000-0000-000000000002'"),
        ("es.stream", "stream_no = stream_no + 1", "stream_id = '00000000-0000-0000-0000-000000000002'"),
        ("es.stream", "category = 2", "stream_id = '00000000-0000-0000-0000-000000000002'"),
        ("es.head", "position = position + 1", "true"),
        ("es.head", "seal = set_byte(seal, 3, get_byte(seal, 3) # 1)", "true"),
    ];
    for (table, change, place) in flips {
        run(&mut connection, &format!("create temporary table kept as select * from {table}")).await;
        run(&mut connection, &format!("update {table} set {change} where {place}")).await;
        assert_ne!(findings(&store).await, [], "{table}: {change}");
        run(&mut connection, &format!("delete from {table}")).await;
        run(&mut connection, &format!("insert into {table} select * from kept")).await;
        run(&mut connection, "drop table kept").await;
    }
    assert_eq!(findings(&store).await, []);
}

/// The command says where, and ends with 1.
#[tokio::test]
async fn x4_the_command_names_the_place_and_ends_with_1() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    history(&store).await;
    let mut connection = unprotected(&database).await;
    run(&mut connection, "update es.event set payload = '{\"tags\":7}' where position = 12").await;
    let ran = es(&database.url, &["verify"]).await;
    assert_eq!(ran.status, ExitStatus::GateFailed);
    assert!(
        ran.out.contains("schemas position 12 stream 00000000-0000-0000-0000-000000000003 version 4"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("chain position 12 stream"), "{}", ran.out);
    let report = es(&database.url, &["verify", "schemas", "--json"]).await.json();
    assert_eq!((&report["ok"], &report["found"]), (&false.into(), &1.into()));
    assert_eq!(report["findings"][0]["position"], 12);
    es(&database.url, &["verify", "positions"]).await.well();
}
