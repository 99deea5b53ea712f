//! The `playground`: it tries a draft of a prompt out on one case, and grades what the model says.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::ids::TestCaseId;
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::jobs::swarm_agent::AgentTask;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::TestCase;
use pcs_grading::template::Partials;
use pcs_grading::{Check, OffSchema, Question, Reply, Said, Seen, Step, Template, Transform, conclude, variables};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{Agent, Calls};

/// How often a judge is asked one thing that it answers off its schema.
const CALLS_PER_QUESTION_MAX: usize = 3;
/// Most questions that one assertion asks.
const QUESTIONS_MAX: usize = 200;

/// The playground.
#[derive(Clone, Copy, Debug)]
pub struct Playground;

/// What a draft is tried out on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cell {
    input: Map<String, Value>,
    expected_output: Option<String>,
    assertions: Vec<Assertion>,
    threshold: Option<f64>,
    grader: Option<ModelSpec>,
    partials: Partials,
}

/// An answer and what it is graded by, for steps that are made beside the runtime's threads.
struct Graded {
    case: TestCase,
    answer: Answer,
    seen: Seen<'static>,
    model: ModelSpec,
    checks: Vec<Check>,
}

impl Playground {
    async fn try_out(task: &AgentTask, calls: &Calls) -> Result<Map<String, Value>, JobFailure> {
        let cell: Cell = serde_json::from_value(Value::Object(task.input.clone())).map_err(bad)?;
        let template = Template::parse_prompt(&task.instructions, &cell.partials).map_err(bad)?;
        let checks = Check::compile_all(&cell.assertions).map_err(bad)?;
        let prompt = template.render(&cell.input).map_err(bad)?;
        let answer = calls.ask(&task.model, &prompt, &cell.input).await?;
        let seen = seen(&task.model, &answer, &cell.input).await?;
        let case = case(&cell);
        let graded = Arc::new(Graded { case, answer, seen, model: task.model.clone(), checks });
        let mut verdicts = Vec::with_capacity(cell.assertions.len());
        for place in 0..cell.assertions.len() {
            verdicts.push(verdict(&graded, place, cell.grader.as_ref(), calls).await?);
        }
        let grade = conclude(&graded.case, None, verdicts);
        let answer = &graded.answer;
        let output = json!({
            "prompt": prompt,
            "output": answer.output,
            "passed": grade.passed,
            "score": grade.score,
            "verdicts": grade.verdicts,
            "latency_ms": answer.latency_ms,
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "cost_micro_usd": answer.cost_micro_usd,
            "finish_reason": answer.finish_reason,
        });
        output.as_object().cloned().ok_or_else(|| bad("the result is no object"))
    }
}

fn bad(error: impl ToString) -> JobFailure {
    JobFailure::new(FailureClass::BadRequest, error.to_string())
}

/// A case that no card has.
fn case(cell: &Cell) -> TestCase {
    TestCase {
        id: TestCaseId(Uuid::nil()),
        name: String::new(),
        subject: None,
        input: cell.input.clone(),
        expected_output: cell.expected_output.clone(),
        assertions: Vec::new(),
        threshold: cell.threshold,
        tags: Vec::new(),
        metadata: Map::new(),
    }
}

/// Waits for what may take seconds, because users' code is run for it.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JobFailure> {
    let ended = |error| JobFailure::new(FailureClass::Worker, format!("the grading ended: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

async fn seen(model: &ModelSpec, answer: &Answer, input: &Map<String, Value>) -> Result<Seen<'static>, JobFailure> {
    let (output, input, code) = (answer.output.clone(), input.clone(), model.transform.clone());
    let seen = apart(move || {
        let Some(code) = code else { return Ok(Seen::text(&output).into_owned()) };
        Transform::compile(&code).map_err(|error| error.to_string())?.apply(Seen::text(&output), &input)
    });
    seen.await?.map_err(bad)
}

/// The verdict of the check at this place, after asking whom it asks.
async fn verdict(
    graded: &Arc<Graded>,
    place: usize,
    grader: Option<&ModelSpec>,
    calls: &Calls,
) -> Result<Verdict, JobFailure> {
    let mut replies: Vec<Reply> = Vec::new();
    let mut strays = 0;
    while replies.len() <= QUESTIONS_MAX {
        let (question, judge) = match step(graded, place, replies.clone()).await? {
            Ok(Step::Done(verdict)) => return Ok(verdict),
            Ok(Step::Ask(question, judge)) => (question, judge),
            Err(error) => {
                strays += 1;
                if strays == CALLS_PER_QUESTION_MAX || replies.pop().is_none() {
                    return Err(JobFailure::new(FailureClass::MalformedResponse, error.to_string()));
                }
                continue;
            }
        };
        let judge = judge.as_deref().or(grader).ok_or_else(|| bad("an assertion asks a judge, and none is named"))?;
        let Question::Chat(prompt) = question else {
            return Err(bad("the playground asks judges for words only: vectors, classes and webhooks need a run"));
        };
        replies.push(Reply::Text(calls.ask(judge, &prompt, &graded.case.input).await?.output));
    }
    Err(bad(format!("an assertion asks more than {QUESTIONS_MAX} questions")))
}

async fn step(graded: &Arc<Graded>, place: usize, replies: Vec<Reply>) -> Result<Result<Step, OffSchema>, JobFailure> {
    let graded = Arc::clone(graded);
    let step = apart(move || {
        let variables = variables(&graded.case);
        let said = Said { model: &graded.model, answer: &graded.answer, seen: &graded.seen };
        Some(graded.checks.get(place)?.step(&said.subject(&variables), &replies))
    });
    step.await?.ok_or_else(|| bad("there is no such check"))
}

impl Agent for Playground {
    fn role(&self) -> &'static str {
        "playground"
    }

    fn work<'a>(
        &'a self,
        task: &'a AgentTask,
        calls: &'a Calls,
    ) -> BoxFuture<'a, Result<Map<String, Value>, JobFailure>> {
        Box::pin(Self::try_out(task, calls))
    }
}
