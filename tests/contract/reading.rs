//! Reading the log by stream and with filters; the numbers are those of the acceptance list.

use pcs_domain::Category;
use pcs_domain::EventSet;
use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Published, Tagged, Unpublished};
use pcs_domain::test_run::{CancelCause, Cancelled, TestRunEvent};
use pcs_store::{Append, CommandContext, Direction, Expected, Selection, Store};
use pcs_tests::database::TestDatabase;
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;

async fn append<E: EventSet>(store: &Store, tenant: TenantId, stream: Uuid, events: &[E]) {
    let mut append = Append::new(CommandContext::derived(tenant, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::Any, events).unwrap();
    store.append(append).await.unwrap();
}

fn tagged(count: usize) -> Vec<PromptCardEvent> {
    (0..count).map(|n| PromptCardEvent::Tagged(Tagged { tags: vec![n.to_string()] })).collect()
}

/// R1: with pages of 1, 2 and many, forward and backward, every event comes once, and the end is known.
#[tokio::test]
async fn r1_a_stream_is_read_once_in_both_directions_in_pages_of_any_size() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, TENANT, Uuid::new_v4(), &tagged(3)).await;
    append(&store, TENANT, stream, &tagged(7)).await;
    for limit in [1, 2, 3, 7, 8, 100] {
        for (direction, first, step) in [(Direction::Forward, 1, 1), (Direction::Backward, i64::MAX, -1)] {
            let (mut versions, mut from) = (Vec::new(), first);
            loop {
                let page = store.stream_page(TENANT, stream, from, direction, limit).await.unwrap().unwrap();
                assert!(page.events.len() <= usize::try_from(limit).unwrap() && !page.events.is_empty());
                versions.extend(page.events.iter().map(|event| event.version));
                from = page.events.last().unwrap().version + step;
                if page.is_end {
                    break;
                }
            }
            let mut expected: Vec<i64> = (1..=7).collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            assert_eq!(versions, expected, "{direction:?} in pages of {limit}");
        }
    }
}

/// R2: past the end is an empty page, and the same place has events once they are there.
#[tokio::test]
async fn r2_a_page_past_the_end_is_empty_until_there_are_events() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, TENANT, stream, &tagged(2)).await;
    let page = store.stream_page(TENANT, stream, 3, Direction::Forward, 10).await.unwrap().unwrap();
    assert!(page.events.is_empty() && page.is_end);
    let head = store.head().await.unwrap();
    assert!(store.read_matching(&Selection::default(), head, 10).await.unwrap().is_empty());
    append(&store, TENANT, stream, &tagged(1)).await;
    let page = store.stream_page(TENANT, stream, 3, Direction::Forward, 10).await.unwrap().unwrap();
    assert_eq!(page.events.iter().map(|event| event.version).collect::<Vec<_>>(), [3]);
    let found = store.read_matching(&Selection::default(), head, 10).await.unwrap();
    assert_eq!(found.iter().map(|event| event.position).collect::<Vec<_>>(), [head + 1]);
}

/// R3: a stream that is not there is told apart from a page without events, and from another tenant's stream.
#[tokio::test]
async fn r3_a_stream_that_is_not_there_is_no_empty_page() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    append(&store, TENANT, stream, &tagged(1)).await;
    assert!(store.stream_page(TENANT, Uuid::new_v4(), 1, Direction::Forward, 10).await.unwrap().is_none());
    assert!(store.stream_page(TenantId(2), stream, 1, Direction::Forward, 10).await.unwrap().is_none());
    assert!(store.stream_page(TENANT, stream, 9, Direction::Forward, 10).await.unwrap().is_some());
    assert_eq!(store.stream_head(TENANT, Uuid::new_v4()).await.unwrap(), None);
    assert_eq!(store.stream_head(TENANT, stream).await.unwrap().unwrap().version, 1);
}

/// R7: what a filter leaves fills the page, however rare it is.
#[tokio::test]
async fn r7_filters_come_before_the_limit() {
    let store = TestDatabase::new().await.store().await;
    let (card, run, other) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    for _ in 0..5 {
        append(&store, TENANT, Uuid::new_v4(), &tagged(20)).await;
        append(&store, TENANT, card, &[PromptCardEvent::Published(Published {})]).await;
        let cancelled = Cancelled { reason: String::new(), cancelled_by: None, cause: CancelCause::Asked };
        append(&store, TENANT, run, &[TestRunEvent::Cancelled(cancelled)]).await;
        append(&store, TenantId(2), other, &[PromptCardEvent::Unpublished(Unpublished {})]).await;
    }
    let positions =
        |events: Vec<pcs_store::StoredEvent>| -> Vec<i64> { events.iter().map(|event| event.position).collect() };
    let by_category = Selection { categories: vec![Category::TestRun], ..Selection::default() };
    let by_type = Selection { types: vec!["prompt_card.published".to_owned()], ..Selection::default() };
    let by_stream = Selection { tenant: Some(TENANT), stream_id: Some(card), ..Selection::default() };
    let by_tenant = Selection { tenant: Some(TenantId(2)), ..Selection::default() };
    for (selection, first) in [(by_type, 21), (by_category, 22), (by_stream, 21), (by_tenant, 23)] {
        let expected: Vec<i64> = (0..5).map(|round| first + 23 * round).collect();
        assert_eq!(positions(store.read_matching(&selection, 0, 3).await.unwrap()), expected[..3]);
        assert_eq!(positions(store.read_matching(&selection, expected[2], 3).await.unwrap()), expected[3..]);
        // A scan finds the same in bounded steps, and says how far it has looked where it finds nothing.
        let (mut found, mut after) = (Vec::new(), 0);
        while after < 115 {
            let scanned = store.scan(&selection, after, 115, 10).await.unwrap();
            assert_eq!(scanned.position, (after + 10).min(115));
            found.extend(positions(scanned.events));
            after = scanned.position;
        }
        assert_eq!(found, expected);
    }
}
