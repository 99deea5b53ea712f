//! `card_list.v1`: one row a card, as it is now, with full-text search.

mod queries;
mod registry;

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::execution::ExecutionEvent;
use pcs_domain::ids::{PromptCardId, TenantId};
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::{Category, DomainEvent};
use pcs_store::Recorded;
use serde::Serialize;
use sqlx::PgConnection;

pub use self::queries::{CardFilter, CardRow, by_id, by_title, page};
pub(crate) use self::queries::{by_id_in, rows_in};
pub use self::registry::{PromptFilter, PromptPage, PromptRow, prompts};
use crate::{BoxFuture, Projection, ProjectionError, storable};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "card_list.v1";

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct CardList;

type Cards = BTreeMap<(TenantId, PromptCardId), CardRow>;

impl Projection for CardList {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["card"]
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::PromptCard]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            let touched = touched(batch);
            if touched.is_empty() {
                return Ok(());
            }
            let mut cards = load(connection, &touched).await?;
            batch.iter().for_each(|recorded| fold(&mut cards, recorded));
            save(connection, &cards).await
        })
    }
}

fn touched(batch: &[Recorded]) -> BTreeSet<(TenantId, PromptCardId)> {
    batch.iter().filter_map(|recorded| card_event(recorded).map(|_| key(recorded))).collect()
}

fn key(recorded: &Recorded) -> (TenantId, PromptCardId) {
    (recorded.tenant, PromptCardId(recorded.stream_id))
}

/// The events that this projection uses: all of cards, none of runs and executions.
fn card_event(recorded: &Recorded) -> Option<&PromptCardEvent> {
    match &recorded.event {
        DomainEvent::PromptCard(event) => Some(event),
        DomainEvent::TestRun(TestRunEvent::Requested(_) | TestRunEvent::Cancelled(_) | TestRunEvent::Completed(_))
        | DomainEvent::Execution(
            ExecutionEvent::Finished(_)
            | ExecutionEvent::AttemptFailed(_)
            | ExecutionEvent::DeadLettered(_)
            | ExecutionEvent::Snoozed(_)
            | ExecutionEvent::Dismissed(_),
        )
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Job(_)
        | DomainEvent::Regrade(_)
        | DomainEvent::Review(_)
        | DomainEvent::Unread(_) => None,
    }
}

fn fold(cards: &mut Cards, recorded: &Recorded) {
    let Some(event) = card_event(recorded) else { return };
    if let PromptCardEvent::Created(e) = event {
        let id = PromptCardId(recorded.stream_id);
        cards.entry(key(recorded)).or_insert_with(|| CardRow {
            id,
            title: e.title.clone(),
            description: e.description.clone(),
            prompt: e.prompt.clone(),
            category: e.category.clone(),
            tags: e.tags.clone(),
            metadata: e.metadata.clone(),
            created_by: e.created_by,
            created_at: recorded.recorded_at,
            updated_at: recorded.recorded_at,
            version: 1,
            is_public: e.is_public,
            archived: false,
            labels: BTreeMap::new(),
            protected_labels: BTreeSet::new(),
            case_count: 0,
            revision: recorded.version,
        });
        return;
    }
    // As in the domain: what happens to no card changes nothing.
    if let Some(card) = cards.get_mut(&key(recorded)) {
        change(card, event);
        card.updated_at = recorded.recorded_at;
        card.revision = recorded.version;
    }
}

fn change(card: &mut CardRow, event: &PromptCardEvent) {
    match event {
        // A stream has one, its first, and `fold` has used it.
        PromptCardEvent::Created(_) => (),
        PromptCardEvent::Revised(e) => {
            card.version = e.version;
            card.prompt.clone_from(&e.prompt);
        }
        PromptCardEvent::Described(e) => {
            card.title.clone_from(&e.title);
            card.description.clone_from(&e.description);
            card.category.clone_from(&e.category);
            card.metadata.clone_from(&e.metadata);
        }
        PromptCardEvent::Tagged(e) => card.tags.clone_from(&e.tags),
        PromptCardEvent::Labelled(e) => {
            card.labels.insert(e.label.clone(), e.version);
        }
        PromptCardEvent::Unlabelled(e) => {
            card.labels.remove(&e.label);
        }
        PromptCardEvent::LabelProtected(e) => {
            card.protected_labels.insert(e.label.clone());
        }
        PromptCardEvent::LabelUnprotected(e) => {
            card.protected_labels.remove(&e.label);
        }
        // It is read from the card itself.
        PromptCardEvent::SchemaChanged(_) => (),
        PromptCardEvent::Published(_) => card.is_public = true,
        PromptCardEvent::Unpublished(_) => card.is_public = false,
        PromptCardEvent::Archived(_) => card.archived = true,
        PromptCardEvent::Restored(_) => card.archived = false,
        // The domain adds only cases that the card does not have, and removes only those that it has.
        PromptCardEvent::CasesAdded(e) => {
            card.case_count = card.case_count.saturating_add(storable::count(e.cases.len()));
        }
        // The case is counted already; the change is the card's newest all the same.
        PromptCardEvent::CaseChanged(_) => (),
        PromptCardEvent::CasesRemoved(e) => {
            card.case_count = card.case_count.saturating_sub(storable::count(e.case_ids.len()));
        }
    }
}

