//! One attempt at one execution: the prompt is rendered, the model asked, the answer graded.

use std::time::Duration;

use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::jobs::test_execution::{Outcome, Ticket};
use pcs_domain::prompt_card::TestCase;
use pcs_grading::grade;
use pcs_providers::{CallKey, ChatRequest, Gateway};

use crate::plans::{CompiledPlan, compile_checks};

/// Longest time for one call where the model does not say otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time for one call, whatever the model says: it holds a slot of the worker.
const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Makes the attempt; whatever happens is an outcome.
pub(crate) async fn attempt(gateway: &Gateway, plan: &CompiledPlan, ticket: &Ticket, case: &TestCase) -> Outcome {
    match ask_and_grade(gateway, plan, ticket, case).await {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::Failed { failure, retry_after_ms: None },
    }
}

async fn ask_and_grade(
    gateway: &Gateway,
    plan: &CompiledPlan,
    ticket: &Ticket,
    case: &TestCase,
) -> Result<Outcome, Failure> {
    let grading = |error: String| Failure { class: FailureClass::Grading, error };
    let unknown = |error: String| Failure { class: FailureClass::UnknownModel, error };
    let cell = &ticket.cell;
    let model =
        plan.models.get(&cell.model).ok_or_else(|| unknown(format!("the run has no model called {:?}", cell.model)))?;
    let template = plan
        .prompts
        .get(&cell.version)
        .ok_or_else(|| grading(format!("the run has no version {}", cell.version)))?
        .as_ref()
        .map_err(|error| grading(error.clone()))?;
    // Before the call: what can't be graded is not worth paying for.
    let run_checks = plan.checks.as_ref().map_err(|error| grading(error.clone()))?;
    let case_checks = compile_checks(&case.assertions).map_err(grading)?;
    let prompt = template.render(&case.input).map_err(|error| grading(error.to_string()))?;
    let request = ChatRequest {
        model,
        prompt: &prompt,
        variables: &case.input,
        cell: CallKey { execution_id: cell.id(), attempt: ticket.attempt },
        deadline: model.params.timeout_ms.map_or(CALL_TIMEOUT, Duration::from_millis).min(CALL_TIMEOUT_MAX),
    };
    match gateway.call(&request).await {
        Ok(answer) => {
            let grade = grade(case, run_checks, &case_checks, plan.threshold, &answer);
            Ok(Outcome::Finished { answer, grade })
        }
        Err(error) => {
            let retry_after_ms = error.retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            Ok(Outcome::Failed { failure: error.into(), retry_after_ms })
        }
    }
}
