//! A prompt by its card's title and a label: what an application asks for each time before it asks a model.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::Timestamp;
use pcs_domain::ids::{PromptCardId, TenantId};
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::LATEST;
use pcs_projections::card_detail::VersionRow;
use pcs_projections::card_list::{self, CardRow};
use pcs_projections::{card_detail, past as of_past};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::past::{self, Past};
use super::wait;
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::answers::PromptDoc;
use crate::problem::Problem;
use crate::state::AppState;

/// The label that is meant where none is said.
const LABEL_DEFAULT: &str = "production";
/// How long a client may go on with what it has: labels move. Afterwards it asks with the ETag.
const FRESH: HeaderValue = HeaderValue::from_static("private, max-age=60");

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PromptQuery {
    /// The version that has this label, or the newest for `latest`; `production` where neither it nor a version is asked for.
    label: Option<String>,
    /// This version.
    version: Option<u32>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339). The title is the one of now.
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// A version of a prompt, as applications get it.
#[derive(Debug, Serialize)]
pub(crate) struct Prompt {
    pub(crate) name: String,
    pub(crate) card_id: PromptCardId,
    pub(crate) version: u32,
    pub(crate) prompt: String,
    /// The model that it is written for, with its parameters.
    pub(crate) model: Option<ModelSpec>,
    /// The labels of this version.
    pub(crate) labels: Vec<String>,
    pub(crate) message: String,
    pub(crate) created_at: Timestamp,
}

/// Which version of a prompt somebody wants.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Version(u32),
    Labelled(String),
}

impl Wanted {
    /// What a query says: a version, a label, or neither for [`LABEL_DEFAULT`].
    pub(super) fn of(version: Option<u32>, label: Option<String>) -> Result<Self, Problem> {
        match (version, label) {
            (Some(_), Some(_)) => Err(Problem::invalid_query("label", "can't be asked for together with version")),
            (Some(version), None) => Ok(Self::Version(version)),
            (None, label) => Ok(Self::Labelled(label.unwrap_or_else(|| LABEL_DEFAULT.to_owned()))),
        }
    }

    fn version_of(self, card: &CardRow) -> Result<u32, Problem> {
        match self {
            Self::Version(version) => Ok(version),
            Self::Labelled(label) if label == LATEST => Ok(card.version),
            Self::Labelled(label) => card.labels.get(&label).copied().ok_or_else(|| {
                let detail = format!("no version of {:?} has the label {label:?}", card.title);
                Problem::not_found("label_not_found", detail)
            }),
        }
    }
}

/// A version of a prompt, and its card.
pub(super) struct Found {
    pub(super) card: CardRow,
    pub(super) version: VersionRow,
}

impl Found {
    /// The labels that the card's owners gave to this version, sorted.
    pub(super) fn labels(&self) -> impl Iterator<Item = &String> {
        self.card.labels.iter().filter(|(_, of)| **of == self.version.version).map(|(label, _)| label)
    }
}

/// The wanted version of the prompt with this name.
pub(super) async fn find(
    state: &AppState,
    tenant: TenantId,
    name: &str,
    wanted: Wanted,
    past: Option<&Past<'_>>,
) -> Result<Found, Problem> {
    let card = card(state, tenant, name, past).await?;
    let version = wanted.version_of(&card)?;
    let row = match past {
        Some(past) => of_past::version(past.moment, card.id, version).await?,
        None => card_detail::version(state.store().pool(), tenant, card.id, version).await?,
    };
    let none = || Problem::not_found("version_not_found", format!("{name:?} has no version {version}"));
    Ok(Found { version: row.ok_or_else(none)?, card })
}

/// Reads the version of a prompt that has a label, by the exact title of its card.
#[utoipa::path(get, path = "/prompts/{name}", tag = "versions", params(("name" = String, Path), PromptQuery),
    responses((status = 200, body = PromptDoc, description = "The prompt"),
              (status = 304, description = "The client has it, by its `If-None-Match`")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(name): Path<String>,
    Query(query): Query<PromptQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let wanted = Wanted::of(query.version, query.label)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    for projection in [card_list::NAME, card_detail::NAME] {
        wait(&state, projection, query.min_position).await?;
    }
    let found = find(&state, principal.tenant, &name, wanted, past.as_ref()).await?;
    let labels = found.labels().cloned().collect();
    let Found { card, version } = found;
    let prompt = Prompt {
        name: card.title,
        card_id: card.id,
        version: version.version,
        prompt: version.prompt,
        model: version.model,
        labels,
        message: version.message,
        created_at: version.created_at,
    };
    Ok(cached(past::answer(past.as_ref(), &prompt), &prompt, &headers))
}

/// The one card in use that has this title; of the past, as it was.
async fn card(state: &AppState, tenant: TenantId, name: &str, past: Option<&Past<'_>>) -> Result<CardRow, Problem> {
    let mut cards = card_list::by_title(state.store().pool(), tenant, name).await?;
    cards.retain(|card| !card.archived);
    let none = || Problem::not_found("prompt_not_found", format!("no card in use has the title {name:?}"));
    let card = cards.pop().ok_or_else(none)?;
    if !cards.is_empty() {
        let detail = format!("several cards have the title {name:?}; read one by its id");
        return Err(Problem::new(StatusCode::CONFLICT, "prompt_ambiguous", detail));
    }
    match past {
        Some(past) => of_past::card(past.moment, card.id).await?.ok_or_else(none),
        None => Ok(card),
    }
}

/// The answer with what caches need; without its body where the client has it.
fn cached(mut response: Response, prompt: &Prompt, asked: &HeaderMap) -> Response {
    let content = serde_json::to_vec(prompt).unwrap_or_default();
    let etag = format!("\"{}\"", Uuid::new_v5(&Uuid::NAMESPACE_OID, &content).simple());
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
    });
    if is_known {
        let headers = std::mem::take(response.headers_mut());
        response = StatusCode::NOT_MODIFIED.into_response();
        // A moment of the past stays said.
        response.headers_mut().extend(headers.into_iter().filter(|(name, _)| {
            name.as_ref().is_some_and(|name| name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH)
        }));
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, FRESH);
    response
}
