//! The schemas of regrades.

use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::SubjectDoc;
use super::{AssertionDoc, VerdictDoc};

/// A regrade that was asked for, and the job that makes it.
#[derive(ToSchema)]
#[schema(as = RegradeAnswer)]
pub(crate) struct RegradeAnswerDoc {
    id: Uuid,
    /// `GET /jobs/{job_id}` tells how it goes.
    job_id: Uuid,
    name: String,
    run_id: Uuid,
    card_id: Uuid,
    /// The version of the card's stream whose cases say what they demand.
    card_revision: i64,
    /// The run's answers are behind this position of the log.
    after: i64,
    /// The last of them is at this position or before.
    until: i64,
    #[schema(required)]
    assertions: Option<Vec<AssertionDoc>>,
    #[schema(required)]
    threshold: Option<f64>,
    requested_by: Uuid,
}

/// A regrade.
#[derive(ToSchema)]
#[schema(as = Regrade)]
pub(crate) struct RegradeDoc {
    id: Uuid,
    run_id: Uuid,
    card_id: Uuid,
    name: String,
    #[schema(inline)]
    status: RegradeStatusDoc,
    /// Answers that were graded; executions without an answer are none of them.
    answers: i64,
    passed: i64,
    failed: i64,
    /// They pass now, and did not before: what graded them changed, and the answers did not.
    turned_to_passed: i64,
    /// They do not now, and did before.
    turned_to_failed: i64,
    verdicts: i64,
    requested_by: Uuid,
    #[schema(format = DateTime)]
    requested_at: String,
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
    revision: i64,
}

/// How far a regrade is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RegradeStatusDoc {
    Running,
    Completed,
}

/// The new grade of an answer.
#[derive(ToSchema)]
#[schema(as = Regraded)]
pub(crate) struct RegradedDoc {
    execution_id: Uuid,
    version: u32,
    case_id: Uuid,
    /// The case's name of now, where it is known.
    #[schema(required)]
    case_name: Option<String>,
    model: String,
    repeat: u16,
    passed: bool,
    passed_before: bool,
    score: f64,
    verdicts: Vec<VerdictDoc>,
    /// The version of what graded it now.
    #[schema(required)]
    grader: Option<String>,
    /// Whose data the case is made of, where it is a person's.
    #[schema(required)]
    subject: Option<SubjectDoc>,
}
