//! What the job system answers, one of each, for the comparison with the schemas.

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, JobId, PromptCardId, ScheduleId};
use pcs_domain::job_policy::JobPolicy;
use pcs_domain::schedule::{Created, MissedPolicy};
use pcs_domain::test_run::{Lane, RunTemplate, Terms};
use pcs_projections::job_list::{JobAttempt, JobRow, JobStatus};
use pcs_relay::inspect::{
    Counters, DeadLetterRow, Fleet, HoldRow, Leadership, LimitRow, QueueRow, Scaling, ScheduleRow, WorkerRow,
};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::routes::jobs::queues::Queues;
use crate::routes::jobs::schedules::Answer;

pub(super) fn rows() -> Vec<(&'static str, Value)> {
    let created = created();
    let schedule = Answer { id: ScheduleId(Uuid::nil()), created: &created, paused: false };
    let fleet = Fleet { leader: leadership(), workers: vec![worker()], scaling: vec![scaling()] };
    let queues = Queues { queues: vec![queue()], holds: vec![hold()], counters: Counters::default() };
    vec![
        ("Queue", serde_json::to_value(queue()).unwrap()),
        ("Hold", serde_json::to_value(hold()).unwrap()),
        ("JobCounters", serde_json::to_value(Counters::default()).unwrap()),
        ("Queues", serde_json::to_value(queues).unwrap()),
        ("Limit", serde_json::to_value(limit()).unwrap()),
        ("JobPolicy", serde_json::to_value(JobPolicy::default()).unwrap()),
        ("Worker", serde_json::to_value(worker()).unwrap()),
        ("Leadership", serde_json::to_value(leadership()).unwrap()),
        ("Scaling", serde_json::to_value(scaling()).unwrap()),
        ("Fleet", serde_json::to_value(fleet).unwrap()),
        ("DeadLetter", serde_json::to_value(dead_letter()).unwrap()),
        ("Schedule", serde_json::to_value(schedule_row()).unwrap()),
        ("ScheduleAnswer", serde_json::to_value(schedule).unwrap()),
        ("Job", serde_json::to_value(job()).unwrap()),
        ("JobAttempt", serde_json::to_value(attempt()).unwrap()),
    ]
}

fn job() -> JobRow {
    JobRow {
        id: JobId(Uuid::nil()),
        kind: String::new(),
        lane: Lane::Std,
        status: JobStatus::Waiting,
        input: serde_json::Map::new(),
        output: None,
        attempts: 0,
        worker: None,
        error_class: None,
        error: None,
        requested_by: None,
        requested_at: Timestamp::EPOCH,
        not_before: None,
        ended_at: None,
        revision: 1,
    }
}

fn attempt() -> JobAttempt {
    let (worker, class, error) = (String::new(), String::new(), String::new());
    JobAttempt { attempt: 1, worker, class, error, retry_at: None, at: Timestamp::EPOCH }
}

fn queue() -> QueueRow {
    QueueRow {
        lane: String::new(),
        kind: String::new(),
        provider: String::new(),
        model: String::new(),
        runs: 0,
        waiting: 0,
        pausing: 0,
        handed_out: 0,
        oldest_waiting_seconds: None,
        held: false,
    }
}

fn hold() -> HoldRow {
    HoldRow {
        source: String::new(),
        scope: String::new(),
        value: String::new(),
        reason: String::new(),
        since: OffsetDateTime::UNIX_EPOCH,
        for_seconds: None,
    }
}

fn limit() -> LimitRow {
    LimitRow {
        key: String::new(),
        requests_per_minute: None,
        input_tokens_per_minute: None,
        output_tokens_per_minute: None,
        concurrency: None,
        in_flight: 0,
        wait_seconds: 0.0,
    }
}

fn worker() -> WorkerRow {
    WorkerRow {
        worker: String::new(),
        kind: String::new(),
        slots: 1,
        in_flight: 0,
        draining: false,
        build: String::new(),
        known_for_seconds: 0.0,
        silent_for_seconds: 0.0,
    }
}

fn leadership() -> Leadership {
    Leadership { term: 1, led: true, broker: true, lag_events: 0 }
}

fn scaling() -> Scaling {
    Scaling { kind: "test_execution", ready: 0, slots: 1, in_flight: 0, load: 0.0 }
}

fn dead_letter() -> DeadLetterRow {
    DeadLetterRow {
        execution_id: Uuid::nil(),
        run_id: Uuid::nil(),
        card_id: Uuid::nil(),
        version: 1,
        case_id: Uuid::nil(),
        model: String::new(),
        repeat: 0,
        class: String::new(),
        error: String::new(),
        attempts: 1,
        worker: String::new(),
        at: OffsetDateTime::UNIX_EPOCH,
        position: 1,
    }
}

fn schedule_row() -> ScheduleRow {
    ScheduleRow {
        id: Uuid::nil(),
        name: String::new(),
        paused: false,
        due_at: None,
        last_due_at: None,
        last_run_id: None,
    }
}

fn created() -> Created {
    let run = RunTemplate {
        grader: None,
        card_id: PromptCardId(Uuid::nil()),
        name: String::new(),
        versions: Vec::new(),
        labels: Vec::new(),
        models: Vec::new(),
        case_ids: None,
        repeats: 1,
        assertions: Vec::new(),
        threshold: None,
        lane: Lane::Std,
        terms: Terms::default(),
    };
    Created {
        name: String::new(),
        cron: String::new(),
        time_zone: String::new(),
        missed: MissedPolicy::RunOnce,
        run,
        created_by: ActorId(Uuid::nil()),
    }
}
