//! The schemas of reviews.

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What answers are scored by.
#[derive(ToSchema)]
#[schema(as = ScoreConfig)]
pub(crate) struct ScoreConfigDoc {
    name: String,
    /// What it means.
    #[schema(default = "")]
    description: Option<String>,
    kind: ScoreKindDoc,
}

/// Which values a score takes.
#[derive(ToSchema)]
#[schema(as = ScoreKind, rename_all = "snake_case")]
pub(crate) enum ScoreKindDoc {
    /// Yes or no.
    Boolean,
    /// A number within bounds.
    Numeric { min: f64, max: f64 },
    /// One of some words.
    Categorical { categories: Vec<String> },
}

/// A review after a command.
#[derive(ToSchema)]
#[schema(as = ReviewAnswer)]
pub(crate) struct ReviewAnswerDoc {
    run_id: Uuid,
    items: u64,
    closed: bool,
    /// What the caller is to score, where they asked for it: `GET /executions/{execution_id}` shows it.
    #[schema(required)]
    next: Option<Uuid>,
}

/// What counts of an answer.
#[derive(ToSchema)]
#[schema(as = OverrideAnswer)]
pub(crate) struct OverrideAnswerDoc {
    execution_id: Uuid,
    run_id: Uuid,
    /// Whether the answer passes, by what counts now.
    passed: bool,
    /// Whether it does by what was recorded.
    recorded: bool,
}

/// The review of a run.
#[derive(ToSchema)]
#[schema(as = Review)]
pub(crate) struct ReviewDoc {
    run_id: Uuid,
    card_id: Uuid,
    title: String,
    instructions: String,
    scores: Vec<ScoreConfigDoc>,
    reviewers_per_item: u8,
    /// Whether nobody sees the scores of others before they gave their own.
    blind: bool,
    closed: bool,
    /// Answers in the queue.
    items: i64,
    /// Of these, with as many scores as they need.
    done: i64,
    /// Scores that were given.
    scored: i64,
    /// Scores that somebody is to give.
    assigned: i64,
    opened_by: Uuid,
    #[schema(format = DateTime)]
    opened_at: String,
    revision: i64,
}

/// An answer in a review.
#[derive(ToSchema)]
#[schema(as = ReviewItem)]
pub(crate) struct ReviewItemDoc {
    execution_id: Uuid,
    reviewers: Vec<ReviewPartDoc>,
}

/// What one reviewer makes of an answer.
#[derive(ToSchema)]
#[schema(as = ReviewPart)]
pub(crate) struct ReviewPartDoc {
    reviewer: Uuid,
    /// Absent until they gave them, and where the caller may not see them yet.
    #[schema(required, value_type = Option<Object>)]
    scores: Option<Value>,
    comment: String,
    #[schema(required, format = DateTime)]
    scored_at: Option<String>,
}

/// Whether reviewers agree.
#[derive(ToSchema)]
#[schema(as = Agreement)]
pub(crate) struct AgreementDoc {
    run_id: Uuid,
    scores: Vec<ScoreAgreementDoc>,
}

/// Whether they agree in one score.
#[derive(ToSchema)]
#[schema(as = ScoreAgreement)]
pub(crate) struct ScoreAgreementDoc {
    name: String,
    /// Answers with two reviewers or more.
    items: u64,
    /// Krippendorff's alpha: 1 is always, 0 as by chance; null where nothing says more than chance would.
    #[schema(required)]
    alpha: Option<f64>,
    pairs: Vec<PairAgreementDoc>,
    /// Each reviewer beside the recorded verdicts; of a score that is yes or no.
    recorded: Vec<RecordedAgreementDoc>,
}

/// Two reviewers.
#[derive(ToSchema)]
#[schema(as = PairAgreement)]
pub(crate) struct PairAgreementDoc {
    one: Uuid,
    other: Uuid,
    /// Answers that both rated.
    items: u64,
    /// Of these, rated the same.
    agreed: u64,
    /// Cohen's kappa: 1 is always, 0 as by chance.
    #[schema(required)]
    kappa: Option<f64>,
}

/// A reviewer beside the recorded verdicts.
#[derive(ToSchema)]
#[schema(as = RecordedAgreement)]
pub(crate) struct RecordedAgreementDoc {
    reviewer: Uuid,
    items: u64,
    agreed: u64,
    #[schema(required)]
    kappa: Option<f64>,
}
