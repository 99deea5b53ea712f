//! Cards: made, found, changed, published and put away.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::PromptCardId;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{Create, PromptCard, PromptCardCommand, PromptCardRejection, Revise};
use pcs_projections::card_list::{self, CardFilter};
use pcs_store::execute_new;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::cases::given;
use super::labels::may_move_protected;
use super::run_request::check_models;
use super::{at, card_answer, past, wait, with_revision};
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::{LIMIT_MAX, Path, Query, limit};
use crate::edge::precondition;
use crate::openapi::ModelSpecDoc;
use crate::openapi::answers::{CardDoc, PageOf};
use crate::problem::Problem;
use crate::state::AppState;

/// Largest body with a prompt: one of 1 MiB, with its quotes and line breaks escaped.
const PROMPT_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, revise))
        .routes(routes!(archive))
        .routes(routes!(restore))
        .routes(routes!(publish))
        .routes(routes!(unpublish))
}

/// A new card.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCard {
    /// 1 to 255 characters.
    title: String,
    /// The template of version 1.
    prompt: String,
    /// The model that it is written for: runs that name none take it.
    #[schema(value_type = Option<ModelSpecDoc>)]
    model: Option<ModelSpec>,
    #[serde(default)]
    description: String,
    /// At most 100 characters.
    #[serde(default)]
    category: String,
    #[serde(default)]
    tags: Vec<String>,
    /// The team's own fields.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// Whether everybody may see it.
    #[serde(default)]
    is_public: bool,
}

impl CommandBody for NewCard {
    const BYTES_MAX: usize = PROMPT_BODY_BYTES_MAX;
}

/// What changes; an absent field stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CardChange {
    title: Option<String>,
    description: Option<String>,
    /// A new template: becomes a new version where it differs from the newest.
    prompt: Option<String>,
    /// Another model that the prompt is written for: becomes a new version too. null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ModelSpecDoc>)]
    model: Option<Option<ModelSpec>>,
    category: Option<String>,
    /// All tags that the card shall have.
    tags: Option<Vec<String>>,
    metadata: Option<Map<String, Value>>,
    /// Why the prompt changed.
    #[serde(default)]
    message: String,
}

impl CommandBody for CardChange {
    const BYTES_MAX: usize = PROMPT_BODY_BYTES_MAX;
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    #[serde(default)]
    pub(crate) reason: String,
}

impl CommandBody for Reason {
    const OPTIONAL: bool = true;
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CardQuery {
    /// Words in title, description or prompt.
    q: Option<String>,
    /// Exactly this title.
    title: Option<String>,
    /// Exactly this category.
    category: Option<String>,
    /// Has this tag.
    tag: Option<String>,
    #[param(inline)]
    visibility: Option<Visibility>,
    /// Whether it is out of use; both where it is absent.
    archived: Option<bool>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
}

/// Who may see a card.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Visibility {
    Public,
    Private,
}

/// How fresh a read must be.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// Waits until the read model has this position.
    pub(crate) min_position: Option<i64>,
    /// Answers as it was: when the newest event had this position, or at this time (RFC 3339).
    #[param(value_type = Option<String>)]
    pub(crate) as_of: Option<AsOf>,
}

/// Makes a card.
#[utoipa::path(post, path = "/cards", tag = "cards", request_body = NewCard,
    responses((status = 201, body = CardDoc, description = "The card")))]
async fn create(State(state): State<AppState>, command: Command<NewCard>) -> Result<Response, Problem> {
    let Command { body, principal, context, .. } = command;
    authorize(&principal, Action::WriteCard)?;
    check_models("model", body.model.as_slice())?;
    // From the command, so that a retry finds the card of the first time.
    let id = PromptCardId(Uuid::new_v5(&context.command_id.0, b"prompt_card"));
    let create = PromptCardCommand::Create(Create {
        title: body.title,
        description: body.description,
        prompt: body.prompt,
        model: body.model,
        category: body.category,
        tags: body.tags,
        metadata: body.metadata,
        is_public: body.is_public,
        created_by: principal.account_id,
    });
    let executed = execute_new::<PromptCard>(state.store(), &context, id.0, create).await?;
    let mut response = card_answer::answer(&state, principal.tenant, id, executed).await?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(at(response, &format!("cards/{id}")))
}

