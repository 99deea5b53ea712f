//! Data subjects: their key is destroyed on demand, and with it everything that is kept of them.

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_domain::data_subject::SubjectName;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::edge::command::{Command, Nothing};
use crate::edge::parameters::Path;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(shred))
}

/// What a shredding did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shredded {
    /// The subject's id, which cases and results carry.
    subject_id: Uuid,
    /// Whether they had been shredded before.
    already: bool,
}

/// Destroys a data subject's key: what is kept of them can't be read any more, in no copy of it. This can't be undone.
#[utoipa::path(delete, path = "/subjects/{subject}", tag = "subjects", params(("subject" = String, Path)),
    responses((status = 200, body = Shredded, description = "What was done")))]
async fn shred(
    State(state): State<AppState>,
    Path(subject): Path<String>,
    command: Command<Nothing>,
) -> Result<Json<Shredded>, Problem> {
    authorize(&command.principal, Action::ShredSubject)?;
    let name = subject_name("subject", &subject)?;
    let shredded = state.store().shred(command.principal.tenant, &name, Some(command.context)).await?;
    Ok(Json(Shredded { subject_id: shredded.id.0, already: shredded.already }))
}

/// A subject's name, or the field that is not acceptable as one.
pub(super) fn subject_name(field: &str, text: &str) -> Result<SubjectName, Problem> {
    SubjectName::parse(text).map_err(|error| {
        Problem::unprocessable("invalid_subject", error.to_string()).field(field.to_owned(), error.to_string())
    })
}