async fn load(
    connection: &mut PgConnection,
    touched: &BTreeSet<(TenantId, PromptCardId)>,
) -> Result<Cards, ProjectionError> {
    let (tenants, ids): (Vec<_>, Vec<_>) = touched.iter().map(|(tenant, id)| (tenant.0, id.0)).unzip();
    // Planned anew each time: a plan that was made while the table was empty would scan it for ever.
    let rows: Vec<queries::Stored> = sqlx::query_as(
        "select tenant_id, id, title, description, prompt, category, tags, metadata, created_by, created_at,
                updated_at, version, is_public, archived, labels, case_count, revision
         from card join unnest($1::int[], $2::uuid[]) as touched (tenant_id, id) using (tenant_id, id)",
    )
    .persistent(false)
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|stored| ((stored.tenant, stored.card.id), stored.card)).collect())
}

/// A card with its tenant, as the statement takes it: the fields have the columns' names.
#[derive(Serialize)]
struct Saved<'a> {
    tenant_id: TenantId,
    #[serde(flatten)]
    card: &'a CardRow,
}

async fn save(connection: &mut PgConnection, cards: &Cards) -> Result<(), ProjectionError> {
    let rows = cards.iter().map(|((tenant, _), card)| Saved { tenant_id: *tenant, card });
    for array in storable::json_arrays(rows)? {
        sqlx::query(include_str!("../../queries/card_save.sql")).bind(array).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pcs_domain::prompt_card::{CaseChanged, CasesAdded, CasesRemoved, Labelled, Revised, Unlabelled};

    use super::*;
    use crate::tests::{actor, case, created, recorded};

    fn fold_all(events: Vec<PromptCardEvent>) -> CardRow {
        let mut cards = Cards::new();
        for (index, event) in events.into_iter().enumerate() {
            fold(&mut cards, &recorded(7, i64::try_from(index).unwrap() + 1, DomainEvent::PromptCard(event)));
        }
        assert_eq!(cards.len(), 1);
        cards.pop_first().unwrap().1
    }

    #[test]
    fn a_card_is_what_its_history_made_it() {
        let card = fold_all(vec![
            created("title"),
            PromptCardEvent::Revised(Revised {
                version: 2,
                prompt: "two".to_owned(),
                model: None,
                message: String::new(),
                author: actor(),
            }),
            PromptCardEvent::Labelled(Labelled { label: "production".to_owned(), version: 2 }),
            PromptCardEvent::Labelled(Labelled { label: "old".to_owned(), version: 1 }),
            PromptCardEvent::Unlabelled(Unlabelled { label: "old".to_owned() }),
            PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case(1), case(2), case(3)] }),
            PromptCardEvent::CaseChanged(CaseChanged { case: case(2) }),
            PromptCardEvent::CasesRemoved(CasesRemoved { case_ids: vec![case(1).id] }),
        ]);
        assert_eq!((card.version, card.prompt.as_str(), card.case_count, card.revision), (2, "two", 2, 8));
        assert_eq!(card.labels, BTreeMap::from([("production".to_owned(), 2)]));
        assert!(card.updated_at > card.created_at);
    }

    #[test]
    fn what_happens_to_no_card_changes_nothing() {
        let mut cards = Cards::new();
        let event = DomainEvent::PromptCard(PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case(1)] }));
        fold(&mut cards, &recorded(7, 1, event));
        assert!(cards.is_empty());
    }

    #[test]
    fn equal_ids_of_two_tenants_are_two_cards() {
        let mut cards = Cards::new();
        for tenant in [1, 2] {
            let mut event = recorded(7, 1, DomainEvent::PromptCard(created("title")));
            event.tenant = TenantId(tenant);
            fold(&mut cards, &event);
        }
        assert_eq!(cards.len(), 2);
    }
}
