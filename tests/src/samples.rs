//! One realistic event of every type: what `event-schemas/samples` is written from, once.

use pcs_domain::DomainEvent;
use pcs_domain::assertion::{Assertion, Grade, Judgement, Verdict};
use pcs_domain::data_subject::{DataSubjectEvent, Shredded};
use pcs_domain::execution::{
    Answer, AttemptFailed, DeadLettered, Dismissed, ExecutionEvent, ExecutionRef, Failure, FailureClass, Finished,
    Snoozed,
};
use pcs_domain::ids::{ActorId, PromptCardId, ScheduleId, TestCaseId, TestRunId};
use pcs_domain::job::{self, JobEvent, Requeued};
use pcs_domain::job_policy::{JobPolicyEvent, LimitRemoved, LimitSet, Limits, Paused, Resumed, Scope, WeightSet};
use pcs_domain::model::{ModelParams, ModelSpec};
use pcs_domain::prompt_card::{
    Archived, CaseChanged, CaseSchema, CasesAdded, CasesRemoved, Created, Described, LabelProtected, LabelUnprotected,
    Labelled, PromptCardEvent, Published, Restored, Revised, SchemaChanged, Tagged, TestCase, Unlabelled, Unpublished,
};
use pcs_domain::schedule::{self, Deleted, MissedPolicy, ScheduleEvent, Skipped};
use pcs_domain::test_run::{
    Budget, CancelCause, Cancelled, Completed, Lane, Partial, Requested, RunTemplate, RunTotals, Skip, Source, Terms,
    TestRunEvent,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const CARD: PromptCardId = PromptCardId(Uuid::from_u128(0x018f_5a3e_7c10_7d2a_9b1e_2f6c_0a4d_8e01));
const RUN: TestRunId = TestRunId(Uuid::from_u128(0x018f_5a3f_11aa_7b3c_8d2f_5e7a_1c9b_3f02));
const SCHEDULE: ScheduleId = ScheduleId(Uuid::from_u128(0x018f_5a3f_0b0c_7d11_9e2a_4c5b_6d7e_8f03));
const ACTOR: ActorId = ActorId(Uuid::from_u128(0x018f_5a3d_0001_7000_8000_0000_0000_0001));

/// One event of every type.
#[must_use]
pub fn all() -> Vec<DomainEvent> {
    let cards = cards().into_iter().map(DomainEvent::PromptCard);
    let runs = runs().into_iter().map(DomainEvent::TestRun);
    let executions = executions().into_iter().map(DomainEvent::Execution);
    let subjects = [DataSubjectEvent::Shredded(Shredded { shredded_by: Some(ACTOR) })].map(DomainEvent::DataSubject);
    let policies = policies().into_iter().map(DomainEvent::JobPolicy);
    let schedules = schedules().into_iter().map(DomainEvent::Schedule);
    let jobs = jobs().into_iter().map(DomainEvent::Job);
    let regrades =
        crate::sample_regrades::all(RUN, CARD, cell().id(), verdict(), ACTOR).into_iter().map(DomainEvent::Regrade);
    let reviews = crate::sample_reviews::all(RUN, CARD, cell().id(), ACTOR).into_iter().map(DomainEvent::Review);
    cards
        .chain(runs)
        .chain(executions)
        .chain(subjects)
        .chain(policies)
        .chain(schedules)
        .chain(jobs)
        .chain(regrades)
        .chain(reviews)
        .collect()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn input() -> Map<String, Value> {
    object(json!({ "question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in \
                                total does it take?" }))
}

fn case() -> TestCase {
    let demand = Assertion {
        value: Some(json!("{{expected_output}}")),
        tolerance: Some(0.000_001),
        metric: Some("accuracy".to_owned()),
        transform: Some("output.trim()".to_owned()),
        ..Assertion::of_kind("numeric")
    };
    let judged = Assertion {
        value: Some(json!("explains each step")),
        weight: 0.5,
        provider: Some(Box::new(ModelSpec::of_id("openai:gpt-4o"))),
        rubric_prompt: Some(
            "Is this so? {{ rubric }}

{{ output }}"
                .to_owned(),
        ),
        config: Some(object(json!({ "language": "en" }))),
        ..Assertion::of_kind("llm-rubric")
    };
    TestCase {
        tags: vec!["dev".to_owned()],
        metadata: object(json!({ "source": "gsm8k" })),
        id: TestCaseId::derive(CARD, &input(), Some("3")),
        name: "robe".to_owned(),
        subject: None,
        input: input(),
        expected_output: Some("3".to_owned()),
        assertions: vec![demand, judged],
        threshold: Some(0.5),
    }
}

fn cards() -> Vec<PromptCardEvent> {
    vec![
        PromptCardEvent::Created(Created {
            title: "Word problems".to_owned(),
            description: "Grade school math, step by step.".to_owned(),
            prompt: "Solve step by step.\n\n{{question}}".to_owned(),
            model: None,
            category: "math".to_owned(),
            tags: vec!["arithmetic".to_owned(), "gsm8k".to_owned()],
            metadata: object(json!({ "owner": "evaluation", "ticket": 17 })),
            is_public: false,
            created_by: ACTOR,
        }),
        PromptCardEvent::Revised(Revised {
            version: 2,
            prompt: "Solve step by step; end with the number alone.\n\n{{question}}".to_owned(),
            model: Some(ModelSpec::of_id("openai:gpt-4o-mini")),
            message: "the number was hard to find".to_owned(),
            author: ACTOR,
        }),
        PromptCardEvent::Described(Described {
            title: "Word problems, grade school".to_owned(),
            description: "Step by step.".to_owned(),
            category: "math".to_owned(),
            metadata: object(json!({ "owner": "evaluation" })),
        }),
        PromptCardEvent::Tagged(Tagged { tags: vec!["gsm8k".to_owned()] }),
        PromptCardEvent::Labelled(Labelled { label: "production".to_owned(), version: 2 }),
        PromptCardEvent::Unlabelled(Unlabelled { label: "staging".to_owned() }),
        PromptCardEvent::LabelProtected(LabelProtected { label: "production".to_owned() }),
        PromptCardEvent::LabelUnprotected(LabelUnprotected { label: "staging".to_owned() }),
        PromptCardEvent::SchemaChanged(SchemaChanged {
            schema: CaseSchema {
                input: json!({ "type": "object", "required": ["question"], "properties": { "question": { "type": "string" } } })
                    .as_object()
                    .cloned(),
                expected_output: json!({ "type": "number" }).as_object().cloned(),
            },
        }),
        PromptCardEvent::Published(Published {}),
        PromptCardEvent::Unpublished(Unpublished {}),
        PromptCardEvent::Archived(Archived { reason: "replaced by the new card".to_owned() }),
        PromptCardEvent::Restored(Restored {}),
        PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case()] }),
        PromptCardEvent::CaseChanged(CaseChanged { case: TestCase { name: "the robe".to_owned(), ..case() } }),
        PromptCardEvent::CasesRemoved(CasesRemoved { case_ids: vec![case().id] }),
    ]
}

