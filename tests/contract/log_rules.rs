//! What every event log holds, on PostgreSQL and in memory alike; the numbers are those of the acceptance list
//! (docs/acceptance.md).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use pcs_domain::ids::{ActorId, CommandId, PromptCardId, TenantId};
use pcs_domain::ports::System;
use pcs_domain::prompt_card::{
    Create, PromptCard, PromptCardCommand, PromptCardEvent, PromptCardRejection, Published, Tagged,
};
use pcs_domain::{Category, DomainEvent};
use pcs_store::{
    Append, AppendError, Appended, CommandContext, EventLog, ExecuteError, Expected, MemoryLog, Recorded, StoreError,
    StreamState, execute_on,
};
use pcs_tests::database::TestDatabase;
use uuid::Uuid;

/// Every rule as a test on each log.
macro_rules! rules {
    ($($rule:ident)*) => {
        mod postgres {
            use super::*;
            $( #[tokio::test] async fn $rule() { super::$rule(&TestDatabase::new().await.store().await).await; } )*
        }
        mod memory {
            use super::*;
            $( #[tokio::test] async fn $rule() { super::$rule(&MemoryLog::new(System).unwrap()).await; } )*
        }
    };
}

rules! {
    a1_two_events_on_no_stream_are_versions_1_and_2
    a2_no_stream_on_a_stream_conflicts_with_its_version
    a3_an_exact_version_is_that_version_and_no_other
    a4_exists_is_met_by_a_stream_only
    a5_any_is_met_by_everything
    a6_no_expectation_gets_past_a_closed_stream_and_the_refusal_names_its_state
    a7_of_many_with_the_same_expectation_one_wins
    a8_parallel_appends_to_one_stream_are_numbered_without_gaps
    a9_exactly_what_was_acknowledged_is_there
    a10_what_was_refused_took_no_position
    a11_no_events_write_nothing_whatever_was_expected
    a12_ten_thousand_events_are_one_append_in_order
    a13_an_event_that_is_too_large_is_refused_by_name
    a15_an_archived_stream_is_read_and_goes_on_at_its_next_version_when_it_is_opened
    a17_commands_over_the_same_streams_in_any_order_all_end
    a19_a_conflict_does_not_touch_its_neighbours
    i1_i2_i3_a_command_that_is_sent_again_has_its_first_result
    i4_i5_other_content_under_a_known_id_is_refused
    i6_a_known_command_has_its_result_whatever_it_expects_now
    i7_the_same_content_in_two_streams_are_two_events
    i8_identical_commands_at_once_are_one
    i9_a_command_that_is_sent_again_after_the_deletion_opens_nothing
    m1_a_command_over_two_streams_is_all_or_nothing
    m2_a_stream_can_be_checked_without_being_written
    m3_the_events_of_a_command_are_in_its_order_and_a_stream_stands_once_in_it
    m4_the_events_of_a_command_have_neighbouring_positions
    r4_payloads_come_back_as_they_were_written
    r5_what_surrounds_an_event_is_kept
    d1_a_deleted_stream_is_hidden_and_its_events_stay_in_the_log
    d2_a_tombstone_is_for_ever
    t1_equal_ids_of_two_tenants_have_nothing_to_do_with_each_other
    rules_and_revisions_refuse_differently
}

const TENANT: TenantId = TenantId::DEFAULT;

fn context() -> CommandContext {
    CommandContext::derived(TENANT, CommandId(Uuid::new_v4()))
}

fn remembered(command_id: Uuid, fingerprint: u128) -> CommandContext {
    CommandContext {
        fingerprint: Some(Uuid::from_u128(fingerprint)),
        ..CommandContext::derived(TENANT, CommandId(command_id))
    }
}

fn published() -> PromptCardEvent {
    PromptCardEvent::Published(Published {})
}

fn tagged(tag: &str) -> PromptCardEvent {
    PromptCardEvent::Tagged(Tagged { tags: vec![tag.to_owned()] })
}

async fn append_as<L: EventLog>(
    log: &L,
    context: CommandContext,
    stream: Uuid,
    expected: Expected,
    events: &[PromptCardEvent],
) -> Result<Appended, AppendError> {
    let mut append = Append::new(context);
    log.write(&mut append, stream, expected, events)?;
    log.append(append).await
}

async fn append<L: EventLog>(log: &L, stream: Uuid, expected: Expected) -> Result<Appended, AppendError> {
    append_as(log, context(), stream, expected, &[published()]).await
}

/// A stream with so many events.
async fn stream_of<L: EventLog>(log: &L, len: usize) -> Uuid {
    let stream = Uuid::new_v4();
    append_as(log, context(), stream, Expected::NoStream, &vec![published(); len]).await.unwrap();
    stream
}

fn conflict(result: Result<Appended, AppendError>) -> i64 {
    match result {
        Err(AppendError::Conflict { actual, .. }) => actual,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

async fn whole_log<L: EventLog>(log: &L) -> Vec<Recorded> {
    let mut whole: Vec<Recorded> = Vec::new();
    loop {
        let after = whole.last().map_or(0, |event| event.position);
        let page = log.read_after(after, 1_000).await.unwrap();
        if page.is_empty() {
            return whole;
        }
        whole.extend(page);
    }
}

fn tag(recorded: &Recorded) -> &str {
    match &recorded.event {
        DomainEvent::PromptCard(PromptCardEvent::Tagged(tagged)) => &tagged.tags[0],
        other => panic!("{other:?}"),
    }
}

async fn a1_two_events_on_no_stream_are_versions_1_and_2<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    let two = [published(), published()];
    let appended = append_as(log, context(), stream, Expected::NoStream, &two).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position, appended.version), (1, 2, 2));
    let stored = log.read_stream(TENANT, stream, 0, 10).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2]);
}

