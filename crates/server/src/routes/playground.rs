//! The playground: a draft of a prompt, tried out on some cases and models, without a card or a run being made of it.
//!
//! Each model with each case is a job of its own, so the fleet's limits hold for it and one that fails hides no other.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::assertion::Assertion;
use pcs_domain::ids::{CommandId, JobId, PromptCardId, TestCaseId};
use pcs_domain::job::{Job, JobCommand, Requested};
use pcs_domain::jobs::swarm_agent;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{Card, PromptCard, PromptCardRejection};
use pcs_domain::test_run::Lane;
use pcs_grading::Template;
use pcs_store::execute_new;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::run_request::{check_models, missing, wrong_with_assertion};
use crate::edge::command::{Command, CommandBody};
use crate::openapi::{AssertionDoc, ModelSpecDoc};
use crate::problem::{FIELD_ERRORS_MAX, FieldError, Problem};
use crate::routes::{of_command, partials};
use crate::state::AppState;

/// The agent that tries a draft out.
const ROLE: &str = "playground";
/// Most jobs that one draft makes.
const CELLS_MAX: usize = 50;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(try_out))
}

/// A draft, and what it is tried out on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// The prompt: a template, or a chat as a JSON list of messages.
    prompt: String,
    #[schema(value_type = Vec<ModelSpecDoc>)]
    models: Vec<ModelSpec>,
    /// The card of `case_ids`.
    #[schema(value_type = Option<Uuid>)]
    card_id: Option<PromptCardId>,
    /// Cases of the card.
    #[serde(default)]
    #[schema(value_type = Vec<Uuid>, required = false)]
    case_ids: Vec<TestCaseId>,
    /// Cases that no card has.
    #[serde(default)]
    inputs: Vec<DraftCase>,
    /// Demands on every answer, beside the case's own.
    #[serde(default)]
    #[schema(value_type = Vec<AssertionDoc>, required = false)]
    assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    threshold: Option<f64>,
    /// The model that judges where an assertion names none.
    #[schema(value_type = Option<ModelSpecDoc>)]
    grader: Option<ModelSpec>,
}

/// A case that no card has.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftCase {
    /// The values of the prompt's variables.
    #[serde(default)]
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_output: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<AssertionDoc>, required = false)]
    assertions: Vec<Assertion>,
    threshold: Option<f64>,
}

impl CommandBody for Draft {}

/// What was asked for: a job for each model with each case.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Playground)]
pub(crate) struct TriedOut {
    pub(crate) cells: Vec<Cell>,
}

/// One model with one case.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlaygroundCell)]
pub(crate) struct Cell {
    /// The job whose output has `output`, `passed`, `score`, `verdicts`, and what the call took.
    #[schema(value_type = Uuid)]
    pub(crate) job_id: JobId,
    /// How the model is called.
    pub(crate) model: String,
    /// The card's case.
    #[schema(value_type = Option<Uuid>, required)]
    pub(crate) case_id: Option<TestCaseId>,
    /// The place in `inputs`, from 0.
    #[schema(required)]
    pub(crate) input: Option<usize>,
}

/// Tries a draft out; nothing is saved but the jobs, whose outputs are its answers.
#[utoipa::path(post, path = "/playground", tag = "playground", request_body = Draft,
    responses((status = 202, body = TriedOut, description = "A job for each model with each case")))]
async fn try_out(State(state): State<AppState>, command: Command<Draft>) -> Result<Response, Problem> {
    let Command { body: draft, principal, context, .. } = command;
    authorize(&principal, Action::StartRun)?;
    let cases = cases(&state, principal.tenant, &draft).await?;
    check(&draft, &cases)?;
    let included = partials::of_prompts(&state, principal.tenant, [draft.prompt.as_str()]).await?;
    let template = Template::parse_prompt(&draft.prompt, &included.texts).map_err(|error| {
        let message = error.to_string();
        Problem::unprocessable("invalid_template", &message).field("prompt", &message)
    })?;
    check_variables(&template, &cases)?;
    let mut cells = Vec::new();
    let mut last = None;
    for (of, case) in &cases {
        for model in &draft.models {
            let number = cells.len();
            let mut context = context.clone();
            context.command_id = CommandId(Uuid::new_v5(&context.command_id.0, format!("cell/{number}").as_bytes()));
            let id = JobId(Uuid::new_v5(&context.command_id.0, b"job"));
            let request = JobCommand::Request(Box::new(Requested {
                kind: swarm_agent::KIND.name.to_owned(),
                lane: Lane::Hi,
                input: task(&draft, model, case, &included.texts),
                not_before: None,
                requested_by: Some(principal.account_id),
            }));
            let executed = execute_new::<Job>(state.store(), &context, id.0, request).await?;
            last = Some((executed.revision, executed.position, executed.duplicate));
            let (case_id, input) = match of {
                Of::Card(id) => (Some(*id), None),
                Of::Draft(place) => (None, Some(*place)),
            };
            cells.push(Cell { job_id: id, model: model.name().to_owned(), case_id, input });
        }
    }
    let (revision, position, duplicate) = last.ok_or_else(nothing)?;
    let position = match position {
        Some(position) => position,
        None => state.store().head().await?,
    };
    let response = (StatusCode::ACCEPTED, Json(TriedOut { cells })).into_response();
    Ok(of_command(response, revision, position, duplicate))
}