fn runs() -> Vec<TestRunEvent> {
    let model = ModelSpec {
        transform: Some("output.trim()".to_owned()),
        id: "openai:gpt-4o-mini".to_owned(),
        label: Some("mini".to_owned()),
        base_url: None,
        params: ModelParams {
            temperature: Some(0.0),
            max_tokens: Some(256),
            seed: Some(7),
            tools: vec![object(json!({ "type": "function", "function": { "name": "weather" } }))],
            ..ModelParams::default()
        },
        script: None,
    };
    vec![
        TestRunEvent::Requested(Requested {
            grader: Some(ModelSpec::of_id("openai:gpt-4o")),
            partials: vec![Partial { name: "tone@production".to_owned(), card_id: CARD, card_revision: 4, version: 2 }],
            name: "nightly".to_owned(),
            card_id: CARD,
            card_revision: 11,
            versions: vec![1, 2],
            models: vec![model],
            case_ids: Some(vec![case().id]),
            cases: 1,
            repeats: 3,
            assertions: Vec::new(),
            threshold: None,
            skips: vec![Skip { case_ids: vec![case().id], from_repeat: 1, ..Skip::default() }],
            executions: 6,
            lane: Lane::Bulk,
            requested_by: ACTOR,
            terms: terms(),
            retry: None,
            schedule_id: Some(SCHEDULE),
            source: Some(Source {
                branch: Some("main".to_owned()),
                commit: Some("3b07cce1f0a94d2e8c6b5a7d9e0f1a2b3c4d5e6f".to_owned()),
            }),
        }),
        TestRunEvent::Cancelled(Cancelled {
            reason: "the wrong model".to_owned(),
            cancelled_by: Some(ACTOR),
            cause: CancelCause::Asked,
        }),
        TestRunEvent::Completed(Completed { totals: RunTotals { executions: 6, passed: 4, failed: 1, errors: 1 } }),
    ]
}

