//! What a version of a prompt and the card's cases say about each other, before a run finds it out.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::PromptCardId;
use pcs_domain::prompt_card::{Card, PromptCardRejection, TestCase};
use pcs_grading::template::Partials;
use pcs_grading::{Lint, Remark, RemarkKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{card_answer, partials};
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::problem::Problem;
use crate::state::AppState;

/// Longest look; of a card whose templates are too slow for all of its cases, the first ones are checked.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(check))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CurrentQuery {
    /// Taken as by every read, and always met: this one reads the card's own history.
    #[serde(rename = "min_position")]
    #[param(rename = "min_position")]
    _min_position: Option<i64>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lint)]
pub(crate) struct Linted {
    pub(crate) version: u32,
    /// The variables that the prompt refers to, sorted.
    pub(crate) variables: Vec<String>,
    /// How many cases the card has.
    pub(crate) cases: usize,
    /// How many of them were looked at: not those of a shredded data subject, and not those for which there was no time.
    pub(crate) cases_checked: usize,
    /// Whether a run would be refused, or an execution would fail.
    pub(crate) has_errors: bool,
    /// Errors first.
    pub(crate) remarks: Vec<LintRemark>,
}

/// Something that the author of a prompt should know.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LintRemark {
    #[schema(inline)]
    pub(crate) severity: Severity,
    /// What it is about, for a program.
    #[schema(inline)]
    pub(crate) kind: Kind,
    /// The variable, where it is about one.
    #[schema(required)]
    pub(crate) variable: Option<String>,
    /// How many cases show it.
    pub(crate) cases: usize,
    /// The name of the first of them.
    #[schema(required)]
    pub(crate) example: Option<String>,
    /// What it says, for a person.
    pub(crate) message: String,
}

/// Whether a run can't work, or there is something to think about.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The template can't be parsed.
    InvalidTemplate,
    /// The template needs a variable that a case does not give.
    MissingVariable,
    /// The template can't be rendered for a case.
    RenderFailed,
    /// There is nothing to check the template against.
    NoCases,
    /// The template refers to a variable that no case gives.
    UntestedVariable,
    /// A case gives a variable that neither the template nor its assertions use.
    UnusedVariable,
}

impl From<RemarkKind> for Kind {
    fn from(kind: RemarkKind) -> Self {
        match kind {
            RemarkKind::InvalidTemplate => Self::InvalidTemplate,
            RemarkKind::MissingVariable => Self::MissingVariable,
            RemarkKind::RenderFailed => Self::RenderFailed,
            RemarkKind::NoCases => Self::NoCases,
            RemarkKind::UntestedVariable => Self::UntestedVariable,
            RemarkKind::UnusedVariable => Self::UnusedVariable,
        }
    }
}

impl From<Remark> for LintRemark {
    fn from(remark: Remark) -> Self {
        let Remark { kind, variable, cases, example, message } = remark;
        let severity = if kind.is_error() { Severity::Error } else { Severity::Warning };
        Self { severity, kind: kind.into(), variable, cases, example, message }
    }
}

/// Checks a version against the card's cases.
#[utoipa::path(get, path = "/cards/{card_id}/versions/{version}/lint", tag = "versions",
    params(("card_id" = Uuid, Path), ("version" = u32, Path), CurrentQuery),
    responses((status = 200, body = Linted, description = "What was found")))]
async fn check(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path((id, version)): Path<(PromptCardId, u32)>,
    Query(_query): Query<CurrentQuery>,
) -> Result<Json<Linted>, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let loaded = card_answer::loaded(&state, principal.tenant, id).await?;
    let prompt = loaded.state.card().and_then(|card| card.prompts.get(&version)).map(String::as_str);
    let partials = partials::of_prompts(&state, principal.tenant, prompt).await?.texts;
    let place = state.run_checks().clone().acquire_owned().await;
    let looked = tokio::task::spawn_blocking(move || {
        let _place = place;
        let card = loaded.state.card().ok_or(PromptCardRejection::NotFound)?;
        let none = || Problem::not_found("version_not_found", format!("the card has no version {version}"));
        let prompt = card.prompts.get(&version).ok_or_else(none)?;
        Ok(look(version, (prompt, &partials), card))
    });
    looked.await.unwrap_or_else(|error| Err(Problem::internal(error.to_string()))).map(Json)
}

fn look(version: u32, (prompt, partials): (&str, &Partials), card: &Card) -> Linted {
    let started = Instant::now();
    let mut lint = Lint::of(prompt, partials);
    let is_gone = |case: &&TestCase| case.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded());
    for case in card.cases_in_order().filter(|case| !is_gone(case)) {
        if started.elapsed() > LOOK_TIME_MAX {
            break;
        }
        lint.look_at(case);
    }
    let (variables, cases_checked) = (lint.variables().iter().cloned().collect(), lint.cases());
    let remarks = lint.remarks();
    let has_errors = remarks.iter().any(|remark| remark.kind.is_error());
    let remarks = remarks.into_iter().map(LintRemark::from).collect();
    Linted { version, variables, cases: card.cases.len(), cases_checked, has_errors, remarks }
}