async fn a2_no_stream_on_a_stream_conflicts_with_its_version<L: EventLog>(log: &L) {
    let stream = stream_of(log, 3).await;
    assert_eq!(conflict(append(log, stream, Expected::NoStream).await), 3);
    assert_eq!(log.head().await.unwrap(), 3);
}

async fn a3_an_exact_version_is_that_version_and_no_other<L: EventLog>(log: &L) {
    let stream = stream_of(log, 3).await;
    for other in [2, 9] {
        assert_eq!(conflict(append(log, stream, Expected::Exact(other)).await), 3);
    }
    assert_eq!(append(log, stream, Expected::Exact(3)).await.unwrap().version, 4);
}

async fn a4_exists_is_met_by_a_stream_only<L: EventLog>(log: &L) {
    assert_eq!(conflict(append(log, Uuid::new_v4(), Expected::Exists).await), 0);
    let stream = stream_of(log, 1).await;
    assert_eq!(append(log, stream, Expected::Exists).await.unwrap().version, 2);
}

async fn a5_any_is_met_by_everything<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    for version in 1..=3 {
        assert_eq!(append(log, stream, Expected::Any).await.unwrap().version, version);
    }
}

async fn closed<L: EventLog>(log: &L, state: StreamState) -> Uuid {
    let stream = stream_of(log, 1).await;
    assert_eq!(log.set_stream_state(TENANT, stream, state).await.unwrap(), Some(StreamState::Open));
    stream
}

fn refused_as(result: Result<Appended, AppendError>, wanted: StreamState) {
    assert!(matches!(result, Err(AppendError::StreamClosed { state, .. }) if state == wanted), "{result:?}");
}

async fn a6_no_expectation_gets_past_a_closed_stream_and_the_refusal_names_its_state<L: EventLog>(log: &L) {
    for state in [StreamState::Deleted, StreamState::Archived, StreamState::Tombstoned] {
        let stream = closed(log, state).await;
        for expected in [Expected::Any, Expected::Exists, Expected::Exact(1), Expected::NoStream, Expected::Exact(9)] {
            refused_as(append(log, stream, expected).await, state);
        }
    }
    assert_eq!(log.head().await.unwrap(), 3);
}

