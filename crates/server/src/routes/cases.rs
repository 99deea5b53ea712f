//! Test cases of a card: added many at once, changed and removed one by one.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pcs_auth::{Action, authorize};
use pcs_domain::DomainEvent;
use pcs_domain::assertion::Assertion;
use pcs_domain::data_subject::Guarded;
use pcs_domain::ids::{CommandId, PromptCardId, TenantId, TestCaseId};
use pcs_domain::prompt_card::{CaseDraft, DraftSubject, OnDuplicate, PromptCardCommand, PromptCardEvent};
use pcs_projections::card_detail;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::card_versions::PageQuery;
use super::cards::act;
use super::subjects::subject_name;
use super::{card_answer, case_schema, of_command, past, wait};
use crate::edge::authenticate::Caller;
use crate::edge::command::{Command, CommandBody, Nothing};
use crate::edge::parameters::{LIMIT_MAX, Path, Query, limit};
use crate::openapi::AssertionDoc;
use crate::openapi::answers::{CardDoc, CaseDoc, PageOf};
use crate::problem::Problem;
use crate::state::AppState;

/// Largest import, in bytes; a larger file goes in several.
const IMPORT_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Events of a stream that are read at once.
const PAGE_LEN: i64 = 200;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(change, remove))
}

/// Cases to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    cases: Vec<NewCase>,
    /// What to do with a case whose input and expected output the card has, with other demands.
    #[serde(default)]
    #[schema(inline)]
    on_duplicate: Duplicates,
}

impl CommandBody for Import {
    const BYTES_MAX: usize = IMPORT_BODY_BYTES_MAX;
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Duplicates {
    /// Add nothing at all.
    #[default]
    Refuse,
    /// Give the case that is there the new name, assertions, threshold, tags and metadata.
    Change,
}

/// A new test case.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCase {
    /// How people call it; the card numbers it where it is absent.
    name: Option<String>,
    /// The values of the template's variables.
    input: Map<String, Value>,
    /// Whose data it is made of, such as the number of a customer: what is theirs is sealed, and can be shredded.
    subject: Option<String>,
    /// The right answer, where there is one.
    expected_output: Option<String>,
    /// What is demanded of the output.
    #[serde(default)]
    #[schema(value_type = Vec<AssertionDoc>, required = false)]
    assertions: Vec<Assertion>,
    /// The score from which it passes; without it every assertion has to hold.
    threshold: Option<f64>,
    /// What people choose it by, such as a split.
    #[serde(default)]
    tags: Vec<String>,
    /// The team's own fields; they reach neither the model nor the grading.
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    added: usize,
    changed: usize,
    unchanged: usize,
    /// The cases in the order of the request.
    #[schema(value_type = Vec<Uuid>)]
    case_ids: Vec<TestCaseId>,
    /// How many cases the card has now.
    case_count: usize,
    revision: i64,
}

/// What changes; an absent field stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseChange {
    name: Option<String>,
    #[schema(value_type = Option<Vec<AssertionDoc>>)]
    assertions: Option<Vec<Assertion>>,
    /// null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>)]
    threshold: Option<Option<f64>>,
    /// All of its tags.
    tags: Option<Vec<String>>,
    /// All of the team's own fields.
    metadata: Option<Map<String, Value>>,
}

impl CommandBody for CaseChange {}

/// Tells a null from an absent field.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Lists a card's cases in the order they were added.
#[utoipa::path(get, path = "/cards/{card_id}/cases", tag = "cases", params(("card_id" = Uuid, Path), PageQuery),
    responses((status = 200, body = PageOf<CaseDoc>, description = "A page of cases")))]
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
    let mut page = match &past {
        Some(past) => pcs_projections::past::cases(past.moment, id, cursor, limit).await?,
        None => card_detail::cases(pool, principal.tenant, id, cursor, limit).await?,
    };
    let sealed = page.items.iter_mut().map(|case| case as &mut dyn Guarded);
    state.store().reveal(principal.tenant, sealed).await?;
    if page.items.is_empty() {
        card_answer::must_exist(&state, principal.tenant, id, past::last_position(past.as_ref())).await?;
    }
    Ok(past::answer(past.as_ref(), page))
}

/// Adds cases: all of them or none. Those that the card has, unchanged, are left alone.
#[utoipa::path(post, path = "/cards/{card_id}/cases", tag = "cases", request_body = Import,
    params(("card_id" = Uuid, Path)), responses((status = 200, body = Imported, description = "What was done")))]
