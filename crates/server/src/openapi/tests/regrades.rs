//! What regrades answer, one of each, for the comparison with the schemas.

use pcs_domain::assertion::Assertion;
use pcs_domain::data_subject::Subject;
use pcs_domain::ids::{ActorId, ExecutionId, JobId, PromptCardId, RegradeId, SubjectId, TestCaseId, TestRunId};
use pcs_domain::regrade::Requested;
use pcs_projections::regrades::{RegradeRow, RegradeStatus, RegradedRow};
use serde_json::Value;
use uuid::Uuid;

use super::moment;
use crate::routes::regrades::Answer;

pub(super) fn rows() -> Vec<(&'static str, Value)> {
    let (id, run_id, card_id) = (RegradeId(Uuid::nil()), TestRunId(Uuid::nil()), PromptCardId(Uuid::nil()));
    let request = Requested {
        name: String::new(),
        run_id,
        card_id,
        card_revision: 1,
        after: 1,
        until: 2,
        assertions: vec![Assertion::of_kind("is-json")],
        threshold: Some(0.5),
        requested_by: ActorId(Uuid::nil()),
    };
    let answer = Answer { id, job_id: JobId(Uuid::nil()), request: &request };
    let row = RegradeRow {
        id,
        run_id,
        card_id,
        name: String::new(),
        status: RegradeStatus::Running,
        answers: 0,
        passed: 0,
        failed: 0,
        turned_to_passed: 0,
        turned_to_failed: 0,
        verdicts: 0,
        requested_by: ActorId(Uuid::nil()),
        requested_at: moment(),
        ended_at: None,
        revision: 1,
    };
    let regraded = RegradedRow {
        execution_id: ExecutionId(Uuid::nil()),
        version: 1,
        case_id: TestCaseId(Uuid::nil()),
        case_name: None,
        model: String::new(),
        repeat: 0,
        passed: true,
        passed_before: false,
        score: 1.0,
        verdicts: Vec::new(),
        grader: None,
        subject: Some(Subject::open(SubjectId(Uuid::nil()))),
        ordinal: 1,
    };
    vec![
        ("RegradeAnswer", serde_json::to_value(answer).unwrap()),
        ("Regrade", serde_json::to_value(row).unwrap()),
        ("Regraded", serde_json::to_value(regraded).unwrap()),
    ]
}