async fn a7_of_many_with_the_same_expectation_one_wins<L: EventLog>(log: &L) {
    let stream = stream_of(log, 1).await;
    let results = join_all((0..20).map(|_| append(log, stream, Expected::Exact(1)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.into_iter().filter(Result::is_err).all(|result| conflict(result) == 2));
    assert_eq!(log.head().await.unwrap(), 2);
}

async fn a8_parallel_appends_to_one_stream_are_numbered_without_gaps<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    let results = join_all((0..40).map(|_| append(log, stream, Expected::Any))).await;
    let versions: BTreeSet<i64> = results.into_iter().map(|result| result.unwrap().version).collect();
    assert_eq!(versions, (1..=40).collect());
    let stored = log.read_stream(TENANT, stream, 0, 100).await.unwrap();
    assert_eq!(stored.iter().map(|event| event.version).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}

async fn a9_exactly_what_was_acknowledged_is_there<L: EventLog>(log: &L) {
    let streams: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    let appends = (0..200_usize).map(|i| {
        let expected = if i % 3 == 0 { Expected::NoStream } else { Expected::Any };
        append_as(log, context(), streams[i % 5], expected, std::slice::from_ref(&EVENTS[i % 2]))
    });
    let mut acknowledged: Vec<i64> = join_all(appends).await.into_iter().flatten().map(|a| a.last_position).collect();
    acknowledged.sort_unstable();
    let stored: Vec<i64> = whole_log(log).await.iter().map(|event| event.position).collect();
    assert_eq!(stored, acknowledged);
}

static EVENTS: [PromptCardEvent; 2] =
    [PromptCardEvent::Published(Published {}), PromptCardEvent::Tagged(Tagged { tags: Vec::new() })];

async fn a10_what_was_refused_took_no_position<L: EventLog>(log: &L) {
    let stream = stream_of(log, 1).await;
    for _ in 0..5 {
        conflict(append(log, stream, Expected::Exact(7)).await);
    }
    assert_eq!(append(log, stream, Expected::Exact(1)).await.unwrap().first_position, 2);
    assert_eq!(whole_log(log).await.len(), 2);
}

async fn a11_no_events_write_nothing_whatever_was_expected<L: EventLog>(log: &L) {
    let (stream, none) = (stream_of(log, 1).await, Uuid::new_v4());
    for (stream, expected) in [
        (stream, Expected::Any),
        (stream, Expected::Exists),
        (stream, Expected::Exact(1)),
        (none, Expected::Any),
        (none, Expected::NoStream),
        (none, Expected::Exact(0)),
    ] {
        append_as(log, context(), stream, expected, &[]).await.unwrap();
    }
    assert_eq!(conflict(append_as(log, context(), stream, Expected::NoStream, &[]).await), 1);
    assert_eq!(log.head().await.unwrap(), 1);
    assert_eq!(conflict(append(log, none, Expected::Exists).await), 0);
}

async fn a12_ten_thousand_events_are_one_append_in_order<L: EventLog>(log: &L) {
    let many: Vec<PromptCardEvent> = (0..10_000).map(|i| tagged(&i.to_string())).collect();
    let appended = append_as(log, context(), Uuid::new_v4(), Expected::NoStream, &many).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position, appended.version), (1, 10_000, 10_000));
    let whole = whole_log(log).await;
    assert!(whole.iter().enumerate().all(|(i, recorded)| tag(recorded) == i.to_string()));
    assert_eq!(whole.len(), 10_000);
}

async fn a13_an_event_that_is_too_large_is_refused_by_name<L: EventLog>(log: &L) {
    let large = tagged(&"x".repeat(pcs_store::EVENT_BYTES_MAX));
    let result = append_as(log, context(), Uuid::new_v4(), Expected::Any, &[published(), large]).await;
    match result {
        Err(AppendError::Store(StoreError::TooLarge { what, limit_bytes })) => {
            assert_eq!((what.as_str(), limit_bytes), ("event prompt_card.tagged.v1", pcs_store::EVENT_BYTES_MAX));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.head().await.unwrap(), 0);
}

async fn a15_an_archived_stream_is_read_and_goes_on_at_its_next_version_when_it_is_opened<L: EventLog>(log: &L) {
    let stream = closed(log, StreamState::Archived).await;
    assert_eq!(log.read_stream(TENANT, stream, 0, 10).await.unwrap().len(), 1);
    log.set_stream_state(TENANT, stream, StreamState::Open).await.unwrap();
    assert_eq!(append(log, stream, Expected::Exact(1)).await.unwrap().version, 2);
}

async fn a17_commands_over_the_same_streams_in_any_order_all_end<L: EventLog>(log: &L) {
    let (x, y) = (Uuid::new_v4(), Uuid::new_v4());
    let both = |i: usize| async move {
        let mut append = Append::new(context());
        let (first, second) = if i.is_multiple_of(2) { (x, y) } else { (y, x) };
        log.write(&mut append, first, Expected::Any, &[published()])?;
        log.write(&mut append, second, Expected::Any, &[published()])?;
        log.append(append).await
    };
    for result in join_all((0..40).map(both)).await {
        result.unwrap();
    }
    for stream in [x, y] {
        assert_eq!(log.read_stream(TENANT, stream, 0, 100).await.unwrap().len(), 40);
    }
}

async fn a19_a_conflict_does_not_touch_its_neighbours<L: EventLog>(log: &L) {
    let taken = stream_of(log, 1).await;
    let results = join_all((0..100).map(|i| {
        let stream = if i % 10 == 0 { taken } else { Uuid::new_v4() };
        append(log, stream, Expected::NoStream)
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 90);
    assert_eq!(log.head().await.unwrap(), 91);
}

async fn i1_i2_i3_a_command_that_is_sent_again_has_its_first_result<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    let command = remembered(Uuid::new_v4(), 1);
    let two = [published(), published()];
    let first = append_as(log, command.clone(), stream, Expected::NoStream, &two).await.unwrap();
    append(log, stream, Expected::Any).await.unwrap();
    for expected in [Expected::NoStream, Expected::Any] {
        let again = append_as(log, command.clone(), stream, expected, &two).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.first_position, again.last_position), (first.first_position, first.last_position));
    }
    assert_eq!(log.head().await.unwrap(), 3);
}

