//! What commands on cards answer: the card from the command's own state, or the refusal.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pcs_domain::ids::{ActorId, PromptCardId, TenantId};
use pcs_domain::prompt_card::{PromptCard, PromptCardCommand, PromptCardEvent, PromptCardRejection};
use pcs_domain::{Category, DomainEvent, RejectionCode, Timestamp};
use pcs_projections::card_list::CardRow;
use pcs_store::{CommandContext, ExecuteError, Executed, Expected, Loaded, Recorded, execute};

use super::{is_of_another_kind, of_command};
use crate::problem::Problem;
use crate::state::AppState;

/// Executes a command on a card that is there.
pub(crate) async fn change(
    state: &AppState,
    context: &CommandContext,
    id: PromptCardId,
    expected: Expected,
    command: PromptCardCommand,
) -> Result<Executed<PromptCard>, Problem> {
    let executed = execute::<PromptCard>(state.store(), context, id.0, expected, command).await;
    executed.map_err(|error| match error {
        // What is not there has no revision to be stale.
        ExecuteError::Conflict { actual: 0, .. } => PromptCardRejection::NotFound.into(),
        ExecuteError::Store(error) if is_of_another_kind::<PromptCard>(&error) => PromptCardRejection::NotFound.into(),
        error => error.into(),
    })
}

/// A card as it is now, with what its data subjects' keys open.
pub(crate) async fn loaded(
    state: &AppState,
    tenant: TenantId,
    id: PromptCardId,
) -> Result<Loaded<PromptCard>, Problem> {
    let loaded = state.store().load::<PromptCard>(tenant, id.0).await;
    let mut loaded = loaded.map_err(|error| {
        let is_card = !is_of_another_kind::<PromptCard>(&error);
        if is_card { Problem::from(error) } else { PromptCardRejection::NotFound.into() }
    })?;
    state.store().reveal_state(tenant, &mut loaded.state).await?;
    Ok(loaded)
}

/// The card as a command left it.
pub(crate) async fn answer(
    state: &AppState,
    tenant: TenantId,
    id: PromptCardId,
    executed: Executed<PromptCard>,
) -> Result<Response, Problem> {
    let Executed { state: card, revision, position, duplicate } = executed;
    let past = provenance(state, tenant, id, revision).await?;
    let row = row(id, &card, revision, &past)?;
    Ok(of_command(Json(row).into_response(), revision, position.unwrap_or(past.position), duplicate))
}

/// What a card's state does not keep: by whom and when, from its first and its last event.
struct Provenance {
    created_by: ActorId,
    created_at: Timestamp,
    updated_at: Timestamp,
    position: i64,
}

async fn provenance(
    state: &AppState,
    tenant: TenantId,
    id: PromptCardId,
    revision: i64,
) -> Result<Provenance, Problem> {
    let last = event_at(state, tenant, id, revision).await?;
    let first = if revision == 1 { last.clone() } else { event_at(state, tenant, id, 1).await? };
    let DomainEvent::PromptCard(PromptCardEvent::Created(created)) = &first.event else {
        return Err(Problem::internal(format!("the stream of card {id} does not start with its creation")));
    };
    Ok(Provenance {
        created_by: created.created_by,
        created_at: first.recorded_at,
        updated_at: last.recorded_at,
        position: last.position,
    })
}

async fn event_at(state: &AppState, tenant: TenantId, id: PromptCardId, version: i64) -> Result<Recorded, Problem> {
    let mut events = state.store().read_stream(tenant, id.0, version - 1, 1).await?;
    events.pop().ok_or_else(|| Problem::internal(format!("card {id} has no event {version}")))
}

fn row(id: PromptCardId, state: &PromptCard, revision: i64, past: &Provenance) -> Result<CardRow, Problem> {
    let card = state.card().ok_or(PromptCardRejection::NotFound)?;
    let version = card.latest_version();
    Ok(CardRow {
        id,
        title: card.title.clone(),
        description: card.description.clone(),
        prompt: card.prompts.get(&version).cloned().unwrap_or_default(),
        category: card.category.clone(),
        tags: card.tags.clone(),
        metadata: card.metadata.clone(),
        created_by: past.created_by,
        created_at: past.created_at,
        updated_at: past.updated_at,
        version,
        is_public: card.is_public,
        archived: matches!(state, PromptCard::Archived(_)),
        labels: card.labels.clone(),
        protected_labels: card.protected_labels.clone(),
        case_count: i64::try_from(card.cases.len()).unwrap_or(i64::MAX),
        revision,
    })
}

/// Whether there is such a card at a position, by its own history: an empty list of a card is not the same as no card.
pub(crate) async fn must_exist(
    state: &AppState,
    tenant: TenantId,
    id: PromptCardId,
    position: i64,
) -> Result<(), Problem> {
    let first = state.store().read_stream(tenant, id.0, 0, 1).await?;
    match first.first() {
        Some(event) if event.category == Category::PromptCard && event.position <= position => Ok(()),
        _ => Err(PromptCardRejection::NotFound.into()),
    }
}

impl From<PromptCardRejection> for Problem {
    fn from(rejection: PromptCardRejection) -> Self {
        let refused = |status| Self::new(status, rejection.code(), rejection.to_string());
        match &rejection {
            PromptCardRejection::NotFound
            | PromptCardRejection::NoSuchLabel { .. }
            | PromptCardRejection::NoSuchCase { .. } => refused(StatusCode::NOT_FOUND),
            PromptCardRejection::LabelIsProtected { .. } | PromptCardRejection::HasProtectedLabel { .. } => {
                refused(StatusCode::FORBIDDEN)
            }
            PromptCardRejection::AlreadyExists
            | PromptCardRejection::IsArchived
            | PromptCardRejection::Shredded { .. }
            | PromptCardRejection::DuplicateCase { .. } => refused(StatusCode::CONFLICT),
            PromptCardRejection::Empty { field }
            | PromptCardRejection::TooLong { field, .. }
            | PromptCardRejection::TooMany { field, .. }
            | PromptCardRejection::OutOfRange { field, .. }
            | PromptCardRejection::NulCharacter { field } => {
                refused(StatusCode::UNPROCESSABLE_ENTITY).field(*field, rejection.to_string())
            }
            PromptCardRejection::InvalidLabel { .. } => {
                refused(StatusCode::UNPROCESSABLE_ENTITY).field("label", rejection.to_string())
            }
            PromptCardRejection::NoModel { .. } | PromptCardRejection::OtherModel { .. } => {
                refused(StatusCode::UNPROCESSABLE_ENTITY).field("models", rejection.to_string())
            }
            PromptCardRejection::NoSuchVersion { .. } => {
                refused(StatusCode::UNPROCESSABLE_ENTITY).field("version", rejection.to_string())
            }
        }
    }
}
