//! Reads of the past: which position is meant, how many may go on at once, and what the answer says of it.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_domain::ids::TenantId;
use pcs_projections::past::{Moment, PastError};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{BEHIND_RETRY_AFTER, POSITION, READ_WAIT};
use crate::edge::as_of::AsOf;
use crate::problem::Problem;
use crate::state::AppState;

/// A moment, and the place of the read that asks for it.
pub(crate) struct Past<'s> {
    pub(crate) moment: Moment<'s>,
    _place: OwnedSemaphorePermit,
}

/// The moment that a read asks for; none where it asks for what is now.
pub(crate) async fn past(
    state: &AppState,
    tenant: TenantId,
    as_of: Option<AsOf>,
    min_position: Option<i64>,
) -> Result<Option<Past<'_>>, Problem> {
    let Some(as_of) = as_of else { return Ok(None) };
    let refused = |message: &str| Err(Problem::invalid_query("as_of", message));
    if min_position.is_some() {
        return refused("can't be asked for together with min_position: a position of the past never changes");
    }
    let store = state.store();
    let position = match as_of {
        AsOf::Time(at) => store.position_at(at).await?,
        AsOf::Position(position) => position,
    };
    let head = store.head().await?;
    if position > head {
        return refused(&format!("is in the future: the newest position is {head}"));
    }
    let places = state.past_reads().clone();
    let place = tokio::time::timeout(READ_WAIT, places.acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        let detail = "too many reads of the past are going on";
        return Err(Problem::unavailable("too_many_past_reads", detail, BEHIND_RETRY_AFTER));
    };
    Ok(Some(Past { moment: Moment { store, tenant, position }, _place: place }))
}

/// How far the read models have to be: to what the client has seen, or to the moment that it asks for.
pub(crate) fn least_position(past: Option<&Past<'_>>, min_position: Option<i64>) -> Option<i64> {
    past.map(|past| past.moment.position).or(min_position)
}

/// The last position that a read may see.
pub(crate) fn last_position(past: Option<&Past<'_>>) -> i64 {
    past.map_or(i64::MAX, |past| past.moment.position)
}

/// An answer, which says what moment it is of where one was asked for.
pub(crate) fn answer(past: Option<&Past<'_>>, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    if let Some(past) = past {
        response.headers_mut().insert(POSITION, HeaderValue::from(past.moment.position));
    }
    response
}

impl From<PastError> for Problem {
    fn from(error: PastError) -> Self {
        match error {
            PastError::Read(error) => error.into(),
            PastError::Fold(error) => error.into(),
            PastError::TooMuch => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "past_too_large", error.to_string()),
        }
    }
}