async fn i4_i5_other_content_under_a_known_id_is_refused<L: EventLog>(log: &L) {
    let (stream, id) = (Uuid::new_v4(), Uuid::new_v4());
    let sent = [tagged("a"), tagged("b")];
    append_as(log, remembered(id, 1), stream, Expected::NoStream, &sent).await.unwrap();
    // The fingerprint is the caller's digest of the content: more events and another order have another one.
    for (fingerprint, events) in [(2, vec![tagged("a"), tagged("b"), tagged("c")]), (3, vec![tagged("b"), tagged("a")])]
    {
        let other = append_as(log, remembered(id, fingerprint), stream, Expected::Any, &events).await;
        assert!(matches!(other, Err(AppendError::KeyReused)), "{other:?}");
    }
    assert_eq!(log.head().await.unwrap(), 2);
}

async fn i6_a_known_command_has_its_result_whatever_it_expects_now<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    let command = remembered(Uuid::new_v4(), 1);
    append_as(log, command.clone(), stream, Expected::NoStream, &[published()]).await.unwrap();
    // The documented rule: a command is known by id and fingerprint. What an unknown one expects is checked.
    for expected in [Expected::Exact(4), Expected::Exact(6)] {
        assert!(append_as(log, command.clone(), stream, expected, &[published()]).await.unwrap().duplicate);
        assert_eq!(conflict(append_as(log, remembered(Uuid::new_v4(), 1), stream, expected, &[published()]).await), 1);
    }
}

async fn i7_the_same_content_in_two_streams_are_two_events<L: EventLog>(log: &L) {
    // Ids of events are derived from command and stream, so one id can't be in two streams, in whatever order.
    let command = context();
    let mut both = Append::new(command);
    for stream in [Uuid::from_u128(1), Uuid::from_u128(2)] {
        log.write(&mut both, stream, Expected::NoStream, &[published()]).unwrap();
    }
    log.append(both).await.unwrap();
    let ids: BTreeSet<Uuid> = whole_log(log).await.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), 2);
}

async fn i8_identical_commands_at_once_are_one<L: EventLog>(log: &L) {
    let (command, stream) = (remembered(Uuid::new_v4(), 9), Uuid::new_v4());
    let sent = (0..50).map(|_| append_as(log, command.clone(), stream, Expected::NoStream, &EVENTS[..1]));
    let positions: BTreeSet<i64> =
        join_all(sent).await.into_iter().map(|result| result.unwrap().last_position).collect();
    assert_eq!(positions, BTreeSet::from([1]));
    assert_eq!(log.head().await.unwrap(), 1);
}

async fn i9_a_command_that_is_sent_again_after_the_deletion_opens_nothing<L: EventLog>(log: &L) {
    let stream = Uuid::new_v4();
    let command = remembered(Uuid::new_v4(), 1);
    let first = append_as(log, command.clone(), stream, Expected::NoStream, &[published()]).await.unwrap();
    log.set_stream_state(TENANT, stream, StreamState::Deleted).await.unwrap();
    let again = append_as(log, command, stream, Expected::NoStream, &[published()]).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.last_position, first.last_position);
    refused_as(append(log, stream, Expected::Any).await, StreamState::Deleted);
}

