//! Rebuild = live: emptied and folded again in pages of any size, every read model has the same content.

use std::sync::Arc;

use pcs_domain::ids::{CommandId, TenantId, TestCaseId};
use pcs_domain::prompt_card::{PromptCardEvent, TestCase};
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::{DomainEvent, EventSet};
use pcs_projections::Projection;
use pcs_store::{Append, CommandContext, Expected, Store};
use pcs_tests::database::TestDatabase;
use pcs_tests::samples;
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;
use uuid::Uuid;

const PAGES: [i64; 4] = [1, 3, 17, 5_000];

pub(super) async fn append<E: EventSet>(store: &Store, stream: Uuid, events: &[E]) {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, events).unwrap();
    store.append(append).await.unwrap();
}

/// Every type of event, on several cards, runs and executions that belong together.
pub(super) async fn history(store: &Store) {
    for number in 0..5_u128 {
        let (card, run) = (Uuid::from_u128(100 + number), Uuid::from_u128(200 + number));
        for event in samples::all() {
            match event {
                DomainEvent::PromptCard(event) => append(store, card, &[own_cases(event, number)]).await,
                DomainEvent::TestRun(TestRunEvent::Requested(mut event)) => {
                    event.card_id.0 = card;
                    append(store, run, &[TestRunEvent::Requested(event)]).await;
                }
                // A run ends in one of two ways.
                DomainEvent::TestRun(event) => {
                    let cancelled = matches!(event, TestRunEvent::Cancelled(_));
                    if cancelled == (number % 2 == 0) {
                        append(store, run, &[event]).await;
                    }
                }
                DomainEvent::Execution(event) => append_execution(store, event, card, run, number).await,
                DomainEvent::DataSubject(event) => append(store, Uuid::from_u128(400 + number), &[event]).await,
                DomainEvent::JobPolicy(event) => append(store, Uuid::from_u128(500 + number), &[event]).await,
                DomainEvent::Schedule(event) => append(store, Uuid::from_u128(600 + number), &[event]).await,
                DomainEvent::Job(event) => append(store, Uuid::from_u128(800 + number), &[event]).await,
                DomainEvent::Regrade(event) => append(store, Uuid::from_u128(900 + number), &[event]).await,
                DomainEvent::Review(event) => append(store, Uuid::from_u128(950 + number), &[event]).await,
                DomainEvent::Unread(unread) => panic!("a sample can be read: {unread:?}"),
            }
        }
    }
}

fn own_cases(event: PromptCardEvent, number: u128) -> PromptCardEvent {
    let own = |case: TestCase| TestCase { id: TestCaseId(Uuid::from_u128(300 + number)), ..case };
    match event {
        PromptCardEvent::CasesAdded(mut e) => {
            e.cases = e.cases.into_iter().map(own).collect();
            PromptCardEvent::CasesAdded(e)
        }
        PromptCardEvent::CaseChanged(mut e) => {
            e.case = own(e.case);
            PromptCardEvent::CaseChanged(e)
        }
        PromptCardEvent::CasesRemoved(mut e) => {
            e.case_ids = vec![TestCaseId(Uuid::from_u128(300 + number))];
            PromptCardEvent::CasesRemoved(e)
        }
        other => other,
    }
}

async fn append_execution(
    store: &Store,
    mut event: pcs_domain::execution::ExecutionEvent,
    card: Uuid,
    run: Uuid,
    number: u128,
) {
    use pcs_domain::execution::ExecutionEvent as Event;
    let place = match &event {
        Event::Finished(_) => 0,
        Event::AttemptFailed(_) | Event::DeadLettered(_) | Event::Snoozed(_) => 1,
        Event::Dismissed(_) => return append(store, Uuid::from_u128(700 + number), &[event]).await,
    };
    let cell = match &mut event {
        Event::Finished(e) => &mut e.cell,
        Event::AttemptFailed(e) => &mut e.cell,
        Event::DeadLettered(e) => &mut e.cell,
        Event::Snoozed(e) => &mut e.cell,
        Event::Dismissed(_) => unreachable!("it has no cell"),
    };
    cell.card_id.0 = card;
    cell.run_id.0 = run;
    cell.repeat = place;
    cell.case_id = TestCaseId(Uuid::from_u128(300 + number));
    let id = cell.id().0;
    append(store, id, &[event]).await;
}

pub(super) async fn catch_up(store: &Store, projection: &dyn Projection, page: i64) {
    while pcs_projections::step(store, projection, page).await.unwrap() > 0 {}
    let position = pcs_projections::position(store.pool(), projection.name()).await.unwrap();
    assert_eq!(position, store.head().await.unwrap(), "{} is up with the log", projection.name());
}

/// All rows of all tables, as text, in an order of their own.
pub(super) async fn content(store: &Store, projection: &dyn Projection) -> Vec<String> {
    let mut rows = Vec::new();
    for table in projection.tables() {
        let statement = format!("select row_to_json(t)::text from read.{table} t order by 1");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(store.pool()).await.unwrap();
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows
}

#[tokio::test]
async fn every_projection_rebuilt_equals_itself_living() {
    let store = TestDatabase::new().await.store().await;
    let projections: Vec<Arc<dyn Projection>> = pcs_projections::all();
    // Living: the projections follow while the history grows.
    let mut living = JoinSet::new();
    for projection in &projections {
        let (store, projection) = (store.clone(), Arc::clone(projection));
        living.spawn(async move {
            for _ in 0..40 {
                pcs_projections::step(&store, &*projection, 7).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        });
    }
    history(&store).await;
    while let Some(ended) = living.join_next().await {
        ended.unwrap();
    }
    for projection in &projections {
        catch_up(&store, &**projection, 7).await;
        let live = content(&store, &**projection).await;
        assert!(!live.is_empty(), "{} has no rows: the history does not touch it", projection.name());
        for page in PAGES {
            pcs_projections::reset(store.pool(), &**projection).await.unwrap();
            assert!(content(&store, &**projection).await.is_empty());
            catch_up(&store, &**projection, page).await;
            assert_eq!(content(&store, &**projection).await, live, "{} in pages of {page}", projection.name());
        }
    }
}

#[tokio::test]
async fn names_and_tables_belong_to_one_projection_each() {
    let mut names = std::collections::BTreeSet::new();
    let mut tables = std::collections::BTreeSet::new();
    for projection in pcs_projections::all() {
        assert!(names.insert(projection.name()), "{} is there twice", projection.name());
        for table in projection.tables() {
            assert!(tables.insert(*table), "{table} is written by two projections");
        }
    }
}