/// Where a case comes from.
#[derive(Clone, Copy, Debug)]
enum Of {
    Card(TestCaseId),
    Draft(usize),
}

async fn cases(
    state: &AppState,
    tenant: pcs_domain::ids::TenantId,
    draft: &Draft,
) -> Result<Vec<(Of, DraftCase)>, Problem> {
    let mut cases = Vec::new();
    if !draft.case_ids.is_empty() {
        let Some(card_id) = draft.card_id else {
            let message = "`case_ids` are cases of a card, and none is named";
            return Err(Problem::unprocessable("missing_field", message).field("card_id", message));
        };
        let loaded = state.store().load::<PromptCard>(tenant, card_id.0).await?;
        let card = loaded.state.card().ok_or(PromptCardRejection::NotFound)?;
        for (place, id) in draft.case_ids.iter().enumerate() {
            cases.push((Of::Card(*id), of_card(card, *id, place)?));
        }
    }
    cases.extend(draft.inputs.iter().cloned().enumerate().map(|(place, case)| (Of::Draft(place), case)));
    Ok(cases)
}

fn of_card(card: &Card, id: TestCaseId, place: usize) -> Result<DraftCase, Problem> {
    let field = format!("case_ids[{place}]");
    let Some(case) = card.cases.get(&id) else {
        let message = format!("the card has no case {id}");
        return Err(Problem::unprocessable("case_not_found", &message).field(field, &message));
    };
    if case.subject.is_some() {
        let message = format!(
            "case {:?} is made of a person's data, which jobs do not keep sealed: try it out in a run of this case",
            case.name
        );
        return Err(Problem::unprocessable("personal_data", &message).field(field, &message));
    }
    let (input, expected_output) = (case.input.clone(), case.expected_output.clone());
    Ok(DraftCase { input, expected_output, assertions: case.assertions.clone(), threshold: case.threshold })
}

fn check(draft: &Draft, cases: &[(Of, DraftCase)]) -> Result<(), Problem> {
    let cells = cases.len().saturating_mul(draft.models.len());
    if cells == 0 {
        return Err(nothing());
    }
    if cells > CELLS_MAX {
        let message = format!(
            "{} models with {} cases are {cells} calls, and at most {CELLS_MAX} are made: choose fewer, or start a run",
            draft.models.len(),
            cases.len()
        );
        return Err(Problem::unprocessable("too_many_items", &message).field("models", &message));
    }
    check_models("models", &draft.models)?;
    check_models("grader", draft.grader.as_slice())?;
    let wrong = |field: String, assertion: &Assertion| {
        let message = wrong_with_assertion(assertion, draft.grader.is_some()).err()?;
        Some(FieldError { field, message })
    };
    let common = draft.assertions.iter().enumerate();
    let common = common.filter_map(|(nth, assertion)| wrong(format!("assertions[{nth}]"), assertion));
    let own = cases.iter().enumerate().flat_map(|(of, (_, case))| {
        case.assertions
            .iter()
            .enumerate()
            .map(move |(nth, assertion)| (format!("cases[{of}].assertions[{nth}]"), assertion))
    });
    let errors = common.chain(own.filter_map(|(field, assertion)| wrong(field, assertion)));
    let errors: Vec<FieldError> = errors.take(FIELD_ERRORS_MAX).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::unprocessable("invalid_assertion", "an assertion can't be checked").with_errors(errors))
}

fn nothing() -> Problem {
    let message = "there is nothing to try the draft out on: name a model, and a case of a card or an input";
    Problem::unprocessable("missing_field", message).field("inputs", message)
}

fn check_variables(template: &Template, cases: &[(Of, DraftCase)]) -> Result<(), Problem> {
    let lacking = cases.iter().enumerate().flat_map(|(place, (_, case))| {
        template.missing(&case.input).into_iter().map(move |variable| {
            let message = format!("case {place}: the variable {variable:?} of the prompt has no value");
            FieldError { field: variable, message }
        })
    });
    let errors: Vec<FieldError> = lacking.take(CELLS_MAX).collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(missing(errors))
}

/// What the agent is to do.
fn task(draft: &Draft, model: &ModelSpec, case: &DraftCase, partials: &BTreeMap<String, String>) -> Map<String, Value> {
    let assertions: Vec<&Assertion> = draft.assertions.iter().chain(&case.assertions).collect();
    let input = json!({
        "input": case.input,
        "expected_output": case.expected_output,
        "assertions": assertions,
        "threshold": case.threshold.or(draft.threshold),
        "grader": draft.grader,
        "partials": partials,
    });
    let task = json!({ "role": ROLE, "instructions": draft.prompt, "model": model, "input": input });
    task.as_object().cloned().unwrap_or_default()
}
