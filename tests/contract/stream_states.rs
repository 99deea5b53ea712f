//! Closed streams: what deleting, archiving and tombstoning hide and refuse; the numbers are those of the acceptance list.

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCard, PromptCardEvent, Published};
use pcs_store::{Append, AppendError, Appended, CommandContext, Expected, Store, StreamState};
use pcs_tests::database::TestDatabase;
use uuid::Uuid;

const TENANT: TenantId = TenantId::DEFAULT;

fn context() -> CommandContext {
    CommandContext::derived(TENANT, CommandId(Uuid::new_v4()))
}

async fn append(
    store: &Store,
    context: CommandContext,
    stream: Uuid,
    expected: Expected,
) -> Result<Appended, AppendError> {
    let mut append = Append::new(context);
    store.write(&mut append, stream, expected, &[PromptCardEvent::Published(Published {})])?;
    store.append(append).await
}

async fn closed(store: &Store, state: StreamState) -> Uuid {
    let stream = Uuid::new_v4();
    append(store, context(), stream, Expected::NoStream).await.unwrap();
    assert_eq!(store.set_stream_state(TENANT, stream, state).await.unwrap(), Some(StreamState::Open));
    stream
}

fn refused_as(result: Result<Appended, AppendError>, wanted: StreamState) {
    assert!(matches!(result, Err(AppendError::StreamClosed { state, .. }) if state == wanted), "{result:?}");
}

#[tokio::test]
async fn a6_no_expectation_gets_past_a_closed_stream_and_the_refusal_names_its_state() {
    let store = TestDatabase::new().await.store().await;
    for state in [StreamState::Deleted, StreamState::Archived, StreamState::Tombstoned] {
        let stream = closed(&store, state).await;
        for expected in [Expected::Any, Expected::Exists, Expected::Exact(1), Expected::NoStream, Expected::Exact(9)] {
            refused_as(append(&store, context(), stream, expected).await, state);
        }
    }
    assert_eq!(store.head().await.unwrap(), 3);
}

#[tokio::test]
async fn a15_an_archived_stream_is_read_and_goes_on_at_its_next_version_when_it_is_opened() {
    let store = TestDatabase::new().await.store().await;
    let stream = closed(&store, StreamState::Archived).await;
    assert_eq!(store.read_stream(TENANT, stream, 0, 10).await.unwrap().len(), 1);
    store.set_stream_state(TENANT, stream, StreamState::Open).await.unwrap();
    assert_eq!(append(&store, context(), stream, Expected::Exact(1)).await.unwrap().version, 2);
}

#[tokio::test]
async fn d1_a_deleted_stream_is_hidden_and_its_events_stay_in_the_log() {
    let store = TestDatabase::new().await.store().await;
    let stream = closed(&store, StreamState::Deleted).await;
    assert!(store.read_stream(TENANT, stream, 0, 10).await.unwrap().is_empty());
    assert_eq!(store.load::<PromptCard>(TENANT, stream).await.unwrap().revision, 0);
    assert_eq!(store.read_after(0, 10).await.unwrap().len(), 1);
    store.set_stream_state(TENANT, stream, StreamState::Open).await.unwrap();
    assert_eq!(append(&store, context(), stream, Expected::Any).await.unwrap().version, 2);
    assert_eq!(store.read_stream(TENANT, stream, 0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn d2_a_tombstone_is_for_ever() {
    let store = TestDatabase::new().await.store().await;
    let stream = closed(&store, StreamState::Tombstoned).await;
    for wanted in [StreamState::Open, StreamState::Archived] {
        let before = store.set_stream_state(TENANT, stream, wanted).await.unwrap();
        assert_eq!(before, Some(StreamState::Tombstoned));
    }
    refused_as(append(&store, context(), stream, Expected::Any).await, StreamState::Tombstoned);
    assert!(store.read_stream(TENANT, stream, 0, 10).await.unwrap().is_empty());
    assert_eq!(store.set_stream_state(TENANT, Uuid::new_v4(), StreamState::Deleted).await.unwrap(), None);
}

#[tokio::test]
async fn i9_a_command_that_is_sent_again_after_the_deletion_has_its_first_result_and_opens_nothing() {
    let store = TestDatabase::new().await.store().await;
    let stream = Uuid::new_v4();
    let command = CommandContext { fingerprint: Some(Uuid::from_u128(1)), ..context() };
    let first = append(&store, command.clone(), stream, Expected::NoStream).await.unwrap();
    store.set_stream_state(TENANT, stream, StreamState::Deleted).await.unwrap();
    let again = append(&store, command, stream, Expected::NoStream).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.last_position, first.last_position);
    refused_as(append(&store, context(), stream, Expected::Any).await, StreamState::Deleted);
}
