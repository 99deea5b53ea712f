//! The schemas of what the job system answers; a test compares their fields with the real ones.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::Lane;

/// What waits, what is held, and what was counted.
#[derive(ToSchema)]
#[schema(as = Queues)]
pub(crate) struct QueuesDoc {
    queues: Vec<QueueDoc>,
    holds: Vec<HoldDoc>,
    counters: CountersDoc,
}

/// What waits in one lane for one model.
#[derive(ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueDoc {
    lane: Lane,
    kind: String,
    provider: String,
    /// The model's id.
    model: String,
    /// Runs that have work here.
    runs: i64,
    /// Jobs that could be handed out.
    waiting: i64,
    /// Jobs that pause until a time: between attempts, or because a limit is reached.
    pausing: i64,
    /// Jobs that the broker or a worker has.
    handed_out: i64,
    /// How long the oldest of those that wait has been there, in seconds.
    #[schema(required)]
    oldest_waiting_seconds: Option<f64>,
    /// Whether it is held, by a pause, a limit or an open circuit.
    held: bool,
}

/// Something that is not handed out.
#[derive(ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldDoc {
    /// `policy` for a pause, `parked` for a provider's word, `circuit` for a provider that failed.
    source: String,
    /// `everything`, `lane`, `kind`, `provider` or `model`.
    scope: String,
    /// Which one; empty where it is everything.
    value: String,
    reason: String,
    #[schema(format = DateTime)]
    since: String,
    /// For how long still, in seconds; null where it has no end.
    #[schema(required)]
    for_seconds: Option<f64>,
}

/// What the relays have counted.
#[derive(ToSchema)]
#[schema(as = JobCounters)]
pub(crate) struct CountersDoc {
    /// Reports that changed nothing: of a job that has its result, or whose run is over.
    results_refused: i64,
    /// Jobs that were handed out anew because the broker had lost their tickets.
    redispatched: i64,
    /// Places for calls that were freed because their worker was gone.
    places_swept: i64,
}

/// A limit and what of it is in use.
#[derive(ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitDoc {
    /// The provider or model.
    key: String,
    #[schema(required)]
    requests_per_minute: Option<i64>,
    #[schema(required)]
    input_tokens_per_minute: Option<i64>,
    #[schema(required)]
    output_tokens_per_minute: Option<i64>,
    #[schema(required)]
    concurrency: Option<i64>,
    /// Calls that have their place now.
    in_flight: i64,
    /// How long the next call has to wait, in seconds.
    wait_seconds: f64,
}

/// The tenant's policy of jobs.
#[derive(ToSchema)]
#[schema(as = JobPolicy)]
pub(crate) struct PolicyDoc {
    /// What is paused.
    #[schema(value_type = Vec<Object>)]
    paused: Vec<Value>,
    /// What providers and models allow.
    #[schema(value_type = BTreeMap<String, Object>)]
    limits: BTreeMap<String, Value>,
    /// The tenant's share of the fleet.
    weight: u16,
}

/// The fleet.
#[derive(ToSchema)]
#[schema(as = Fleet)]
pub(crate) struct FleetDoc {
    leader: LeadershipDoc,
    workers: Vec<WorkerDoc>,
    /// By kind.
    scaling: Vec<ScalingDoc>,
}

/// The relay that schedules.
#[derive(ToSchema)]
#[schema(as = Leadership)]
pub(crate) struct LeadershipDoc {
    /// Each new leader has a higher one.
    term: i64,
    /// Whether somebody leads now.
    led: bool,
    /// Whether its connection to the broker is up.
    broker: bool,
    /// Events that the scheduler has yet to read.
    lag_events: i64,
}

/// A worker that was heard of lately.
#[derive(ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerDoc {
    /// Unique per start of a process.
    worker: String,
    kind: String,
    slots: i32,
    in_flight: i32,
    /// Whether it takes no more.
    draining: bool,
    build: String,
    known_for_seconds: f64,
    silent_for_seconds: f64,
}

/// What an autoscaler needs to know of the workers of a kind.
#[derive(ToSchema)]
#[schema(as = Scaling)]
pub(crate) struct ScalingDoc {
    kind: String,
    /// Jobs that could be done now if there were slots.
    ready: i64,
    slots: i64,
    in_flight: i64,
    /// Jobs per slot; above 1 there is more work than slots.
    load: f64,
}