/// Finds cards, the newest first.
#[utoipa::path(get, path = "/cards", tag = "cards", params(CardQuery),
    responses((status = 200, body = PageOf<CardDoc>, description = "A page of cards")))]
async fn list(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Query(query): Query<CardQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let limit = limit(query.limit, LIMIT_MAX)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, card_list::NAME, past::least_position(past.as_ref(), query.min_position)).await?;
    let filter = CardFilter {
        text: query.q,
        title: query.title,
        category: query.category,
        tag: query.tag,
        is_public: query.visibility.map(|visibility| visibility == Visibility::Public),
        archived: query.archived,
    };
    let cursor = query.cursor.as_deref();
    let page = match &past {
        Some(past) => pcs_projections::past::cards(past.moment, &filter, cursor, limit).await?,
        None => card_list::page(state.store().pool(), principal.tenant, &filter, cursor, limit).await?,
    };
    Ok(past::answer(past.as_ref(), page))
}

/// Reads a card.
#[utoipa::path(get, path = "/cards/{card_id}", tag = "cards", params(("card_id" = Uuid, Path), ReadQuery),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn read(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<PromptCardId>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadCard)?;
    let past = past::past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait(&state, card_list::NAME, query.min_position).await?;
    let card = match &past {
        Some(past) => pcs_projections::past::card(past.moment, id).await?,
        None => card_list::by_id(state.store().pool(), principal.tenant, id).await?,
    };
    let card = card.ok_or(PromptCardRejection::NotFound)?;
    let revision = card.revision;
    Ok(with_revision(past::answer(past.as_ref(), card), revision))
}

/// Changes a card: all of the change or nothing.
#[utoipa::path(patch, path = "/cards/{card_id}", tag = "cards", request_body = CardChange,
    params(("card_id" = Uuid, Path), ("If-Match" = String, Header, description = "The ETag of the revision that was seen")),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn revise(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    command: Command<CardChange>,
) -> Result<Response, Problem> {
    let Command { body, principal, context, if_match } = command;
    authorize(&principal, Action::WriteCard)?;
    let expected = precondition::required(if_match)?;
    check_models("model", body.model.iter().flatten().cloned().collect::<Vec<_>>().as_slice())?;
    let revise = PromptCardCommand::Revise(Revise {
        prompt: body.prompt,
        model: body.model,
        title: body.title,
        description: body.description,
        category: body.category,
        metadata: body.metadata,
        tags: body.tags,
        message: body.message,
        author: principal.account_id,
        may_move_protected: may_move_protected(&principal),
    });
    let executed = card_answer::change(&state, &context, id, expected, revise).await?;
    card_answer::answer(&state, principal.tenant, id, executed).await
}

/// Puts a card out of use.
#[utoipa::path(post, path = "/cards/{card_id}/archive", tag = "cards", request_body = Option<Reason>,
    params(("card_id" = Uuid, Path)), responses((status = 200, body = CardDoc, description = "The card")))]
async fn archive(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    mut command: Command<Reason>,
) -> Result<Response, Problem> {
    let reason = std::mem::take(&mut command.body.reason);
    let archive = PromptCardCommand::Archive { reason, may_move_protected: may_move_protected(&command.principal) };
    act(&state, id, &command, Action::ArchiveCard, archive).await
}

/// Puts a card to use again.
#[utoipa::path(post, path = "/cards/{card_id}/restore", tag = "cards", params(("card_id" = Uuid, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn restore(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::ArchiveCard, PromptCardCommand::Restore).await
}

/// Shows a card to everybody.
#[utoipa::path(post, path = "/cards/{card_id}/publish", tag = "cards", params(("card_id" = Uuid, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn publish(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::PublishCard, PromptCardCommand::Publish).await
}

/// Shows a card to the team only.
#[utoipa::path(post, path = "/cards/{card_id}/unpublish", tag = "cards", params(("card_id" = Uuid, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn unpublish(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    act(&state, id, &command, Action::PublishCard, PromptCardCommand::Unpublish).await
}

/// Authorises, executes and answers with the card: all that most commands on one do.
pub(super) async fn act<T>(
    state: &AppState,
    id: PromptCardId,
    command: &Command<T>,
    action: Action,
    what: PromptCardCommand,
) -> Result<Response, Problem> {
    authorize(&command.principal, action)?;
    let executed = card_answer::change(state, &command.context, id, command.expected(), what).await?;
    card_answer::answer(state, command.principal.tenant, id, executed).await
}
