//! The global order while writers are slow, fail and race; each test has the number of the acceptance case that it holds.
//!
//! Positions are given out under one locked row, so a later one can't be committed first. What is tested is that this
//! holds for followers, whatever a writer does between taking its positions and its commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Published};
use pcs_store::{
    Append, AppendError, Appended, CommandContext, Expected, Filter, POLL_INTERVAL, Recorded, Store, StoreConfig,
};
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Puts gates around what appends, whatever its arguments are. By the name of their program, writers wait before they
/// do anything but after they have a transaction id ("early"), after they have written ("held"), fail after that
/// ("doomed"), or do all of this by chance ("chance").
const GATES: &str = "do $do$
declare f record;
begin
    for f in
        select p.oid::regprocedure as name, p.proname, pg_get_function_arguments(p.oid) as arguments,
               pg_get_function_result(p.oid) as result, array_to_string(p.proargnames[1:p.pronargs], ', ') as names
        from pg_proc p where p.pronamespace = 'es'::regnamespace and p.proname in ('judge', 'append')
    loop
        execute format('alter function %s rename to gated_%s', f.name, f.proname);
        execute format($create$
            create function es.%1$s(%2$s) returns %3$s language plpgsql as $body$
            declare writer text := current_setting('application_name');
            begin
                if writer = 'early' then
                    perform pg_current_xact_id();
                    perform pg_advisory_xact_lock_shared(1);
                end if;
                %4$s
            end $body$ $create$, f.proname, f.arguments, f.result, case f.proname
                when 'judge' then format('return query select * from es.gated_judge(%s);', f.names)
                else format('declare given bigint := es.gated_append(%s);
                             begin perform es.after_append(writer); return given; end;', f.names)
            end);
    end loop;
end $do$;
create function es.after_append(writer text) returns void language plpgsql as $body$
begin
    if writer in ('held', 'doomed') then
        perform pg_advisory_xact_lock_shared(2);
    end if;
    if writer = 'chance' then
        perform pg_sleep(random() * 0.004);
    end if;
    if writer = 'doomed' or (writer = 'chance' and random() < 0.2) then
        raise exception 'rolled back on purpose';
    end if;
end $body$";

/// A database whose writers can be held up, and the session that holds them.
struct Gated {
    database: TestDatabase,
    gate: PgConnection,
}

impl Gated {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let mut gate = PgConnection::connect(&database.url).await.unwrap();
        sqlx::raw_sql(GATES).execute(&mut gate).await.unwrap();
        Self { database, gate }
    }

    async fn writer(&self, name: &str) -> Store {
        Store::connect(&StoreConfig { connections_max: 4, ..StoreConfig::new(&self.database.url, name) }).await.unwrap()
    }

    async fn close(&mut self, gate: i64) {
        sqlx::query("select pg_advisory_lock($1)").bind(gate).execute(&mut self.gate).await.unwrap();
    }

    async fn open(&mut self, gate: i64) {
        sqlx::query("select pg_advisory_unlock($1)").bind(gate).execute(&mut self.gate).await.unwrap();
    }

    /// Waits until so many writers stand at a gate.
    async fn waiting(&mut self, count: i64) {
        let gate = &mut self.gate;
        for _ in 0..1_000 {
            let found: i64 = sqlx::query_scalar(
                "select count(*) from pg_locks where locktype = 'advisory' and not granted
                     and database = (select oid from pg_database where datname = current_database())",
            )
            .fetch_one(&mut *gate)
            .await
            .unwrap();
            if found >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} writers did not come to the gate");
    }
}

async fn append(store: &Store, stream: Uuid, count: usize) -> Result<Appended, AppendError> {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, &vec![PromptCardEvent::Published(Published {}); count])?;
    store.append(append).await
}

/// An append that goes on by itself.
fn begin(store: &Store, stream: Uuid, count: usize) -> JoinSet<Result<Appended, AppendError>> {
    let (store, mut task) = (store.clone(), JoinSet::new());
    task.spawn(async move { append(&store, stream, count).await });
    task
}

async fn outcome(mut task: JoinSet<Result<Appended, AppendError>>) -> Result<Appended, AppendError> {
    task.join_next().await.unwrap().unwrap()
}

fn places(events: &[Recorded]) -> Vec<(i64, Uuid)> {
    events.iter().map(|event| (event.position, event.stream_id)).collect()
}

