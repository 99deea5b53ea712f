//! Folds of the read models, from given events to rows of real tables.

use pcs_domain::DomainEvent;
use pcs_domain::execution::ExecutionEvent;
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_projections::{card_detail::CardDetail, card_list::CardList, execution_results::ExecutionResults};
use pcs_tests::folded::given;
use pcs_tests::samples;
use serde_json::json;
use uuid::Uuid;

const CARD: Uuid = Uuid::from_u128(7);

fn card_events(wanted: fn(&PromptCardEvent) -> bool) -> Vec<(Uuid, DomainEvent)> {
    let events = samples::all().into_iter();
    let wanted = |event: &DomainEvent| matches!(event, DomainEvent::PromptCard(event) if wanted(event));
    events.filter(wanted).map(|event| (CARD, event)).collect()
}

#[tokio::test]
async fn a_card_is_what_its_events_say() {
    let key = json!({ "tenant_id": 1, "id": CARD });
    let columns = json!({
        "title": "Word problems, grade school", "tags": ["gsm8k"], "version": 2, "revision": 15, "case_count": 1,
        "labels": { "production": 2, "@protected": ["production"] }, "is_public": false, "archived": false,
    });
    let events = card_events(|event| !matches!(event, PromptCardEvent::CasesRemoved(_)));
    given(CardList, events).await.then_row("card", key, columns).await.then_count("card", json!({}), 1).await;
}

#[tokio::test]
async fn a_removed_case_stays_for_the_names_of_its_results() {
    let changed = json!({ "name": "the robe", "removed": true, "threshold": 0.5 });
    given(CardDetail, card_events(|_| true))
        .await
        .then_count("card_version", json!({ "card_id": CARD }), 2)
        .await
        .then_row("test_case", json!({ "card_id": CARD }), changed)
        .await;
}

#[tokio::test]
async fn each_execution_has_its_result_and_its_failed_attempts() {
    let events = samples::all().into_iter().filter_map(|event| match event {
        DomainEvent::Execution(event) => Some(DomainEvent::Execution(event)),
        DomainEvent::PromptCard(_)
        | DomainEvent::TestRun(_)
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Job(_)
        | DomainEvent::Regrade(_)
        | DomainEvent::Review(_)
        | DomainEvent::Unread(_) => None,
    });
    let apart = (1..).map(Uuid::from_u128).zip(events);
    given(ExecutionResults, apart)
        .await
        .then_count("execution_result", json!({}), 2)
        .await
        .then_count("execution_result", json!({ "status": "error", "output": null }), 1)
        .await
        .then_count("execution_attempt", json!({}), 2)
        .await;
}

/// A long page goes in by COPY, which a row that is there refuses: then it goes in by parts, and the first row stays.
#[tokio::test]
async fn a_long_page_with_a_result_that_is_there_is_the_same_as_short_ones() {
    let finished = samples::all().into_iter().find_map(|event| match event {
        DomainEvent::Execution(ExecutionEvent::Finished(finished)) => Some(finished),
        _ => None,
    });
    let finished = finished.expect("there is a sample");
    let of_repeat = |repeat: u16| {
        let mut finished = finished.clone();
        finished.cell.repeat = repeat;
        (finished.cell.id().0, DomainEvent::Execution(ExecutionEvent::Finished(finished)))
    };
    // Twice in one stream, as no command could do it.
    let events = (0..250).chain([17]).chain(250..260).map(of_repeat);
    given(ExecutionResults, events).await.then_count("execution_result", json!({}), 260).await;
}