async fn two_streams<L: EventLog>(
    log: &L,
    (a, b): (Uuid, Uuid),
    expected_b: Expected,
) -> Result<Appended, AppendError> {
    let mut both = Append::new(context());
    log.write(&mut both, a, Expected::NoStream, &[published()])?;
    log.write(&mut both, b, expected_b, &[published()])?;
    log.append(both).await
}

async fn m1_a_command_over_two_streams_is_all_or_nothing<L: EventLog>(log: &L) {
    let (a, b) = (Uuid::new_v4(), stream_of(log, 1).await);
    assert_eq!(conflict(two_streams(log, (a, b), Expected::Exact(5)).await), 1);
    assert!(log.read_stream(TENANT, a, 0, 10).await.unwrap().is_empty());
    two_streams(log, (a, b), Expected::Exact(1)).await.unwrap();
    assert_eq!(log.head().await.unwrap(), 3);
}

async fn m2_a_stream_can_be_checked_without_being_written<L: EventLog>(log: &L) {
    let (a, b) = (stream_of(log, 1).await, stream_of(log, 2).await);
    let checking = |version| {
        let mut append = Append::new(context());
        log.write(&mut append, a, Expected::Exact(1), &[published()]).unwrap();
        append.check(Category::PromptCard, b, Expected::Exact(version))
    };
    assert_eq!(conflict(log.append(checking(1)).await), 2);
    assert_eq!(log.append(checking(2)).await.unwrap().first_position, 4);
    assert_eq!(log.read_stream(TENANT, b, 0, 10).await.unwrap().len(), 2);
}

async fn m3_the_events_of_a_command_are_in_its_order_and_a_stream_stands_once_in_it<L: EventLog>(log: &L) {
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let mut append = Append::new(context());
    log.write(&mut append, b, Expected::NoStream, &[tagged("b1"), tagged("b2")]).unwrap();
    log.write(&mut append, a, Expected::NoStream, &[tagged("a1")]).unwrap();
    let twice = log.write(&mut append, b, Expected::Any, &[tagged("b3")]);
    assert!(matches!(twice, Err(StoreError::StreamTwice { stream_id }) if stream_id == b));
    log.append(append).await.unwrap();
    let whole = whole_log(log).await;
    assert_eq!(whole.iter().map(tag).collect::<Vec<_>>(), ["b1", "b2", "a1"]);
    assert_eq!(whole.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 1]);
}

async fn m4_the_events_of_a_command_have_neighbouring_positions<L: EventLog>(log: &L) {
    // So a head that shows one of them shows all of them: they are committed together.
    let appended = join_all((0..50).map(|_| async {
        let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
        two_streams(log, (a, b), Expected::NoStream).await.unwrap()
    }))
    .await;
    assert!(appended.iter().all(|command| command.last_position == command.first_position + 1));
}

async fn r4_payloads_come_back_as_they_were_written<L: EventLog>(log: &L) {
    let texts = ["ü 漢 🦀 \u{202e}", "\"quotes\" \\ / \n\t", "9007199254740993", "null", " "];
    let written: Vec<PromptCardEvent> = texts.iter().map(|text| tagged(text)).collect();
    append_as(log, context(), Uuid::new_v4(), Expected::Any, &written).await.unwrap();
    let mut create = created("numbers");
    if let PromptCardEvent::Created(created) = &mut create {
        let numbers =
            serde_json::json!({ "int": 9_007_199_254_740_993_u64, "float": 1.0, "tiny": 5e-324, "null": null });
        created.metadata = numbers.as_object().cloned().unwrap();
    }
    append_as(log, context(), Uuid::new_v4(), Expected::Any, std::slice::from_ref(&create)).await.unwrap();
    let whole = whole_log(log).await;
    assert_eq!(whole[..5].iter().map(tag).collect::<Vec<_>>(), texts);
    assert_eq!(whole[5].event, DomainEvent::PromptCard(create));
}

