//! One attempt at one execution: the prompt is rendered, the model asked, the answer graded.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::assertion::Grade;
use pcs_domain::execution::{Answer, ExecutionRef, Failure, FailureClass};
use pcs_domain::jobs::test_execution::{Outcome, Ticket};
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::TestCase;
use pcs_grading::{Check, OffSchema, Reply, Said, Seen, Step, Transform, conclude, grade, grader_version, variables};
use pcs_providers::{CallKey, ChatRequest, Gateway, call_deadline};
use tracing::Instrument;

use crate::judging::{Judging, Unjudged};
use crate::kept::Kept;
use crate::plans::{CompiledPlan, compile_checks};

/// Time beyond the call's in which an attempt has to be over, grading included; then it is stopped.
const ATTEMPT_MARGIN: Duration = Duration::from_secs(30);

/// Time beyond that for all the judges of an answer together.
const JUDGING_TIME_MAX: Duration = Duration::from_secs(900);

/// An attempt that is ready to be made: nothing is wrong with it that could be found without the model.
pub(crate) struct Prepared<'a> {
    plan: &'a Arc<CompiledPlan>,
    case: &'a TestCase,
    run_checks: &'a [Check],
    case_checks: Arc<[Check]>,
    key: CallKey,
    transform: Option<&'a Transform>,
    /// Who is asked.
    pub(crate) model: &'a ModelSpec,
    /// What is asked.
    pub(crate) prompt: String,
    /// How long the call may take.
    pub(crate) deadline: Duration,
}

/// Prepares an attempt.
///
/// # Errors
/// What makes every attempt at this execution fail.
pub(crate) fn prepare<'a>(
    plan: &'a Arc<CompiledPlan>,
    ticket: &Ticket,
    case: &'a TestCase,
) -> Result<Prepared<'a>, Failure> {
    let grading = |error: String| Failure { class: FailureClass::Grading, error };
    let unknown = |error: String| Failure { class: FailureClass::UnknownModel, error };
    let ExecutionRef { model, version, .. } = &ticket.cell;
    let model = plan.models.get(model).ok_or_else(|| unknown(format!("the run has no model called {model:?}")))?;
    let template = plan
        .prompts
        .get(version)
        .ok_or_else(|| grading(format!("the run has no version {version}")))?
        .as_ref()
        .map_err(|error| grading(error.clone()))?;
    // Before the call: what can't be graded is not worth paying for.
    let transform = plan.transforms.get(model.name()).map(Result::as_ref).transpose();
    let transform = transform.map_err(|error| grading(error.clone()))?;
    let run_checks = plan.checks.as_ref().map_err(|error| grading(error.clone()))?;
    let case_checks = compile_checks(&case.assertions).map_err(grading)?.into();
    let prompt = template.render(&case.input).map_err(|error| grading(error.to_string()))?;
    let key = CallKey { execution_id: ticket.cell.id(), attempt: ticket.attempt, snoozes: ticket.snoozes };
    let deadline = call_deadline(model);
    Ok(Prepared { plan, case, run_checks, case_checks, key, transform, model, prompt, deadline })
}

/// Waits for what users' code says beside the runtime's threads: it may take seconds, and the ticket is kept alive
/// meanwhile by the same task.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("the grading ended: {error}"))
}

/// What was said, of its own.
fn owned(said: Said<'_>) -> (ModelSpec, Answer, Seen<'static>) {
    (said.model.clone(), said.answer.clone(), said.seen.clone().into_owned())
}

