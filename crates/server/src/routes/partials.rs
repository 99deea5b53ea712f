//! Prompts that include prompts of other cards: found when a run is asked for, and pinned in its request.

use pcs_domain::ids::{ActorId, TenantId};
use pcs_domain::limits::PARTIALS_MAX;
use pcs_domain::prompt_card::{Card, PromptCard};
use pcs_domain::test_run::{Partial, RunTemplate};
use pcs_grading::template::{Partials, included};
use pcs_projections::card_list;

use crate::problem::Problem;
use crate::state::AppState;

/// The label that is meant where a name says none.
const LABEL_DEFAULT: &str = "production";
/// The label that every card has: its newest version.
const LATEST: &str = "latest";

/// What a run's prompts include: what its request pins, and the texts.
#[derive(Debug, Default)]
pub(crate) struct Included {
    pub(crate) pinned: Vec<Partial>,
    pub(crate) texts: Partials,
}

/// Finds what the prompts of a run include, and what that includes.
///
/// # Errors
/// Where there is no such card or label, or more is included than may be.
pub(crate) async fn find(
    state: &AppState,
    tenant: TenantId,
    template: &RunTemplate,
    card: &PromptCard,
    revision: i64,
) -> Result<Included, Problem> {
    // What is wrong with the request is said by its checks, which come afterwards.
    let Some(card) = card.card() else { return Ok(Included::default()) };
    let nobody = ActorId(uuid::Uuid::nil());
    let Ok(requested) = template.resolve(card, revision, nobody) else { return Ok(Included::default()) };
    let prompts = requested.versions.iter().filter_map(|version| card.prompts.get(version));
    of_prompts(state, tenant, prompts.map(String::as_str)).await
}

/// Finds what prompts include, and what that includes.
///
/// # Errors
/// As [`find`].
pub(crate) async fn of_prompts<'a>(
    state: &AppState,
    tenant: TenantId,
    prompts: impl IntoIterator<Item = &'a str>,
) -> Result<Included, Problem> {
    let mut found = Included::default();
    let mut waiting: Vec<String> = prompts.into_iter().flat_map(names).collect();
    while let Some(name) = waiting.pop() {
        if found.texts.contains_key(&name) {
            continue;
        }
        if found.pinned.len() == PARTIALS_MAX {
            let detail = format!("the prompts include more than {PARTIALS_MAX} others");
            return Err(Problem::unprocessable("too_many_items", detail));
        }
        let (partial, text) = one(state, tenant, &name).await?;
        waiting.extend(names(&text));
        found.pinned.push(partial);
        found.texts.insert(name, text);
    }
    found.pinned.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The names that a prompt includes; notation that is wrong is refused where the template is checked.
fn names(prompt: &str) -> Vec<String> {
    included(prompt).unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}

async fn one(state: &AppState, tenant: TenantId, name: &str) -> Result<(Partial, String), Problem> {
    let (title, label) = name.rsplit_once('@').unwrap_or((name, LABEL_DEFAULT));
    let refused = |why: String| {
        let message = format!("the prompt includes {name:?}: {why}");
        Problem::unprocessable("partial_not_found", &message).field("versions", &message)
    };
    let mut cards = card_list::by_title(state.store().pool(), tenant, title).await?;
    cards.retain(|card| !card.archived);
    let row = match cards.as_slice() {
        [row] => row,
        [] => return Err(refused(format!("no card in use has the title {title:?}"))),
        _ => return Err(refused(format!("several cards have the title {title:?}"))),
    };
    let loaded = state.store().load::<PromptCard>(tenant, row.id.0).await?;
    let version = loaded.state.card().and_then(|card| labelled(card, label));
    let version = version.ok_or_else(|| refused(format!("no version of {title:?} has the label {label:?}")))?;
    let text = loaded.state.card().and_then(|card| card.prompts.get(&version)).cloned().unwrap_or_default();
    let partial = Partial { name: name.to_owned(), card_id: row.id, card_revision: loaded.revision, version };
    Ok((partial, text))
}

fn labelled(card: &Card, label: &str) -> Option<u32> {
    if label == LATEST { Some(card.latest_version()) } else { card.labels.get(label).copied() }
}