async fn r5_what_surrounds_an_event_is_kept<L: EventLog>(log: &L) {
    let id = Uuid::new_v4;
    let command = CommandContext {
        actor: Some(ActorId(id())),
        correlation_id: Some(id()),
        causation_id: Some(id()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..context()
    };
    let stream = id();
    append_as(log, command.clone(), stream, Expected::Any, &[published()]).await.unwrap();
    let event = log.read_stream(TENANT, stream, 0, 1).await.unwrap().remove(0);
    assert_eq!(event.actor, command.actor);
    assert_eq!(event.correlation_id, command.correlation_id);
    assert_eq!(event.causation_id, command.causation_id);
    assert_eq!(event.traceparent, command.traceparent);
    assert_eq!(event.command_id, command.command_id);
    assert_eq!((event.tenant, event.stream_id, event.version), (TENANT, stream, 1));
}

async fn d1_a_deleted_stream_is_hidden_and_its_events_stay_in_the_log<L: EventLog>(log: &L) {
    let stream = closed(log, StreamState::Deleted).await;
    assert!(log.read_stream(TENANT, stream, 0, 10).await.unwrap().is_empty());
    assert_eq!(log.load_at::<PromptCard>(TENANT, stream, i64::MAX).await.unwrap().revision, 0);
    assert_eq!(log.read_after(0, 10).await.unwrap().len(), 1);
    log.set_stream_state(TENANT, stream, StreamState::Open).await.unwrap();
    assert_eq!(append(log, stream, Expected::Any).await.unwrap().version, 2);
    assert_eq!(log.read_stream(TENANT, stream, 0, 10).await.unwrap().len(), 2);
}

async fn d2_a_tombstone_is_for_ever<L: EventLog>(log: &L) {
    let stream = closed(log, StreamState::Tombstoned).await;
    for wanted in [StreamState::Open, StreamState::Archived] {
        let before = log.set_stream_state(TENANT, stream, wanted).await.unwrap();
        assert_eq!(before, Some(StreamState::Tombstoned));
    }
    refused_as(append(log, stream, Expected::Any).await, StreamState::Tombstoned);
    assert!(log.read_stream(TENANT, stream, 0, 10).await.unwrap().is_empty());
    assert_eq!(log.set_stream_state(TENANT, Uuid::new_v4(), StreamState::Deleted).await.unwrap(), None);
}

async fn t1_equal_ids_of_two_tenants_have_nothing_to_do_with_each_other<L: EventLog>(log: &L) {
    let (stream, command_id) = (Uuid::new_v4(), Uuid::new_v4());
    for tenant in [TenantId(1), TenantId(2)] {
        let command = CommandContext { tenant, ..remembered(command_id, 1) };
        assert!(!append_as(log, command, stream, Expected::NoStream, &[published()]).await.unwrap().duplicate);
    }
    for tenant in [TenantId(1), TenantId(2)] {
        let events = log.read_stream(tenant, stream, 0, 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.tenant).collect::<Vec<_>>(), [tenant]);
    }
    log.set_stream_state(TenantId(2), stream, StreamState::Deleted).await.unwrap();
    assert_eq!(log.read_stream(TenantId(1), stream, 0, 10).await.unwrap().len(), 1);
}

fn create(title: &str) -> PromptCardCommand {
    PromptCardCommand::Create(Create {
        title: title.to_owned(),
        description: String::new(),
        prompt: "{{question}}".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    })
}

fn created(title: &str) -> PromptCardEvent {
    use pcs_domain::{Aggregate, Timestamp};
    PromptCard::default().decide(create(title), Timestamp::EPOCH).unwrap().remove(0)
}

/// A rejection is the domain's word, a stale revision is a conflict, and neither writes anything.
async fn rules_and_revisions_refuse_differently<L: EventLog>(log: &L) {
    let card = PromptCardId(Uuid::new_v4());
    let run = |expected, command| {
        let context = context();
        async move { execute_on::<PromptCard, L>(log, &context, card.0, expected, command).await }
    };
    let made = run(Expected::Any, create("one")).await.unwrap();
    assert_eq!((made.revision, made.position), (1, Some(1)));
    let again = run(Expected::Any, create("one")).await;
    assert!(matches!(again, Err(ExecuteError::Rejected(PromptCardRejection::AlreadyExists))), "{again:?}");
    let stale = run(Expected::Exact(7), PromptCardCommand::Publish).await;
    assert!(matches!(stale, Err(ExecuteError::Conflict { actual: 1, .. })), "{stale:?}");
    assert_eq!(run(Expected::Exists, PromptCardCommand::Publish).await.unwrap().position, Some(2));
    assert_eq!(run(Expected::Exists, PromptCardCommand::Publish).await.unwrap().position, None);
    assert_eq!(log.head().await.unwrap(), 2);
}
