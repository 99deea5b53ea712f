//! The job system: what waits, what is held and limited, who works, what ended without an answer, and what is due when.

pub(crate) mod dead_letters;
mod fleet;
mod on_request;
mod policy;
pub(crate) mod queues;
pub(crate) mod retry;
pub(crate) mod schedules;

use pcs_relay::inspect;
use utoipa_axum::router::OpenApiRouter;

use super::{BEHIND_RETRY_AFTER, READ_WAIT};
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(queues::routes())
        .merge(policy::routes())
        .merge(fleet::routes())
        .merge(dead_letters::routes())
        .merge(retry::routes())
        .merge(schedules::routes())
        .merge(on_request::routes())
}

/// Waits until the scheduler has what the client wants to see.
pub(super) async fn wait_for_desk(state: &AppState, min_position: Option<i64>) -> Result<(), Problem> {
    let Some(position) = min_position else { return Ok(()) };
    if inspect::wait_for_position(state.store().pool(), position, READ_WAIT).await? {
        return Ok(());
    }
    let detail = format!("the scheduler has not come to position {position} yet");
    Err(Problem::unavailable("scheduler_behind", detail, BEHIND_RETRY_AFTER))
}
