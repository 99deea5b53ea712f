//! Events for the tests of the folds.

use std::time::Duration;

use pcs_domain::assertion::{Grade, Verdict};
use pcs_domain::execution::{Answer, AttemptFailed, DeadLettered, ExecutionRef, Failure, FailureClass, Finished};
use pcs_domain::ids::{ActorId, CommandId, PromptCardId, TenantId, TestCaseId, TestRunId};
use pcs_domain::prompt_card::{Created, PromptCardEvent, TestCase};
use pcs_domain::{Category, DomainEvent, Timestamp};
use pcs_store::{Record, Recorded};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::all;

pub(crate) fn actor() -> ActorId {
    ActorId(Uuid::from_u128(1))
}

/// An event of stream `stream`; its place in the stream is also its place in the log and its second.
pub(crate) fn recorded(stream: u128, version: i64, event: DomainEvent) -> Recorded {
    let category = match &event {
        DomainEvent::PromptCard(_) => Category::PromptCard,
        DomainEvent::TestRun(_) => Category::TestRun,
        DomainEvent::Execution(_) => Category::Execution,
        DomainEvent::DataSubject(_) => Category::DataSubject,
        DomainEvent::JobPolicy(_) => Category::JobPolicy,
        DomainEvent::Schedule(_) => Category::Schedule,
        DomainEvent::Job(_) => Category::Job,
        DomainEvent::Regrade(_) => Category::Regrade,
        DomainEvent::Review(_) => Category::Review,
        DomainEvent::Unread(_) => panic!("a test knows its events"),
    };
    Recorded::from(Record {
        position: version,
        tenant: TenantId::DEFAULT,
        category,
        stream_id: Uuid::from_u128(stream),
        version,
        event_id: Uuid::from_u128(u128::from(version.unsigned_abs())),
        type_name: "not.used".into(),
        schema_version: 1,
        recorded_at: Timestamp::EPOCH.plus(Duration::from_secs(version.unsigned_abs())),
        command_id: CommandId(Uuid::nil()),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        actor: None,
        event,
    })
}

pub(crate) fn created(title: &str) -> PromptCardEvent {
    PromptCardEvent::Created(Created {
        title: title.to_owned(),
        description: String::new(),
        prompt: "one".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: Map::new(),
        is_public: false,
        created_by: actor(),
    })
}

pub(crate) fn case(number: u128) -> TestCase {
    TestCase {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        subject: None,
        id: TestCaseId(Uuid::from_u128(100 + number)),
        name: format!("case {number}"),
        input: Map::new(),
        expected_output: None,
        assertions: Vec::new(),
        threshold: None,
    }
}

fn cell(model: &str, repeat: u16) -> ExecutionRef {
    ExecutionRef {
        run_id: TestRunId(Uuid::from_u128(8)),
        card_id: PromptCardId(Uuid::from_u128(7)),
        version: 1,
        case_id: case(0).id,
        model: model.to_owned(),
        repeat,
    }
}

pub(crate) fn finished(model: &str, repeat: u16, passed: bool) -> Finished {
    let score = if passed { 1.0 } else { 0.0 };
    let verdict = Verdict {
        judgements: Vec::new(),
        kind: "contains".to_owned(),
        passed,
        score,
        reason: "it says so".to_owned(),
        weight: 1.0,
        metric: None,
    };
    Finished {
        subject: None,
        cell: cell(model, repeat),
        input: Map::from_iter([("q".to_owned(), Value::from("2 + 2"))]),
        answer: Answer {
            output: "4".to_owned(),
            latency_ms: 20 + u64::from(repeat),
            input_tokens: 5,
            output_tokens: 1,
            cost_micro_usd: Some(7),
            finish_reason: None,
            cached: false,
        },
        grade: Grade { grader: None, passed, score, verdicts: vec![verdict] },
        attempt: 1,
        worker: "w1".to_owned(),
    }
}

fn failure() -> Failure {
    Failure { class: FailureClass::Timeout, error: "no answer in 60 s".to_owned() }
}

pub(crate) fn attempt_failed(model: &str, repeat: u16, attempt: u16) -> AttemptFailed {
    let retry_at = Timestamp::EPOCH.plus(Duration::from_secs(60));
    AttemptFailed {
        cell: cell(model, repeat),
        subject: None,
        attempt,
        worker: "w1".to_owned(),
        failure: failure(),
        retry_at,
    }
}

pub(crate) fn dead_lettered(model: &str, repeat: u16) -> DeadLettered {
    let cell = cell(model, repeat);
    DeadLettered { cell, subject: None, input: Map::new(), attempt: 5, worker: "w1".to_owned(), failure: failure() }
}

#[test]
fn names_and_tables_belong_to_one_projection_each() {
    let projections = all();
    let mut names: Vec<_> = projections.iter().map(|projection| projection.name()).collect();
    let mut tables: Vec<_> = projections.iter().flat_map(|projection| projection.tables()).collect();
    let (names_len, tables_len) = (names.len(), tables.len());
    names.sort_unstable();
    names.dedup();
    tables.sort_unstable();
    tables.dedup();
    assert_eq!((names.len(), tables.len()), (names_len, tables_len));
}
