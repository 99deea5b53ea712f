//! The fleet: who works, who schedules, and whether there are enough.

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_relay::inspect::{self, Fleet};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wait_for_desk;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::Query;
use crate::openapi::jobs::FleetDoc;
use crate::problem::Problem;
use crate::routes::cards::ReadQuery;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read))
}

/// Shows the workers, the relay that schedules, and what an autoscaler needs to know.
#[utoipa::path(get, path = "/fleet", tag = "jobs", params(ReadQuery),
    responses((status = 200, body = FleetDoc, description = "The fleet")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReadQuery>,
) -> Result<Json<Fleet>, Problem> {
    authorize(&principal, Action::InspectSystem)?;
    wait_for_desk(&state, query.min_position).await?;
    let pool = state.store().pool();
    let queues = inspect::queues(pool, None).await?;
    Ok(Json(inspect::fleet(pool, &queues).await?))
}
