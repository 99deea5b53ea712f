//! How the read models are: whether they run, how far behind the log they are, and what they could not apply.

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_projections::{Page, ProjectionState};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::ReadQuery;
use super::wait;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::answers::PageOf;
use crate::openapi::projections::ProjectionDoc;
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

/// Lists the read models with all their generations.
#[utoipa::path(get, path = "/projections", tag = "projections", params(ReadQuery),
    responses((status = 200, body = PageOf<ProjectionDoc>, description = "All of them")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Json<Page<ProjectionState>>, Problem> {
    authorize(&principal, Action::InspectSystem)?;
    for projection in pcs_projections::all() {
        wait(&state, projection.name(), query.min_position).await?;
    }
    let items = pcs_projections::states(state.store()).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Reads one read model: the living generation, the one that is built, and the one before the last promotion.
#[utoipa::path(get, path = "/projections/{name}", tag = "projections", params(("name" = String, Path), ReadQuery),
    responses((status = 200, body = PageOf<ProjectionDoc>, description = "Its generations, the living one first")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(name): Path<String>,
    Query(query): Query<ReadQuery>,
) -> Result<Json<Page<ProjectionState>>, Problem> {
    authorize(&principal, Action::InspectSystem)?;
    let found = pcs_projections::all().into_iter().find(|projection| projection.name() == name);
    let none = || Problem::not_found("projection_not_found", "there is no projection of this name");
    let projection = found.ok_or_else(none)?;
    wait(&state, projection.name(), query.min_position).await?;
    let items = pcs_projections::states_of(state.store(), &*projection).await?;
    Ok(Json(Page { items, next_cursor: None }))
}
