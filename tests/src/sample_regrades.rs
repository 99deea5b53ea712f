//! One event of every type of a regrade.

use pcs_domain::assertion::{Assertion, Grade, Verdict};
use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, TestRunId};
use pcs_domain::regrade::{self, Graded, RegradeEvent, RegradeTotals, Regraded};
use serde_json::json;

pub(crate) fn all(
    run_id: TestRunId,
    card_id: PromptCardId,
    answer: ExecutionId,
    verdict: Verdict,
    by: ActorId,
) -> Vec<RegradeEvent> {
    let grade =
        Grade { grader: Some("1-0e1a2b3c4d5e6f70".to_owned()), passed: true, score: 1.0, verdicts: vec![verdict] };
    let graded = Regraded { execution_id: answer, subject: None, passed_before: false, grade };
    let totals =
        RegradeTotals { answers: 1, passed: 1, failed: 0, turned_to_passed: 1, turned_to_failed: 0, verdicts: 1 };
    vec![
        RegradeEvent::Requested(regrade::Requested {
            name: "numbers only".to_owned(),
            run_id,
            card_id,
            card_revision: 11,
            after: 40,
            until: 52,
            assertions: vec![Assertion { value: Some(json!("{{expected_output}}")), ..Assertion::of_kind("numeric") }],
            threshold: Some(0.5),
            requested_by: by,
        }),
        RegradeEvent::Graded(Graded { through: 52, grades: vec![graded] }),
        RegradeEvent::Completed(regrade::Completed { totals }),
    ]
}