/// Follows until so many events have come.
async fn followed(store: &Store, after: i64, count: usize) -> Vec<Recorded> {
    let follower = store.follow(Filter::all());
    let (mut events, mut position) = (Vec::new(), after);
    let deadline = Instant::now() + pcs_tests::PATIENCE;
    while events.len() < count {
        let page = follower.next(position, 1_000, POLL_INTERVAL).await.unwrap();
        position = page.position;
        events.extend(page.events);
        assert!(Instant::now() < deadline, "{count} events did not come, only {}", events.len());
    }
    events
}

#[tokio::test]
async fn g1_g2_later_positions_wait_for_slow_writers_of_several_events() {
    let mut gated = Gated::new().await;
    let (held, other, third) = (gated.writer("held").await, gated.writer("b").await, gated.writer("c").await);
    let follower = other.follow(Filter::all());
    let (a, b, c) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    gated.close(2).await;
    let slow = begin(&held, a, 3);
    gated.waiting(1).await;
    let (second, last) = (begin(&other, b, 2), begin(&third, c, 2));
    let page = follower.next(0, 100, Duration::from_millis(500)).await.unwrap();
    assert_eq!((page.events.len(), page.position), (0, 0), "nothing is delivered before the fate of the first");
    assert!(other.read_after(0, 100).await.unwrap().is_empty());
    gated.open(2).await;
    assert_eq!(outcome(slow).await.unwrap().first_position, 1);
    outcome(second).await.unwrap();
    outcome(last).await.unwrap();
    let events = followed(&other, 0, 7).await;
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<i64>>(), (1..=7).collect::<Vec<i64>>());
    assert!(events[..3].iter().all(|event| event.stream_id == a));
}

#[tokio::test]
async fn g3_g6_after_a_rollback_the_next_is_visible_at_once_at_the_same_position() {
    let mut gated = Gated::new().await;
    let (doomed, other) = (gated.writer("doomed").await, gated.writer("b").await);
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    append(&other, b, 1).await.unwrap();
    gated.close(2).await;
    let failing = begin(&doomed, a, 2);
    gated.waiting(1).await;
    let next = begin(&other, b, 1);
    // The cursor stands right before what is rolled back.
    let follower = other.follow(Filter::all());
    assert!(follower.next(1, 10, Duration::from_millis(300)).await.unwrap().events.is_empty());
    let opened_at = Instant::now();
    gated.open(2).await;
    assert!(outcome(failing).await.is_err());
    outcome(next).await.unwrap();
    let events = followed(&other, 1, 1).await;
    assert_eq!(places(&events), [(2, b)]);
    assert!(opened_at.elapsed() < Duration::from_secs(2), "it took {:?}", opened_at.elapsed());
}

#[tokio::test]
async fn g4_a_thousand_rolled_back_appends_delay_nothing() {
    let gated = Gated::new().await;
    let other = gated.writer("b").await;
    let mut session = PgConnection::connect(&gated.database.url).await.unwrap();
    for _ in 0..1_000 {
        sqlx::raw_sql("begin; update es.head set position = position + 7; rollback")
            .execute(&mut session)
            .await
            .unwrap();
    }
    let appended = append(&other, Uuid::from_u128(1), 1).await.unwrap();
    assert_eq!(appended.first_position, 1);
    let begun_at = Instant::now();
    followed(&other, 0, 1).await;
    assert!(begun_at.elapsed() < Duration::from_secs(2), "it took {:?}", begun_at.elapsed());
}

