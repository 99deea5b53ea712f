//! What the cases of a card have to look like: shown and changed.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::PromptCardId;
use pcs_domain::prompt_card::{Card, CaseDraft, CaseSchema, PromptCardCommand, PromptCardRejection, TestCase};
use pcs_grading::CaseCheck;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::card_answer;
use super::cards::act;
use super::lint::CurrentQuery;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody};
use crate::edge::parameters::{Path, Query};
use crate::openapi::answers::CardDoc;
use crate::problem::{FIELD_ERRORS_MAX, FieldError, Problem};
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read, change))
}

/// JSON Schemas that the cases of a card have to fit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schemas {
    /// Of the variables, as one object; anything fits where it is null.
    #[serde(default)]
    #[schema(value_type = Option<Object>, required)]
    pub(crate) input: Option<Map<String, Value>>,
    /// Of the expected output: of what it is as JSON, or else of its text.
    #[serde(default)]
    #[schema(value_type = Option<Object>, required)]
    pub(crate) expected_output: Option<Map<String, Value>>,
}

impl CommandBody for Schemas {}

/// Shows what the cases of a card have to look like.
#[utoipa::path(get, path = "/cards/{card_id}/schema", tag = "cases",
    params(("card_id" = Uuid, Path), CurrentQuery),
    responses((status = 200, body = Schemas, description = "The schemas")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<PromptCardId>,
    Query(_query): Query<CurrentQuery>,
) -> Result<Json<Schemas>, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let loaded = card_answer::loaded(&state, principal.tenant, id).await?;
    let CaseSchema { input, expected_output } =
        loaded.state.card().ok_or(PromptCardRejection::NotFound)?.schema.clone();
    Ok(Json(Schemas { input, expected_output }))
}

/// Changes what the cases of a card have to look like. Cases that the card has stay; those that do not fit are refused by
/// the next run.
#[utoipa::path(put, path = "/cards/{card_id}/schema", tag = "cases", request_body = Schemas,
    params(("card_id" = Uuid, Path)), responses((status = 200, body = CardDoc, description = "The card")))]
async fn change(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    mut command: Command<Schemas>,
) -> Result<Response, Problem> {
    let Schemas { input, expected_output } = std::mem::take(&mut command.body);
    let schema = CaseSchema { input, expected_output };
    compiled(&schema)?;
    act(&state, id, &command, Action::WriteCard, PromptCardCommand::ChangeSchema(schema)).await
}

fn compiled(schema: &CaseSchema) -> Result<CaseCheck, Problem> {
    CaseCheck::compile(schema).map_err(|error| {
        Problem::unprocessable("invalid_schema", error.to_string()).field(error.part, error.to_string())
    })
}

/// Refuses new cases that do not fit.
pub(super) fn check_drafts(card: &Card, drafts: &[CaseDraft]) -> Result<(), Problem> {
    let all = drafts.iter().map(|case| (case.name.as_str(), &case.input, case.expected_output.as_deref()));
    check(card, all)
}

/// Refuses a run of cases that do not fit; what a shredded data subject said is gone, and fits.
pub(super) fn check_cases(card: &Card, cases: &[&TestCase]) -> Result<(), Problem> {
    let is_there = |case: &&&TestCase| !case.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded());
    let all = cases.iter().filter(is_there);
    check(card, all.map(|case| (case.name.as_str(), &case.input, case.expected_output.as_deref())))
}

fn check<'a>(
    card: &Card,
    cases: impl Iterator<Item = (&'a str, &'a Map<String, Value>, Option<&'a str>)>,
) -> Result<(), Problem> {
    if card.schema.is_empty() {
        return Ok(());
    }
    let check = compiled(&card.schema)?;
    let problems = cases.enumerate().flat_map(|(nth, (name, input, expected))| {
        let problems = check.problems(input, expected).into_iter();
        problems.map(move |problem| FieldError {
            field: format!("cases[{nth}]"),
            message: format!("case {name:?}: {problem}"),
        })
    });
    let errors: Vec<FieldError> = problems.take(FIELD_ERRORS_MAX).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let detail =
        "a case does not fit the schema of its card: change the case, or the schema (PUT /cards/{card_id}/schema)";
    Err(Problem::unprocessable("case_does_not_fit", detail).with_errors(errors))
}
