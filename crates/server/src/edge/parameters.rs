//! What a request's path and query say, read as strictly as its body.

use axum::extract::{FromRequestParts, Path as AxumPath, Query as AxumQuery};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Most items of a page.
pub(crate) const LIMIT_MAX: i64 = 200;
/// Most results of a page: they are read by programs.
pub(crate) const RESULTS_LIMIT_MAX: i64 = 1_000;
/// Items of a page where the client does not say.
const LIMIT_DEFAULT: i64 = 50;

/// The query; unknown and repeated keys are refused, because a typo in a filter would show everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        no_nul(&parts.uri)?;
        let read = AxumQuery::<T>::try_from_uri(&parts.uri);
        read.map(|AxumQuery(query)| Self(query)).map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            let (field, message) = reason.split_once(": ").unwrap_or(("", reason));
            Problem::invalid_query(field, message)
        })
    }
}

/// A NUL can't be in any text that is stored, so none can be found either.
fn no_nul(uri: &Uri) -> Result<(), Problem> {
    if uri.query().is_some_and(|query| query.contains("%00")) {
        let problem = Problem::unprocessable("nul_character", "the query is not acceptable");
        return Err(problem.field("", "holds a NUL character (%00); take it out"));
    }
    Ok(())
}

/// The parts of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = AxumPath::<T>::from_request_parts(parts, state).await;
        read.map(|AxumPath(path)| Self(path)).map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.strip_prefix("Invalid URL: ").unwrap_or(&text);
            Problem::unprocessable("invalid_path", "a part of the path is not of its form").field("path", reason)
        })
    }
}

/// The length of a page: as asked for, within its bounds.
pub(crate) fn limit(asked: Option<i64>, max: i64) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid_query("limit", format!("must be from 1 to {max}")))
}