async fn add(
    State(state): State<AppState>,
    Path(id): Path<PromptCardId>,
    command: Command<Import>,
) -> Result<Response, Problem> {
    authorize(&command.principal, Action::WriteCard)?;
    let (expected, context, tenant) = (command.expected(), command.context, command.principal.tenant);
    let on_duplicate = match command.body.on_duplicate {
        Duplicates::Refuse => OnDuplicate::Refuse,
        Duplicates::Change => OnDuplicate::Change,
    };
    let cases = drafts(&state, tenant, id, command.body.cases).await?;
    let card = card_answer::loaded(&state, tenant, id).await?;
    if let Some(card) = card.state.card() {
        case_schema::check_drafts(card, &cases)?;
    }
    let case_ids: Vec<TestCaseId> = cases.iter().map(|case| case.id(id)).collect();
    let add = PromptCardCommand::AddCases { card: id, cases, on_duplicate };
    let executed = card_answer::change(&state, &context, id, expected, add).await?;
    let (revision, duplicate) = (executed.revision, executed.duplicate);
    let case_count = executed.state.card().map_or(0, |card| card.cases.len());
    let done = done(&state, tenant, id, revision, executed.position.map(|_| context.command_id)).await?;
    let unchanged = case_ids.len().saturating_sub(done.added + done.changed);
    let imported = Imported { added: done.added, changed: done.changed, unchanged, case_ids, case_count, revision };
    Ok(of_command(Json(imported).into_response(), revision, executed.position.unwrap_or(done.position), duplicate))
}

/// Changes a case's name, assertions, threshold, tags or metadata; its input and expected output are its identity.
#[utoipa::path(patch, path = "/cards/{card_id}/cases/{case_id}", tag = "cases", request_body = CaseChange,
    params(("card_id" = Uuid, Path), ("case_id" = Uuid, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn change(
    State(state): State<AppState>,
    Path((id, case_id)): Path<(PromptCardId, TestCaseId)>,
    mut command: Command<CaseChange>,
) -> Result<Response, Problem> {
    let CaseChange { name, assertions, threshold, tags, metadata } = &mut command.body;
    let (name, assertions, threshold) = (name.take(), assertions.take(), threshold.take());
    let (tags, metadata) = (tags.take(), metadata.take());
    let change = PromptCardCommand::ChangeCase { case_id, name, assertions, threshold, tags, metadata };
    act(&state, id, &command, Action::WriteCard, change).await
}

/// Removes a case; its past results stay.
#[utoipa::path(delete, path = "/cards/{card_id}/cases/{case_id}", tag = "cases",
    params(("card_id" = Uuid, Path), ("case_id" = Uuid, Path)),
    responses((status = 200, body = CardDoc, description = "The card")))]
async fn remove(
    State(state): State<AppState>,
    Path((id, case_id)): Path<(PromptCardId, TestCaseId)>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let remove = PromptCardCommand::RemoveCases { case_ids: vec![case_id] };
    act(&state, id, &command, Action::WriteCard, remove).await
}

/// The drafts of new cases; the data subjects among them get a key where they have none.
async fn drafts(
    state: &AppState,
    tenant: TenantId,
    card: PromptCardId,
    cases: Vec<NewCase>,
) -> Result<Vec<CaseDraft>, Problem> {
    let mut subjects = Vec::with_capacity(cases.len());
    for (nth, case) in cases.iter().enumerate() {
        subjects.push(
            case.subject.as_deref().map(|name| subject_name(&format!("cases[{nth}].subject"), name)).transpose()?,
        );
    }
    let names = subjects.iter().flatten().cloned().collect();
    let known = state.store().know_subjects(tenant, &names).await?;
    let drafts = cases.into_iter().zip(subjects).map(|(case, subject)| {
        let content = TestCaseId::content(&case.input, case.expected_output.as_deref());
        let subject = subject.and_then(|name| known.get(&name)).map(|subject| subject.of_case(card, &content));
        case.into_draft(subject)
    });
    Ok(drafts.collect())
}

impl NewCase {
    fn into_draft(self, subject: Option<DraftSubject>) -> CaseDraft {
        CaseDraft {
            metadata: self.metadata,
            tags: self.tags,
            subject,
            name: self.name.unwrap_or_default(),
            input: self.input,
            expected_output: self.expected_output,
            assertions: self.assertions,
            threshold: self.threshold,
        }
    }
}

/// What a command's events say that it did.
#[derive(Debug, Default)]
struct Done {
    added: usize,
    changed: usize,
    position: i64,
}

/// Counts from the events that the command wrote, so that a replay answers as the first time did. Without a command,
/// only finds the position that the card is at.
async fn done(
    state: &AppState,
    tenant: TenantId,
    id: PromptCardId,
    revision: i64,
    command_id: Option<CommandId>,
) -> Result<Done, Problem> {
    let mut done = Done::default();
    let mut end = revision;
    let page_len = if command_id.is_some() { PAGE_LEN } else { 1 };
    // The command's events are the last ones up to the revision: read backwards until another command's appears.
    while end > 0 {
        let start = (end - page_len).max(0);
        let page = state.store().read_stream(tenant, id.0, start, end - start).await?;
        done.position = done.position.max(page.last().map_or(0, |event| event.position));
        let others = page.iter().filter(|event| Some(event.command_id) != command_id).count();
        for recorded in page.iter().filter(|event| Some(event.command_id) == command_id) {
            match &recorded.event {
                DomainEvent::PromptCard(PromptCardEvent::CasesAdded(e)) => done.added += e.cases.len(),
                DomainEvent::PromptCard(PromptCardEvent::CaseChanged(_)) => done.changed += 1,
                _ => (),
            }
        }
        if others > 0 {
            break;
        }
        end = start;
    }
    Ok(done)
}