fn terms() -> Terms {
    Terms {
        not_before: None,
        start_within_seconds: Some(28_800),
        budget: Budget { cost_micro_usd: Some(5_000_000), tokens: Some(2_000_000), seconds: Some(36_000) },
        cache: true,
    }
}

fn policies() -> Vec<JobPolicyEvent> {
    let limits = Limits {
        requests_per_minute: Some(500),
        input_tokens_per_minute: Some(200_000),
        output_tokens_per_minute: Some(50_000),
        concurrency: Some(20),
    };
    let key = "openai:gpt-4o-mini".to_owned();
    vec![
        JobPolicyEvent::Paused(Paused {
            scope: Scope::Provider("openai".to_owned()),
            reason: "the month's bill".to_owned(),
            paused_by: ACTOR,
        }),
        JobPolicyEvent::Resumed(Resumed { scope: Scope::Provider("openai".to_owned()), resumed_by: ACTOR }),
        JobPolicyEvent::LimitSet(LimitSet { key: key.clone(), limits, set_by: ACTOR }),
        JobPolicyEvent::LimitRemoved(LimitRemoved { key, removed_by: ACTOR }),
        JobPolicyEvent::WeightSet(WeightSet { weight: 3, set_by: ACTOR }),
    ]
}

fn schedules() -> Vec<ScheduleEvent> {
    let run = RunTemplate {
        grader: Some(ModelSpec::of_id("openai:gpt-4o")),
        card_id: CARD,
        name: "nightly".to_owned(),
        versions: Vec::new(),
        labels: vec!["production".to_owned()],
        models: vec![serde_json::from_value(json!({ "id": "openai:gpt-4o-mini" })).unwrap_or_else(|_| unreachable!())],
        case_ids: None,
        repeats: 3,
        assertions: Vec::new(),
        threshold: Some(0.5),
        lane: Lane::Bulk,
        terms: terms(),
    };
    let due_at = serde_json::from_value(json!("2026-11-23T02:00:00Z")).unwrap_or(pcs_domain::Timestamp::EPOCH);
    vec![
        ScheduleEvent::Created(schedule::Created {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            missed: MissedPolicy::RunOnce,
            run,
            created_by: ACTOR,
        }),
        ScheduleEvent::Paused(schedule::Paused { paused_by: ACTOR }),
        ScheduleEvent::Resumed(schedule::Resumed { resumed_by: ACTOR }),
        ScheduleEvent::Skipped(Skipped { due_at, reason: "the card is archived".to_owned() }),
        ScheduleEvent::Deleted(Deleted { deleted_by: ACTOR }),
    ]
}