#[tokio::test]
async fn g5_a_commit_between_two_looks_is_delivered_by_the_second() {
    let mut gated = Gated::new().await;
    let (held, other) = (gated.writer("held").await, gated.writer("b").await);
    gated.close(2).await;
    let slow = begin(&held, Uuid::from_u128(1), 1);
    gated.waiting(1).await;
    // A reader whose statement has its snapshot before the commit, and reads rows after it.
    let reader = other.clone();
    let mut looking = JoinSet::new();
    looking.spawn(async move {
        sqlx::query_as::<_, (i64, i64)>(
            "with horizon as materialized (select position, pg_sleep(0.5) from es.head)
             select h.position, (select count(*) from es.event e where e.position > h.position) from horizon h",
        )
        .fetch_one(reader.pool())
        .await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gated.open(2).await;
    outcome(slow).await.unwrap();
    let (horizon, beyond) = looking.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!((horizon, beyond), (0, 0), "head and rows are of one moment");
    assert_eq!(followed(&other, horizon, 1).await.len(), 1);
}

#[tokio::test]
async fn g7_catching_up_during_slow_appends_skips_nothing() {
    let gated = Gated::new().await;
    let (reader, chance) = (gated.writer("reader").await, gated.writer("chance").await);
    for _ in 0..5 {
        append(&reader, Uuid::new_v4(), 1_000).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        while !stopping.load(Ordering::SeqCst) {
            drop(append(&chance, Uuid::new_v4(), 2).await);
        }
    });
    let mut caught_up = 0;
    for _ in 0..5 {
        let (follower, mut position) = (reader.follow(Filter::all()), 0);
        loop {
            let page = follower.read(position, 333).await.unwrap();
            let expected: Vec<i64> = (position + 1..=page.position).collect();
            assert_eq!(page.events.iter().map(|event| event.position).collect::<Vec<i64>>(), expected);
            position = page.position;
            if page.caught_up {
                break;
            }
        }
        assert!(position >= caught_up.max(5_000));
        caught_up = position;
    }
    stop.store(true, Ordering::SeqCst);
    writing.join_next().await;
}

#[tokio::test]
async fn g8_idle_sessions_and_other_databases_hold_up_nobody() {
    let gated = Gated::new().await;
    let other_database = TestDatabase::new().await;
    let store = gated.writer("b").await;
    let mut idle = PgConnection::connect(&gated.database.url).await.unwrap();
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from es.event; select pg_current_xact_id()")
        .execute(&mut idle)
        .await
        .unwrap();
    let mut elsewhere = PgConnection::connect(&other_database.url).await.unwrap();
    sqlx::raw_sql("begin; update es.head set position = position + 1").execute(&mut elsewhere).await.unwrap();
    append(&store, Uuid::from_u128(1), 1).await.unwrap();
    let begun_at = Instant::now();
    assert_eq!(followed(&store, 0, 1).await.len(), 1);
    assert!(begun_at.elapsed() < Duration::from_secs(2), "it took {:?}", begun_at.elapsed());
}

#[tokio::test]
async fn g9_an_old_transaction_that_appends_late_keeps_the_streams_order() {
    let mut gated = Gated::new().await;
    let (early, other) = (gated.writer("early").await, gated.writer("b").await);
    let stream = Uuid::from_u128(1);
    gated.close(1).await;
    let late = begin(&early, stream, 1);
    gated.waiting(1).await;
    for _ in 0..3 {
        append(&other, stream, 1).await.unwrap();
    }
    gated.open(1).await;
    assert_eq!(outcome(late).await.unwrap().version, 4);
    let events = followed(&other, 0, 4).await;
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<i64>>(), [1, 2, 3, 4]);
}

/// How long [`g10_what_is_delivered_is_what_was_committed`] goes on; `pcs es chaos` does the same for longer.
const CHANCE_FOR: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn g10_what_is_delivered_is_what_was_committed() {
    let gated = Gated::new().await;
    let reader = gated.writer("reader").await;
    let until = Instant::now() + CHANCE_FOR;
    let mut writers = JoinSet::new();
    for number in 0..8_u128 {
        let store = gated.writer("chance").await;
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0.. {
                if Instant::now() >= until {
                    break;
                }
                // Own streams, and one that all share.
                let stream = Uuid::from_u128(if round % 3 == 0 { 99 } else { number });
                if let Ok(appended) = append(&store, stream, 1 + usize::from(round % 4 == 0)).await {
                    acknowledged.extend(appended.first_position..=appended.last_position);
                }
            }
            acknowledged
        });
    }
    let follower = reader.follow(Filter::all());
    let (mut delivered, mut position) = (Vec::new(), 0);
    let mut acknowledged = Vec::new();
    loop {
        let page = follower.next(position, 50, Duration::from_millis(20)).await.unwrap();
        position = page.position;
        delivered.extend(page.events);
        while let Some(ended) = writers.try_join_next() {
            acknowledged.extend(ended.unwrap());
        }
        if writers.is_empty() && position >= reader.head().await.unwrap() {
            break;
        }
    }
    acknowledged.sort_unstable();
    let positions: Vec<i64> = delivered.iter().map(|event| event.position).collect();
    assert!(positions.len() > 20, "only {} appends got through", positions.len());
    assert_eq!(positions, (1..=reader.head().await.unwrap()).collect::<Vec<i64>>(), "each once, in order");
    assert_eq!(positions, acknowledged, "nothing but what was acknowledged, and all of it");
    let mut versions: BTreeMap<Uuid, i64> = BTreeMap::new();
    for event in &delivered {
        let next = versions.entry(event.stream_id).or_insert(0);
        *next += 1;
        assert_eq!(event.version, *next);
    }
    eventually("the log is at rest", || async { (reader.head().await.ok()? == position).then_some(()) }).await;
}