/// A dead letter.
#[derive(ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterDoc {
    execution_id: Uuid,
    run_id: Uuid,
    card_id: Uuid,
    version: i32,
    case_id: Uuid,
    model: String,
    repeat: i16,
    /// The kind of error.
    class: String,
    /// What went wrong in the last attempt; empty where it may quote a data subject.
    error: String,
    /// How many attempts there were.
    attempts: i16,
    worker: String,
    #[schema(format = DateTime)]
    at: String,
    position: i64,
}

/// A schedule and its times.
#[derive(ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleDoc {
    id: Uuid,
    name: String,
    paused: bool,
    /// When it is due next; null where it never is.
    #[schema(required, format = DateTime)]
    due_at: Option<String>,
    /// When it was due last.
    #[schema(required, format = DateTime)]
    last_due_at: Option<String>,
    /// The run of the last time that had one.
    #[schema(required)]
    last_run_id: Option<Uuid>,
}

/// What becomes of times that pass while nobody looks.
#[derive(ToSchema)]
#[schema(as = MissedPolicy, rename_all = "snake_case")]
pub(crate) enum MissedDoc {
    /// The latest of them is made up for.
    RunOnce,
    /// Nothing.
    Skip,
}

/// A schedule as a command left it.
#[derive(ToSchema)]
pub(crate) struct ScheduleAnswer {
    id: Uuid,
    name: String,
    cron: String,
    time_zone: String,
    missed: MissedDoc,
    /// What is run.
    #[schema(value_type = Object)]
    run: Value,
    created_by: Uuid,
    paused: bool,
}

/// How a job is.
#[derive(ToSchema)]
#[schema(as = JobStatus, rename_all = "snake_case")]
pub(crate) enum JobStatusDoc {
    /// It has no result yet.
    Waiting,
    /// It is done.
    Finished,
    /// Its result is an error.
    Dead,
    /// Nobody wanted it any more.
    Cancelled,
}

/// A job on request.
#[derive(ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobDoc {
    id: Uuid,
    kind: String,
    lane: Lane,
    status: JobStatusDoc,
    /// What is to be done, as its kind understands it.
    #[schema(value_type = Object)]
    input: Value,
    /// What came of it; null where nothing did yet.
    #[schema(required, value_type = Option<Object>)]
    output: Option<Value>,
    /// The number of the last attempt that ended.
    attempts: u16,
    /// Who made it.
    #[schema(required)]
    worker: Option<String>,
    /// The kind of its error.
    #[schema(required)]
    error_class: Option<String>,
    #[schema(required)]
    error: Option<String>,
    /// Who asked for it; null where the system did.
    #[schema(required)]
    requested_by: Option<Uuid>,
    #[schema(format = DateTime)]
    requested_at: String,
    /// Not to be begun before.
    #[schema(required, format = DateTime)]
    not_before: Option<String>,
    /// When it had its result or was cancelled.
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// The version of its stream.
    revision: i64,
}

/// An attempt at a job that failed.
#[derive(ToSchema)]
#[schema(as = JobAttempt)]
pub(crate) struct JobAttemptDoc {
    attempt: u16,
    worker: String,
    class: String,
    error: String,
    /// When the next one could start; null after the last.
    #[schema(required, format = DateTime)]
    retry_at: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

/// A job with its failed attempts.
#[derive(ToSchema)]
#[schema(as = JobWithAttempts)]
pub(crate) struct JobWithAttemptsDoc {
    #[schema(inline)]
    #[serde(flatten)]
    job: JobDoc,
    failed_attempts: Vec<JobAttemptDoc>,
}

/// A job as a command left it.
#[derive(ToSchema)]
#[schema(as = JobAnswer)]
pub(crate) struct JobAnswerDoc {
    id: Uuid,
    status: JobStatusDoc,
    kind: String,
    lane: Lane,
    /// What is to be done.
    #[schema(value_type = Object)]
    input: Value,
    /// Not to be begun before.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    requested_by: Option<Uuid>,
}