fn jobs() -> Vec<JobEvent> {
    let retry_at = serde_json::from_value(json!("2026-11-23T06:00:01.5Z")).unwrap_or(pcs_domain::Timestamp::EPOCH);
    let input = object(json!({
        "role": "assistant", "instructions": "Say in one sentence what the card is for.",
        "model": { "id": "openai:gpt-4o-mini" },
    }));
    let worker = "host-3f2a9c10".to_owned();
    vec![
        JobEvent::Requested(job::Requested {
            kind: "swarm_agent".to_owned(),
            lane: Lane::Std,
            input,
            not_before: None,
            requested_by: Some(ACTOR),
        }),
        JobEvent::AttemptFailed(job::AttemptFailed {
            attempt: 1,
            worker: worker.clone(),
            class: FailureClass::Timeout,
            error: "no answer within 120 s".to_owned(),
            retry_at,
        }),
        JobEvent::DeadLettered(job::DeadLettered {
            attempt: 2,
            worker: worker.clone(),
            class: FailureClass::AuthFailed,
            error: "401: the key is not known".to_owned(),
        }),
        JobEvent::Requeued(Requeued { attempt: 3, requeued_by: ACTOR }),
        JobEvent::Finished(job::Finished {
            output: object(json!({ "text": "It solves word problems.", "input_tokens": 31, "output_tokens": 7 })),
            attempt: 3,
            worker,
        }),
        JobEvent::Cancelled(job::Cancelled { reason: "no longer needed".to_owned(), cancelled_by: ACTOR }),
    ]
}

fn verdict() -> Verdict {
    Verdict {
        judgements: vec![Judgement {
            model: "openai:gpt-4o".to_owned(),
            prompt_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            answer: "{\"pass\": true, \"score\": 1, \"reason\": \"each step is there\"}".to_owned(),
            latency_ms: 640,
            input_tokens: 120,
            output_tokens: 22,
            cost_micro_usd: Some(510),
        }],
        kind: "numeric".to_owned(),
        passed: true,
        score: 1.0,
        reason: "the last number is 3, as expected".to_owned(),
        weight: 1.0,
        metric: Some("accuracy".to_owned()),
    }
}

fn cell() -> ExecutionRef {
    ExecutionRef { run_id: RUN, card_id: CARD, version: 2, case_id: case().id, model: "mini".to_owned(), repeat: 0 }
}

fn executions() -> Vec<ExecutionEvent> {
    let cell = cell();
    let failure = |class, error: &str| Failure { class, error: error.to_owned() };
    let retry_at = serde_json::from_value(json!("2026-11-23T06:00:01.5Z")).unwrap_or(pcs_domain::Timestamp::EPOCH);
    vec![
        ExecutionEvent::Finished(Finished {
            subject: None,
            cell: cell.clone(),
            input: input(),
            answer: Answer {
                output: "2 / 2 = 1 bolt of white fiber, 2 + 1 = 3".to_owned(),
                latency_ms: 812,
                input_tokens: 41,
                output_tokens: 18,
                cost_micro_usd: Some(17),
                finish_reason: Some("stop".to_owned()),
                cached: false,
            },
            grade: Grade {
                grader: Some("1-5d41402abc4b2a76".to_owned()),
                passed: true,
                score: 1.0,
                verdicts: vec![verdict()],
            },
            attempt: 2,
            worker: "worker-1-7f3a9c01".to_owned(),
        }),
        ExecutionEvent::AttemptFailed(AttemptFailed {
            subject: None,
            cell: cell.clone(),
            attempt: 1,
            worker: "worker-1-7f3a9c01".to_owned(),
            failure: failure(FailureClass::Overloaded, "503: the server is overloaded"),
            retry_at,
        }),
        ExecutionEvent::DeadLettered(DeadLettered {
            subject: None,
            cell: cell.clone(),
            input: input(),
            attempt: 5,
            worker: "worker-2-0be4d7aa".to_owned(),
            failure: failure(FailureClass::Overloaded, "503: the server is overloaded"),
        }),
        ExecutionEvent::Snoozed(Snoozed {
            cell,
            attempt: 1,
            snoozes: 1,
            worker: "worker-1-7f3a9c01".to_owned(),
            class: FailureClass::RateLimited,
            until: retry_at,
        }),
        ExecutionEvent::Dismissed(Dismissed {
            run_id: RUN,
            reason: "the provider was down".to_owned(),
            dismissed_by: ACTOR,
        }),
    ]
}
