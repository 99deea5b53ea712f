//! `card_detail.v1`: every version of each card, and its test cases in the order they were added.

mod queries;

use std::collections::BTreeMap;

use pcs_domain::assertion::Assertion;
use pcs_domain::data_subject::Subject;
use pcs_domain::execution::ExecutionEvent;
use pcs_domain::ids::{ActorId, PromptCardId, TenantId, TestCaseId};
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{PromptCardEvent, TestCase};
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::{Category, DomainEvent, EventType, Timestamp};
use pcs_store::Recorded;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;

pub use self::queries::{CaseRow, VersionRow, cases, version, versions};
pub(crate) use self::queries::{cases_in, version_in, versions_in};
use crate::{BoxFuture, Projection, ProjectionError, storable};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "card_detail.v1";

/// Room for the cases of one event in the order of a card's cases; the domain allows 50,000 cases of a card.
const CASES_PER_EVENT_MAX: i64 = 100_000;

/// Events of cards that say nothing about versions and cases.
const IGNORED: [EventType; 8] = [
    EventType { name: "prompt_card.described", version: 1 },
    EventType { name: "prompt_card.tagged", version: 1 },
    EventType { name: "prompt_card.labelled", version: 1 },
    EventType { name: "prompt_card.unlabelled", version: 1 },
    EventType { name: "prompt_card.published", version: 1 },
    EventType { name: "prompt_card.unpublished", version: 1 },
    EventType { name: "prompt_card.archived", version: 1 },
    EventType { name: "prompt_card.restored", version: 1 },
];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct CardDetail;

impl Projection for CardDetail {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["card_version", "test_case"]
    }

    fn ignored(&self) -> &'static [EventType] {
        &IGNORED
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
            let mut changes = Changes::default();
            batch.iter().for_each(|recorded| changes.fold(recorded));
            changes.save(connection).await
        })
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct SavedVersion<'a> {
    tenant_id: TenantId,
    card_id: PromptCardId,
    version: u32,
    prompt: &'a str,
    model: Option<&'a ModelSpec>,
    message: &'a str,
    author: ActorId,
    created_at: Timestamp,
}

#[derive(Debug, PartialEq, Serialize)]
struct SavedCase<'a> {
    tenant_id: TenantId,
    card_id: PromptCardId,
    case_id: TestCaseId,
    /// Whether the page adds the case; a case that is only changed keeps its place and its time.
    #[serde(skip)]
    added: bool,
    ordinal: i64,
    name: &'a str,
    input: &'a Map<String, Value>,
    expected_output: Option<&'a str>,
    assertions: &'a [Assertion],
    threshold: Option<f64>,
    tags: &'a [String],
    metadata: &'a Map<String, Value>,
    /// Whose data it is; then the fields that are theirs are sealed in here.
    subject: Option<&'a Subject>,
    created_at: Timestamp,
    removed: bool,
}

type CaseKey = (TenantId, PromptCardId, TestCaseId);

/// What a page changes: nothing has to be loaded, for every event says all that is new.
#[derive(Debug, Default)]
struct Changes<'a> {
    versions: Vec<SavedVersion<'a>>,
    cases: BTreeMap<CaseKey, SavedCase<'a>>,
    /// Cases that are removed and that the page says nothing else about.
    removed: Vec<CaseKey>,
}

impl<'a> Changes<'a> {
    fn fold(&mut self, recorded: &'a Recorded) {
        match &recorded.event {
            DomainEvent::PromptCard(event) => self.fold_card(recorded, event),
            DomainEvent::TestRun(
                TestRunEvent::Requested(_) | TestRunEvent::Cancelled(_) | TestRunEvent::Completed(_),
            )
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
            | DomainEvent::Unread(_) => (),
        }
    }

    fn fold_card(&mut self, recorded: &'a Recorded, event: &'a PromptCardEvent) {
        match event {
            PromptCardEvent::Created(e) => {
                self.add_version(recorded, 1, (&e.prompt, e.model.as_ref()), "", e.created_by);
            }
            PromptCardEvent::Revised(e) => {
                self.add_version(recorded, e.version, (&e.prompt, e.model.as_ref()), &e.message, e.author);
            }
            PromptCardEvent::CasesAdded(e) => {
                for (index, case) in e.cases.iter().enumerate() {
                    self.put_case(recorded, index, case, true);
                }
            }
            PromptCardEvent::CaseChanged(e) => self.put_case(recorded, 0, &e.case, false),
            PromptCardEvent::CasesRemoved(e) => e.case_ids.iter().for_each(|id| self.remove_case(recorded, *id)),
            // These say nothing about versions and cases.
            PromptCardEvent::Described(_)
            | PromptCardEvent::Tagged(_)
            | PromptCardEvent::Labelled(_)
            | PromptCardEvent::Unlabelled(_)
            | PromptCardEvent::LabelProtected(_)
            | PromptCardEvent::LabelUnprotected(_)
            | PromptCardEvent::SchemaChanged(_)
            | PromptCardEvent::Published(_)
            | PromptCardEvent::Unpublished(_)
            | PromptCardEvent::Archived(_)
            | PromptCardEvent::Restored(_) => (),
        }
    }

