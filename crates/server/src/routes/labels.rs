//! Labels of a card: names that point to versions.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, Principal, authorize};
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
    OpenApiRouter::new().routes(routes!(label, unlabel)).routes(routes!(protect, unprotect))
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
    let (version, may_move_protected) = (command.body.version, may_move_protected(&command.principal));
    let label = PromptCardCommand::Label { label, version, may_move_protected };
    act(&state, id, &command, Action::WriteCard, label).await
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
    let unlabel = PromptCardCommand::Unlabel { label, may_move_protected: may_move_protected(&command.principal) };
    act(&state, id, &command, Action::WriteCard, unlabel).await
}

/// Lets only those move a label, or take it away, who may protect labels; a version need not have it yet.
#[utoipa::path(put, path = "/cards/{card_id}/labels/{label}/protection", tag = "labels",
    params(("card_id" = Uuid, Path), ("label" = String, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn protect(
    State(state): State<AppState>,
    Path((id, label)): Path<(PromptCardId, String)>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::ProtectLabel, PromptCardCommand::ProtectLabel { label }).await
}

/// Lets everybody who writes the card move a label again.
#[utoipa::path(delete, path = "/cards/{card_id}/labels/{label}/protection", tag = "labels",
    params(("card_id" = Uuid, Path), ("label" = String, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn unprotect(
    State(state): State<AppState>,
    Path((id, label)): Path<(PromptCardId, String)>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::ProtectLabel, PromptCardCommand::UnprotectLabel { label }).await
}

/// Who may protect labels is not held up by their protection.
pub(super) fn may_move_protected(principal: &Principal) -> bool {
    authorize(principal, Action::ProtectLabel).is_ok()
}
