//! What may happen to a card's test cases.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Decision, OnDuplicate, PromptCardRejection};
use crate::assertion::Assertion;
use crate::ids::{PromptCardId, TestCaseId};
use crate::limits;
use crate::prompt_card::test_case::sorted;
use crate::prompt_card::{
    Card, CaseChanged, CaseDraft, CasesAdded, CasesRemoved, PromptCardEvent as Event, TestCase, details,
};

pub(super) fn added(card: &Card, id: PromptCardId, drafts: Vec<CaseDraft>, on_duplicate: OnDuplicate) -> Decision {
    let mut added: Vec<TestCase> = Vec::with_capacity(drafts.len());
    let mut changes: Vec<TestCase> = Vec::new();
    let mut places = BTreeMap::<TestCaseId, usize>::new();
    let mut changed = BTreeMap::<TestCaseId, usize>::new();
    for draft in drafts {
        details::case(&draft)?;
        let numbered = draft.name.is_empty();
        let mut case = draft.identified(id, card.cases.len() + added.len() + 1);
        let own_change = changed.get(&case.id).and_then(|place| changes.get(*place));
        let own = own_change.or_else(|| places.get(&case.id).and_then(|place| added.get(*place)));
        match own.or_else(|| card.cases.get(&case.id)) {
            None => {
                places.insert(case.id, added.len());
                added.push(case);
            }
            Some(there) if same_demands(there, &case, numbered) => (),
            // Twice in one command is always refused: which of the two should win?
            Some(there) if own.is_none() && on_duplicate == OnDuplicate::Change => {
                if numbered {
                    case.name.clone_from(&there.name);
                }
                changed.insert(case.id, changes.len());
                changes.push(case);
            }
            Some(there) => {
                return Err(PromptCardRejection::DuplicateCase { name: case.name, existing: there.name.clone() });
            }
        }
    }
    let count = card.cases.len() + added.len();
    if count > limits::CASES_MAX {
        return Err(PromptCardRejection::TooMany { field: "cases", count, max: limits::CASES_MAX });
    }
    let mut events: Vec<Event> = changes.into_iter().map(|case| Event::CaseChanged(CaseChanged { case })).collect();
    events.extend(split_by_size(added));
    Ok(events)
}

fn same_demands(there: &TestCase, new: &TestCase, numbered: bool) -> bool {
    let same_words = numbered || there.name == new.name;
    same_words
        && there.assertions == new.assertions
        && there.threshold == new.threshold
        && there.tags == new.tags
        && there.metadata == new.metadata
}

/// Splits an import over events of bounded size; the command's events are still appended as one.
fn split_by_size(cases: Vec<TestCase>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut page: Vec<TestCase> = Vec::new();
    let mut bytes = 0;
    for case in cases {
        let size = serde_json::to_string(&case).map_or(0, |json| json.len());
        if bytes + size > limits::CASES_EVENT_BYTES_MAX && !page.is_empty() {
            events.push(Event::CasesAdded(CasesAdded { cases: std::mem::take(&mut page) }));
            bytes = 0;
        }
        bytes += size;
        page.push(case);
    }
    if !page.is_empty() {
        events.push(Event::CasesAdded(CasesAdded { cases: page }));
    }
    events
}

/// What becomes different of a case; what is absent stays.
pub(super) struct CaseChange {
    pub(super) name: Option<String>,
    pub(super) assertions: Option<Vec<Assertion>>,
    pub(super) threshold: Option<Option<f64>>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) metadata: Option<Map<String, Value>>,
}

pub(super) fn changed(card: &Card, case_id: TestCaseId, change: CaseChange) -> Decision {
    let CaseChange { name, assertions, threshold, tags, metadata } = change;
    let there = card.cases.get(&case_id).ok_or(PromptCardRejection::NoSuchCase { case_id })?;
    if there.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded()) {
        return Err(PromptCardRejection::Shredded { case_id });
    }
    let mut case = there.clone();
    if let Some(name) = name {
        if name.trim().is_empty() {
            return Err(PromptCardRejection::Empty { field: "name" });
        }
        details::text("name", &name, limits::NAME_CHARS_MAX)?;
        case.name = name;
    }
    if let Some(assertions) = assertions {
        details::assertions(&assertions)?;
        case.assertions = assertions;
    }
    if let Some(threshold) = threshold {
        details::threshold(threshold)?;
        case.threshold = threshold;
    }
    if let Some(tags) = tags {
        details::case_tags(&tags)?;
        case.tags = sorted(tags);
    }
    if let Some(metadata) = metadata {
        details::case_metadata(&metadata)?;
        case.metadata = metadata;
    }
    details::case_size(&case)?;
    Ok(super::changed(case != *there, Event::CaseChanged(CaseChanged { case })))
}

pub(super) fn removed(card: &Card, case_ids: Vec<TestCaseId>) -> Decision {
    let unique: BTreeSet<TestCaseId> = case_ids.into_iter().collect();
    if let Some(case_id) = unique.iter().find(|id| !card.cases.contains_key(id)) {
        return Err(PromptCardRejection::NoSuchCase { case_id: *case_id });
    }
    let case_ids: Vec<TestCaseId> = unique.into_iter().collect();
    Ok(super::changed(!case_ids.is_empty(), Event::CasesRemoved(CasesRemoved { case_ids })))
}
