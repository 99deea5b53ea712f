//! Labels of a card: names that point to versions.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::Action;
use pcs_domain::ids::PromptCardId;
use pcs_domain::prompt_card::PromptCardCommand;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::act;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::Path;
use crate::openapi::answers::CardDoc;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(label, unlabel))
}

/// Where a label points.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// A version of the card.
    version: u32,
}

impl CommandBody for Target {}

/// Points a label to a version.
#[utoipa::path(put, path = "/cards/{card_id}/labels/{label}", tag = "labels", request_body = Target,
    params(("card_id" = Uuid, Path), ("label" = String, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn label(
    State(state): State<AppState>,
    Path((id, label)): Path<(PromptCardId, String)>,
    command: Command<Target>,
) -> Result<Response, Problem> {
    let version = command.body.version;
    act(&state, id, &command, Action::WriteCard, PromptCardCommand::Label { label, version }).await
}

/// Takes a label away.
#[utoipa::path(delete, path = "/cards/{card_id}/labels/{label}", tag = "labels",
    params(("card_id" = Uuid, Path), ("label" = String, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn unlabel(
    State(state): State<AppState>,
    Path((id, label)): Path<(PromptCardId, String)>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::WriteCard, PromptCardCommand::Unlabel { label }).await
}
