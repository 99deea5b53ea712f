//! Reads of reviews: how far they are, what was given to which answer, and whether reviewers agree.

use axum::Json;
use axum::extract::State;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::{ActorId, TestRunId};
use pcs_domain::review::ReviewRejection;
use pcs_projections::Page;
use pcs_projections::agreement::{ScoreAgreement, agreement};
use pcs_projections::execution_results;
use pcs_projections::reviews::{self, ItemRow, ReviewFilter, ReviewRow};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wait;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{LIMIT_MAX, Path, Query, RESULTS_LIMIT_MAX, limit};
use crate::openapi::answers::PageOf;
use crate::openapi::reviews::{AgreementDoc, ReviewDoc, ReviewItemDoc};
use crate::problem::Problem;
use crate::state::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).routes(routes!(items)).routes(routes!(agree))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReviewQuery {
    /// Closed ones, or those that are open.
    closed: Option<bool>,
    /// With answers that this account is to score.
    #[param(value_type = Option<Uuid>)]
    reviewer: Option<ActorId>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ItemQuery {
    /// Those that this account is to score, or has.
    #[param(value_type = Option<Uuid>)]
    reviewer: Option<ActorId>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PositionQuery {
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

/// Whether reviewers agree.
#[derive(Debug, Serialize)]
pub(crate) struct Agreement {
    pub(crate) run_id: TestRunId,
    pub(crate) scores: Vec<ScoreAgreement>,
}

/// Lists reviews, the newest first.
#[utoipa::path(get, path = "/reviews", tag = "reviews", params(ReviewQuery),
    responses((status = 200, body = PageOf<ReviewDoc>, description = "A page of reviews")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<ReviewQuery>,
) -> Result<Json<Page<ReviewRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    wait(&state, reviews::NAME, query.min_position).await?;
    let filter = ReviewFilter { closed: query.closed, reviewer: query.reviewer };
    let page = reviews::page(state.store().pool(), principal.tenant, &filter, query.cursor.as_deref(), limit).await?;
    Ok(Json(page))
}

/// Reads the review of a run, and how far it is.
#[utoipa::path(get, path = "/runs/{run_id}/review", tag = "reviews", params(("run_id" = Uuid, Path), PositionQuery),
    responses((status = 200, body = ReviewDoc, description = "The review")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(run_id): Path<TestRunId>,
    Query(query): Query<PositionQuery>,
) -> Result<Json<ReviewRow>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    wait(&state, reviews::NAME, query.min_position).await?;
    let found = reviews::by_run(state.store().pool(), principal.tenant, run_id).await?;
    Ok(Json(found.ok_or(ReviewRejection::NotFound)?))
}

/// Lists a review's answers, with who is to score them and what was given. Where the review is blind, nobody sees what
/// others gave to an answer before they gave their own, until the review is closed.
#[utoipa::path(get, path = "/runs/{run_id}/review/items", tag = "reviews",
    params(("run_id" = Uuid, Path), ItemQuery),
    responses((status = 200, body = PageOf<ReviewItemDoc>, description = "A page of answers")))]
async fn items(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(run_id): Path<TestRunId>,
    Query(query): Query<ItemQuery>,
) -> Result<Json<Page<ItemRow>>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let limit = limit(query.limit, RESULTS_LIMIT_MAX)?;
    wait(&state, reviews::NAME, query.min_position).await?;
    let (pool, of) = (state.store().pool(), (principal.tenant, run_id));
    let review = reviews::by_run(pool, principal.tenant, run_id).await?.ok_or(ReviewRejection::NotFound)?;
    let mut page = reviews::items(pool, of, query.reviewer, query.cursor.as_deref(), limit).await?;
    if review.blind && !review.closed {
        page.items.iter_mut().for_each(|item| hide(item, principal.account_id));
    }
    Ok(Json(page))
}

/// Hides what others gave to an answer from somebody who has not given theirs.
fn hide(item: &mut ItemRow, from: ActorId) {
    if item.reviewers.iter().any(|part| part.reviewer == from && part.scores.is_some()) {
        return;
    }
    for part in item.reviewers.iter_mut().filter(|part| part.reviewer != from) {
        (part.scores, part.comment) = (None, String::new());
    }
}

/// Says whether reviewers agree: Krippendorff's alpha of all, Cohen's kappa of every two, and of each with the recorded
/// verdicts.
#[utoipa::path(get, path = "/runs/{run_id}/review/agreement", tag = "reviews",
    params(("run_id" = Uuid, Path), PositionQuery),
    responses((status = 200, body = AgreementDoc, description = "The agreement")))]
async fn agree(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(run_id): Path<TestRunId>,
    Query(query): Query<PositionQuery>,
) -> Result<Json<Agreement>, Problem> {
    authorize(&principal, Action::ReadRun)?;
    for projection in [reviews::NAME, execution_results::NAME] {
        wait(&state, projection, query.min_position).await?;
    }
    let (pool, tenant) = (state.store().pool(), principal.tenant);
    let review = reviews::by_run(pool, tenant, run_id).await?.ok_or(ReviewRejection::NotFound)?;
    let scorings = reviews::scorings(pool, tenant, run_id).await?;
    let recorded = reviews::recorded_verdicts(pool, tenant, run_id).await?;
    Ok(Json(Agreement { run_id, scores: agreement(&review.scores, &scorings, &recorded) }))
}

#[cfg(test)]
mod tests {
    use pcs_domain::ids::ExecutionId;
    use pcs_domain::review::Scores;
    use pcs_projections::reviews::PartRow;
    use uuid::Uuid;

    use super::*;

    fn part(number: u128, scores: Option<Scores>) -> PartRow {
        let reviewer = ActorId(Uuid::from_u128(number));
        PartRow { reviewer, scores, comment: "so it is".to_owned(), scored_at: None }
    }

    #[test]
    fn who_has_not_scored_sees_nobody_elses_scores() {
        let scored = || Some(Scores::new());
        let me = ActorId(Uuid::from_u128(1));
        let of = |reviewers| {
            let mut item = ItemRow { execution_id: ExecutionId(Uuid::nil()), reviewers };
            hide(&mut item, me);
            item.reviewers.iter().map(|part| (part.scores.is_some(), part.comment.clone())).collect::<Vec<_>>()
        };
        let (shown, hidden) = ((true, "so it is".to_owned()), (false, String::new()));
        assert_eq!(of(vec![part(2, scored())])[0], hidden);
        assert_eq!(of(vec![part(1, None), part(2, scored())])[1], hidden);
        assert_eq!(of(vec![part(1, scored()), part(2, scored())]), [shown.clone(), shown]);
    }
}