impl Prepared<'_> {
    /// Makes the attempt; whatever happens is an outcome. An answer that is kept is graded instead of asked for, and one
    /// that can't be graded is kept.
    pub(crate) async fn attempt(&self, gateway: &Gateway, kept: Option<&Kept>) -> Outcome {
        let limit = self.limit();
        let ended = tokio::time::timeout(limit, self.ask_and_grade(gateway, kept)).await;
        ended.unwrap_or_else(|_| {
            let error = format!("the attempt took more than {} s and was stopped", limit.as_secs());
            failed(Failure { class: FailureClass::Timeout, error })
        })
    }

    async fn ask_and_grade(&self, gateway: &Gateway, kept: Option<&Kept>) -> Outcome {
        let execution = self.key.execution_id;
        let answer = match kept.and_then(|kept| kept.take(execution)) {
            Some(answer) => answer,
            None => match self.ask(gateway).await {
                Ok(answer) => answer,
                Err(outcome) => return outcome,
            },
        };
        let judged = self.checks().any(Check::is_judged);
        if let Some(kept) = kept.filter(|_| judged) {
            // Until there is a verdict: the attempt may be stopped for its time.
            kept.keep(execution, answer.clone());
        }
        let outcome = self.grade(gateway, answer).await;
        if let (Some(kept), Outcome::Finished { .. }) = (kept, &outcome) {
            drop(kept.take(execution));
        }
        outcome
    }

    /// What the model says, or the outcome without it.
    async fn ask(&self, gateway: &Gateway) -> Result<Answer, Outcome> {
        let request = ChatRequest {
            model: self.model,
            prompt: &self.prompt,
            variables: &self.case.input,
            cell: self.key,
            deadline: self.deadline,
        };
        let exported = pcs_traces::call_span(self.model.provider(), self.model.model());
        match gateway.call(&request).instrument(exported.clone()).await {
            Ok(answer) => {
                pcs_traces::end_call(&exported, Ok((answer.input_tokens, answer.output_tokens)));
                Ok(answer)
            }
            Err(error) => {
                pcs_traces::end_call(&exported, Err(error.class.name()));
                let retry_after_ms = error.retry_after.map(millis);
                Err(Outcome::Failed { failure: error.into(), retry_after_ms })
            }
        }
    }

    /// Grades an answer, whoever gave it.
    pub(crate) async fn grade(&self, gateway: &Gateway, answer: Answer) -> Outcome {
        let grade = match self.seen(&answer).await {
            // What is recorded is what the model said.
            Ok(seen) => self.graded(gateway, Said { model: self.model, answer: &answer, seen: &seen }).await,
            Err(error) => Err(Unjudged::of(FailureClass::Grading, error)),
        };
        match grade {
            Ok(grade) => Outcome::Finished { answer, grade: Grade { grader: Some(self.grader_version()), ..grade } },
            Err(Unjudged { failure, retry_after }) => {
                Outcome::Failed { failure, retry_after_ms: retry_after.map(millis) }
            }
        }
    }

    /// The answer as its model's transform shows it, where there is one.
    async fn seen<'a>(&self, answer: &'a Answer) -> Result<Seen<'a>, String> {
        let Some(transform) = self.transform.cloned() else { return Ok(Seen::text(&answer.output)) };
        let (output, input) = (answer.output.clone(), self.case.input.clone());
        apart(move || transform.apply(Seen::text(&output), &input)).await?
    }

    async fn graded(&self, gateway: &Gateway, said: Said<'_>) -> Result<Grade, Unjudged> {
        if self.checks().any(Check::is_judged) {
            return self.judged(gateway, said).await;
        }
        if self.checks().any(Check::runs_code) {
            let (plan, case, checks) = (Arc::clone(self.plan), self.case.clone(), Arc::clone(&self.case_checks));
            let (model, answer, seen) = owned(said);
            let grade = apart(move || {
                let said = Said { model: &model, answer: &answer, seen: &seen };
                grade(&case, plan.run_checks(), &checks, plan.threshold, said)
            });
            let grade = grade.await;
            return grade.map_err(|error| Unjudged::of(FailureClass::Grading, error));
        }
        Ok(grade(self.case, self.run_checks, &self.case_checks, self.plan.threshold, said))
    }

    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.run_checks.iter().chain(self.case_checks.iter())
    }

    /// The grade after asking those whom the assertions ask.
    async fn judged(&self, gateway: &Gateway, said: Said<'_>) -> Result<Grade, Unjudged> {
        let variables = variables(self.case);
        let subject = said.subject(&variables);
        let judging =
            Judging { gateway, grader: self.plan.grader.as_ref(), key: self.key, variables: &self.case.input };
        let mut verdicts = Vec::new();
        for (place, check) in self.checks().enumerate() {
            let subject = &subject;
            let step = |replies: Vec<Reply>| async move {
                match check.runs_code() {
                    false => Ok(check.step(subject, &replies)),
                    true => self.step_apart(place, said, replies).await,
                }
            };
            verdicts.push(judging.verdict(step).await?);
        }
        Ok(conclude(self.case, self.plan.threshold, verdicts))
    }

    /// What the check at this place, which runs code, needs after these replies.
    async fn step_apart(
        &self,
        place: usize,
        said: Said<'_>,
        replies: Vec<Reply>,
    ) -> Result<Result<Step, OffSchema>, Unjudged> {
        let (plan, case, checks) = (Arc::clone(self.plan), self.case.clone(), Arc::clone(&self.case_checks));
        let (model, answer, seen) = owned(said);
        let reached = apart(move || {
            let variables = variables(&case);
            let check = plan.run_checks().iter().chain(checks.iter()).nth(place)?;
            let said = Said { model: &model, answer: &answer, seen: &seen };
            Some(check.step(&said.subject(&variables), &replies))
        });
        let reached = reached.await.and_then(|reached| reached.ok_or_else(|| "there is no such check".to_owned()));
        reached.map_err(|error| Unjudged::of(FailureClass::Grading, error))
    }

    fn grader_version(&self) -> String {
        grader_version(&self.plan.assertions, self.plan.threshold, self.case)
    }

    /// How long an attempt may take in all.
    fn limit(&self) -> Duration {
        let judging = if self.checks().any(Check::is_judged) { JUDGING_TIME_MAX } else { Duration::ZERO };
        self.deadline + ATTEMPT_MARGIN + judging
    }
}

fn millis(pause: Duration) -> u64 {
    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
}

/// The outcome of an attempt that could not be made.
pub(crate) fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure, retry_after_ms: None }
}
