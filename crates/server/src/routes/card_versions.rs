//! A card's prompts over time, and what differs between two of them.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, Principal, authorize};
use pcs_domain::ids::PromptCardId;
use pcs_projections::card_detail::{self, VersionRow};
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cards::ReadQuery;
use super::past::{self, Past};
use super::{card_answer, wait};
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{LIMIT_MAX, Path, Query, limit};
use crate::openapi::answers::{PageOf, VersionDoc};
use crate::problem::Problem;
use crate::state::AppState;

/// Longest search for the smallest difference; after it a larger one is good enough.
const DIFF_TIME_MAX: Duration = Duration::from_millis(500);
/// Equal lines around each change of the unified text.
const CONTEXT_LINES: usize = 3;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).routes(routes!(diff))
}

/// Which page of a card's list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<i64>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// Waits until the read model has this position.
    pub(crate) min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    pub(crate) as_of: Option<AsOf>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// The older version.
    from: u32,
    /// The newer version.
    to: u32,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// What differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Diff {
    from: u32,
    to: u32,
    /// As `diff -u` writes it.
    unified: String,
    /// All lines of both.
    lines: Vec<DiffLine>,
}

/// A line of either version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiffLine {
    tag: DiffTag,
    text: String,
}

/// Where a line is: in both, in the newer, or in the older version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DiffTag {
    Equal,
    Insert,
    Delete,
}

/// Lists a card's versions, the oldest first.
#[utoipa::path(get, path = "/cards/{card_id}/versions", tag = "versions",
    params(("card_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = PageOf<VersionDoc>, description = "A page of versions")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<PromptCardId>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, card_detail::NAME, query.min_position).await?;
    let (pool, cursor) = (state.store().pool(), query.cursor.as_deref());
    let page = match &past {
        Some(past) => pcs_projections::past::versions(past.moment, id, cursor, limit).await?,
        None => card_detail::versions(pool, principal.tenant, id, cursor, limit).await?,
    };
    if page.items.is_empty() {
        card_answer::must_exist(&state, principal.tenant, id, past::last_position(past.as_ref())).await?;
    }
    Ok(past::answer(past.as_ref(), page))
}

/// Reads one version.
#[utoipa::path(get, path = "/cards/{card_id}/versions/{version}", tag = "versions",
    params(("card_id" = Uuid, Path), ("version" = u32, Path), ReadQuery),
    responses((status = 200, body = VersionDoc, description = "The version")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path((id, version)): Path<(PromptCardId, u32)>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, card_detail::NAME, query.min_position).await?;
    let version = of_card(&state, (&principal, past.as_ref()), id, version).await?;
    Ok(past::answer(past.as_ref(), version))
}

/// Compares two versions, line by line.
#[utoipa::path(get, path = "/cards/{card_id}/diff", tag = "versions", params(("card_id" = Uuid, Path), DiffQuery),
    responses((status = 200, body = Diff, description = "What differs")))]
async fn diff(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<PromptCardId>,
    Query(query): Query<DiffQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, card_detail::NAME, query.min_position).await?;
    let old = of_card(&state, (&principal, past.as_ref()), id, query.from).await?;
    let new = of_card(&state, (&principal, past.as_ref()), id, query.to).await?;
    // Two prompts of 1 MiB can keep a core busy for as long as the limit above allows.
    let compared = tokio::task::spawn_blocking(move || compare(&old, &new)).await;
    let compared = compared.map_err(|error| Problem::internal(error.to_string()))?;
    Ok(past::answer(past.as_ref(), compared))
}

async fn of_card(
    state: &AppState,
    (principal, past): (&Principal, Option<&Past<'_>>),
    id: PromptCardId,
    version: u32,
) -> Result<VersionRow, Problem> {
    let row = match past {
        Some(past) => pcs_projections::past::version(past.moment, id, version).await?,
        None => card_detail::version(state.store().pool(), principal.tenant, id, version).await?,
    };
    match row {
        Some(row) => Ok(row),
        None => {
            card_answer::must_exist(state, principal.tenant, id, past::last_position(past)).await?;
            Err(Problem::not_found("version_not_found", format!("the card has no version {version}")))
        }
    }
}

fn compare(old: &VersionRow, new: &VersionRow) -> Diff {
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(&old.prompt, &new.prompt);
    let names = (format!("version {}", old.version), format!("version {}", new.version));
    let unified = diff.unified_diff().context_radius(CONTEXT_LINES).header(&names.0, &names.1).to_string();
    let line = |change: similar::Change<&str>| DiffLine {
        tag: match change.tag() {
            ChangeTag::Equal => DiffTag::Equal,
            ChangeTag::Insert => DiffTag::Insert,
            ChangeTag::Delete => DiffTag::Delete,
        },
        text: change.value().trim_end_matches(['\n', '\r']).to_owned(),
    };
    Diff { from: old.version, to: new.version, unified, lines: diff.iter_all_changes().map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::Timestamp;
    use pcs_domain::ids::ActorId;
    use uuid::Uuid;

    fn version(version: u32, prompt: &str) -> VersionRow {
        VersionRow {
            version,
            prompt: prompt.to_owned(),
            model: None,
            message: String::new(),
            author: ActorId(Uuid::nil()),
            created_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_changed_line_is_a_deletion_and_an_insertion() {
        let diff = compare(&version(1, "a\nb\n"), &version(2, "a\nc\n"));
        let lines: Vec<_> = diff.lines.iter().map(|line| (line.tag, line.text.as_str())).collect();
        assert_eq!(lines, [(DiffTag::Equal, "a"), (DiffTag::Delete, "b"), (DiffTag::Insert, "c")]);
        assert_eq!(diff.unified, "--- version 1\n+++ version 2\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
    }
}