    fn add_version(
        &mut self,
        recorded: &Recorded,
        version: u32,
        (prompt, model): (&'a str, Option<&'a ModelSpec>),
        message: &'a str,
        author: ActorId,
    ) {
        self.versions.push(SavedVersion {
            tenant_id: recorded.tenant,
            card_id: PromptCardId(recorded.stream_id),
            version,
            prompt,
            model,
            message,
            author,
            created_at: recorded.recorded_at,
        });
    }

    fn put_case(&mut self, recorded: &Recorded, index: usize, case: &'a TestCase, added: bool) {
        let key = (recorded.tenant, PromptCardId(recorded.stream_id), case.id);
        let place = recorded.version.saturating_mul(CASES_PER_EVENT_MAX);
        let mut saved = SavedCase {
            tenant_id: key.0,
            card_id: key.1,
            case_id: case.id,
            added,
            ordinal: place.saturating_add(storable::count(index)),
            name: &case.name,
            input: &case.input,
            expected_output: case.expected_output.as_deref(),
            assertions: &case.assertions,
            threshold: case.threshold,
            tags: &case.tags,
            metadata: &case.metadata,
            subject: case.subject.as_ref(),
            created_at: recorded.recorded_at,
            removed: false,
        };
        if let Some(there) = self.cases.get(&key).filter(|_| !added) {
            saved.added = there.added;
            saved.ordinal = there.ordinal;
            saved.created_at = there.created_at;
        }
        self.cases.insert(key, saved);
    }

    fn remove_case(&mut self, recorded: &Recorded, id: TestCaseId) {
        let key = (recorded.tenant, PromptCardId(recorded.stream_id), id);
        match self.cases.get_mut(&key) {
            Some(case) => case.removed = true,
            None => self.removed.push(key),
        }
    }

    async fn save(self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        for array in storable::json_arrays(&self.versions)? {
            sqlx::query(
                "insert into card_version (tenant_id, card_id, version, prompt, model, message, author, created_at)
                 select tenant_id, card_id, version, prompt, nullif(model, 'null'), message, author, created_at
                 from jsonb_to_recordset($1::jsonb) as r (tenant_id int, card_id uuid, version bigint, prompt text, model jsonb,
                                                          message text, author uuid, created_at timestamptz)
                 on conflict (tenant_id, card_id, version) do nothing",
            )
            .bind(array)
            .execute(&mut *connection)
            .await?;
        }
        if !self.removed.is_empty() {
            self.save_removed(connection).await?;
        }
        // After the removals: a case may be removed and then added again within one page.
        let (added, changed): (Vec<_>, Vec<_>) = self.cases.values().partition(|case| case.added);
        for array in storable::json_arrays(added)? {
            sqlx::query(include_str!("../../queries/case_save.sql")).bind(array).execute(&mut *connection).await?;
        }
        for array in storable::json_arrays(changed)? {
            let change = sqlx::query(include_str!("../../queries/case_change.sql")).persistent(false);
            change.bind(array).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn save_removed(&self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        let tenants: Vec<i32> = self.removed.iter().map(|key| key.0.0).collect();
        let cards: Vec<_> = self.removed.iter().map(|key| key.1.0).collect();
        let cases: Vec<_> = self.removed.iter().map(|key| key.2.0).collect();
        sqlx::query(
            "update test_case c set removed = true
             from unnest($1::int[], $2::uuid[], $3::uuid[]) as gone (tenant_id, card_id, case_id)
             where c.tenant_id = gone.tenant_id and c.card_id = gone.card_id and c.case_id = gone.case_id",
        )
        .persistent(false)
        .bind(tenants)
        .bind(cards)
        .bind(cases)
        .execute(connection)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pcs_domain::prompt_card::{CaseChanged, CasesAdded, CasesRemoved};

    use super::*;
    use crate::tests::{case, created, recorded};

    fn history(events: Vec<PromptCardEvent>) -> Vec<Recorded> {
        (1..).zip(events).map(|(version, event)| recorded(7, version, DomainEvent::PromptCard(event))).collect()
    }

    fn changes(history: &[Recorded]) -> Changes<'_> {
        let mut changes = Changes::default();
        history.iter().for_each(|recorded| changes.fold(recorded));
        changes
    }

    #[test]
    fn a_changed_case_keeps_its_place_and_its_time() {
        let mut changed = case(1);
        changed.name = "renamed".to_owned();
        let history = history(vec![
            created("title"),
            PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case(0), case(1)] }),
            PromptCardEvent::CaseChanged(CaseChanged { case: changed }),
        ]);
        let changes = changes(&history);
        let saved = changes.cases.values().find(|saved| saved.case_id == case(1).id).unwrap();
        assert_eq!((saved.name, saved.ordinal, saved.added), ("renamed", 200_001, true));
        assert_eq!(saved.created_at, history[1].recorded_at);
        assert_eq!((changes.versions.len(), changes.versions[0].version), (1, 1));
    }

    #[test]
    fn a_case_that_is_removed_and_added_again_is_there_at_its_new_place() {
        let added = || PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case(1)] });
        let removed = PromptCardEvent::CasesRemoved(CasesRemoved { case_ids: vec![case(1).id, case(9).id] });
        let history = history(vec![added(), removed, added()]);
        let (two, all) = (changes(&history[..2]), changes(&history));
        assert!(two.cases.values().all(|saved| saved.removed));
        assert_eq!(two.removed.len(), 1, "case 9 was added on an earlier page");
        assert!(all.cases.values().all(|saved| !saved.removed && saved.ordinal == 300_000));
    }
}
