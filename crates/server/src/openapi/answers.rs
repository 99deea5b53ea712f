//! The answers' schemas. The answers themselves are the read models' rows; a test compares their fields with these.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AssertionDoc, ModelSpecDoc, VerdictDoc};

/// A page of a list.
#[derive(ToSchema)]
pub(crate) struct PageOf<T: ToSchema> {
    /// The items.
    items: Vec<T>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A prompt card.
#[derive(ToSchema)]
#[schema(as = Card)]
pub(crate) struct CardDoc {
    id: Uuid,
    title: String,
    description: String,
    /// The template of the newest version.
    prompt: String,
    category: String,
    /// Sorted, without duplicates.
    tags: Vec<String>,
    /// The team's own fields.
    #[schema(value_type = Object)]
    metadata: Value,
    created_by: Uuid,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// The number of the newest version.
    version: u32,
    is_public: bool,
    archived: bool,
    /// The versions that labels point to.
    labels: BTreeMap<String, u32>,
    /// The labels that only those may move who may protect labels, sorted; a version need not have them.
    protected_labels: Vec<String>,
    case_count: i64,
    /// The version of the card's stream, as in ETag.
    revision: i64,
}

/// A version of a card's prompt.
#[derive(ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionDoc {
    version: u32,
    prompt: String,
    /// The model that it is written for, with its parameters.
    #[schema(required)]
    model: Option<ModelSpecDoc>,
    message: String,
    author: Uuid,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A version of a prompt, as applications get it.
#[derive(ToSchema)]
#[schema(as = Prompt)]
pub(crate) struct PromptDoc {
    /// The title of its card.
    name: String,
    card_id: Uuid,
    version: u32,
    /// The template.
    prompt: String,
    /// The model that it is written for, with its parameters.
    #[schema(required)]
    model: Option<ModelSpecDoc>,
    /// The labels of this version, sorted.
    labels: Vec<String>,
    message: String,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A test case.
#[derive(ToSchema)]
#[schema(as = Case)]
pub(crate) struct CaseDoc {
    id: Uuid,
    name: String,
    /// The values of the template's variables.
    #[schema(value_type = Object)]
    input: Value,
    #[schema(required)]
    expected_output: Option<String>,
    assertions: Vec<AssertionDoc>,
    #[schema(required)]
    threshold: Option<f64>,
    /// What people choose it by.
    tags: Vec<String>,
    /// The team's own fields.
    #[schema(value_type = Object)]
    metadata: Value,
    /// Whose data it is made of, where it is a person's.
    #[schema(required)]
    subject: Option<SubjectDoc>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// The data subject of a case or a result.
#[derive(ToSchema)]
#[schema(as = Subject)]
pub(crate) struct SubjectDoc {
    id: Uuid,
    /// Whether their key was destroyed; then the fields that are theirs are empty, or `[shredded]`.
    shredded: bool,
}

/// A run.
#[derive(ToSchema)]
#[schema(as = Run)]
pub(crate) struct RunDoc {
    id: Uuid,
    name: String,
    status: RunStatus,
    card_id: Uuid,
    /// The version of the card's stream whose prompts and cases it uses.
    card_revision: i64,
    versions: Vec<u32>,
    models: Vec<ModelSpecDoc>,
    repeats: u16,
    /// How many cases run.
    cases: u32,
    lane: Lane,
    requested_by: Uuid,
    #[schema(format = DateTime)]
    requested_at: String,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    revision: i64,
    /// The branch that was checked out where it was asked from.
    #[schema(required)]
    branch: Option<String>,
    /// The commit.
    #[schema(required)]
    commit: Option<String>,
    totals: TotalsDoc,
    /// What people made of recorded verdicts; `totals` counts what was recorded.
    overrides: OverridesDoc,
    /// In the order of `models`.
    by_model: Vec<ModelSummaryDoc>,
}

/// Recorded verdicts in whose place people put others.
#[derive(ToSchema)]
#[schema(as = Overrides)]
pub(crate) struct OverridesDoc {
    to_passed: i64,
    to_failed: i64,
}

/// Whether a run goes on.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RunStatus {
    Running,
    Completed,
    Cancelled,
}

/// How important a run is beside others.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Lane {
    Hi,
    Std,
    Bulk,
}

/// What a run may use; what is absent is not limited.
#[derive(ToSchema)]
#[schema(as = Budget)]
pub(crate) struct BudgetDoc {
    /// Money, in millionths of a US dollar. Answers without a known price count as free.
    cost_micro_usd: Option<u64>,
    /// Tokens of prompts and answers together.
    tokens: Option<u64>,
    /// Time from the request, or from `not_before`, to the last result, in seconds.
    seconds: Option<u32>,
}

/// How many executions a run has, and how they ended so far.
#[derive(ToSchema)]
#[schema(as = Totals)]
pub(crate) struct TotalsDoc {
    planned: i64,
    executions: i64,
    passed: i64,
    failed: i64,
    errors: i64,
}

/// What one model of a run did so far.
#[derive(ToSchema)]
#[schema(as = ModelSummary)]
pub(crate) struct ModelSummaryDoc {
    model: String,
    executions: i64,
    passed: i64,
    failed: i64,
    errors: i64,
    #[schema(required)]
    pass_rate: Option<f64>,
    latency_ms: LatencyDoc,
    tokens: TokensDoc,
    #[schema(required)]
    cost_usd: Option<f64>,
}

/// Percentiles of latencies, in milliseconds.
#[derive(ToSchema)]
#[schema(as = Latency)]
pub(crate) struct LatencyDoc {
    #[schema(required)]
    p50: Option<u64>,
    #[schema(required)]
    p95: Option<u64>,
}

/// Sums of tokens.
#[derive(ToSchema)]
#[schema(as = Tokens)]
pub(crate) struct TokensDoc {
    input: i64,
    output: i64,
}

/// The result of an execution.
#[derive(ToSchema)]
#[schema(as = Result)]
pub(crate) struct ResultDoc {
    execution_id: Uuid,
    run_id: Uuid,
    card_id: Uuid,
    version: u32,
    case_id: Uuid,
    #[schema(required)]
    case_name: Option<String>,
    model: String,
    repeat: u16,
    status: ResultStatus,
    success: bool,
    #[schema(required)]
    score: Option<f64>,
    #[schema(value_type = Object)]
    input: Value,
    #[schema(required)]
    output: Option<String>,
    verdicts: Vec<VerdictDoc>,
    #[schema(required)]
    latency_ms: Option<i64>,
    #[schema(required)]
    input_tokens: Option<i64>,
    #[schema(required)]
    output_tokens: Option<i64>,
    #[schema(required)]
    cost_usd: Option<f64>,
    #[schema(required)]
    error: Option<ResultErrorDoc>,
    /// Whose data the case is made of, where it is a person's.
    #[schema(required)]
    subject: Option<SubjectDoc>,
    attempt: u16,
    worker: String,
    #[schema(format = DateTime)]
    executed_at: String,
    /// The version of what graded it.
    #[schema(required)]
    grader: Option<String>,
    /// Whether the model was not asked, because the same question had an answer.
    cached: bool,
    /// The place of its event in the log.
    position: i64,
    /// The verdict of a person that takes the place of the recorded one.
    #[schema(required)]
    r#override: Option<OverrideDoc>,
}

/// A person's verdict in the place of the recorded one.
#[derive(ToSchema)]
#[schema(as = Override)]
pub(crate) struct OverrideDoc {
    passed: bool,
    reason: String,
    by: Uuid,
    #[schema(format = DateTime)]
    at: String,
}

/// Cells that a run leaves out: those of one of the cases, the versions and the models.
#[derive(ToSchema)]
#[schema(as = Skip)]
pub(crate) struct SkipDoc {
    /// All where there are none.
    case_ids: Option<Vec<Uuid>>,
    /// All where there are none.
    versions: Option<Vec<u32>>,
    /// By their names in the run; all where there are none.
    models: Option<Vec<String>>,
    /// The first repeat that is left out, from 0.
    #[schema(default = 0)]
    from_repeat: Option<u16>,
}

/// What is checked out where a run is asked from.
#[derive(ToSchema)]
#[schema(as = Source)]
pub(crate) struct SourceDoc {
    branch: Option<String>,
    commit: Option<String>,
}

/// How an execution came out.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ResultStatus {
    Passed,
    Failed,
    Error,
}

/// Why an execution has no output.
#[derive(ToSchema)]
#[schema(as = ResultError)]
pub(crate) struct ResultErrorDoc {
    class: String,
    message: String,
}

/// An attempt that failed.
#[derive(ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptDoc {
    attempt: u16,
    worker: String,
    class: String,
    error: String,
    #[schema(required, format = DateTime)]
    retry_at: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

/// A result with the attempts that failed, and its events.
#[derive(ToSchema)]
#[schema(as = ExecutionDetail)]
pub(crate) struct ExecutionDoc {
    #[schema(inline)]
    #[serde(flatten)]
    result: ResultDoc,
    attempts: Vec<AttemptDoc>,
    events: Vec<crate::routes::results::ExecutionEvent>,
}
