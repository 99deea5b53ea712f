//! Brings the server's card to what the suite says: the card, its prompt, and the cases.

use std::collections::HashMap;

use serde_json::Value;

use crate::client::Api;
use crate::client::cards::CardFilter;
use crate::client::wire::{AddedCases, Card, CardChange, NewCard, NewCase, NewCases};
use crate::commands::exit::CliError;
use crate::commands::page::PAGE_LEN_MAX;
use crate::suite::Suite;
use crate::suite::card::SuiteCard;
use crate::suite::cases::SuiteCase;

/// Most bytes of cases in one request; the server reads 10 MB.
const IMPORT_BYTES_MAX: usize = 8_000_000;
/// Most cases in one request: each one reads the whole card first, and this many take a third of a second.
const IMPORT_CASES_MAX: usize = 20_000;
/// How often a card that others change at the same time is read again.
const CHANGES_MAX: usize = 3;
const PRECONDITION_FAILED: u16 = 412;

/// The card as it is on the server now.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) card_id: String,
    /// The versions that are the suite's prompts, in their order.
    pub(super) versions: Vec<u32>,
    /// The suite's cases, in its order.
    pub(super) case_ids: Vec<String>,
    /// Whether the card has no others.
    pub(super) are_all: bool,
    /// What was changed, for people.
    pub(super) notes: Vec<String>,
}

pub(super) async fn card_and_cases(api: &Api, suite: &Suite) -> Result<Synced, CliError> {
    let mut notes = Vec::new();
    let card = match find(api, &suite.card.title).await? {
        Some(card) => bring_up_to_date(api, suite, card, &mut notes).await?,
        None => {
            let card = api.create_card(&new_card(&suite.card)).await?;
            notes.push(format!("created the card {:?} ({})", card.title, card.id));
            card
        }
    };
    // Before the cases: the card must not have changed since it was read.
    let versions =
        if suite.prompts.len() > 1 { versions(api, suite, &card, &mut notes).await? } else { vec![card.version] };
    let import = import(api, &card.id, &suite.cases).await?;
    if import.added + import.changed > 0 {
        notes.push(format!("cases: {} added, {} changed", import.added, import.changed));
    }
    let are_all = u64::try_from(import.case_ids.len()).is_ok_and(|count| count == import.case_count);
    Ok(Synced { card_id: card.id, versions, case_ids: import.case_ids, are_all, notes })
}

/// The versions of a card that are a suite's prompts: those that it has, and new ones for those that it has not.
async fn versions(api: &Api, suite: &Suite, card: &Card, notes: &mut Vec<String>) -> Result<Vec<u32>, CliError> {
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut cursor = None;
    loop {
        let page = api.card_versions(&card.id, PAGE_LEN_MAX, cursor.as_deref()).await?;
        known.extend(page.items.into_iter().map(|version| (version.prompt, version.version)));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut versions = Vec::with_capacity(suite.prompts.len());
    let mut revision = card.revision;
    for prompt in &suite.prompts {
        if let Some(version) = known.get(prompt) {
            versions.push(*version);
            continue;
        }
        let message = Some(format!("from suite {}", suite.file));
        let change = CardChange { prompt: Some(prompt.clone()), message, ..CardChange::default() };
        let changed = api.change_card(&card.id, revision, &change).await?;
        notes.push(format!("revised the card {:?}: version {}", changed.title, changed.version));
        revision = changed.revision;
        known.insert(prompt.clone(), changed.version);
        versions.push(changed.version);
    }
    Ok(versions)
}

/// The one card with this title, as it is now.
async fn find(api: &Api, title: &str) -> Result<Option<Card>, CliError> {
    let filter = CardFilter { title: Some(title.to_owned()), ..CardFilter::default() };
    let found = api.cards(&filter, 3, None).await?.items;
    match found.as_slice() {
        [] => {
            let archived = api.cards(&CardFilter { archived: true, ..filter }, 1, None).await?.items;
            match archived.into_iter().find(|card| card.archived) {
                Some(card) => {
                    let message = format!("the card {title:?} ({}) is archived", card.id);
                    let mend = format!("`pcs card restore {}`, or give the suite's card another title", card.id);
                    Err(CliError::usage(message, mend))
                }
                None => Ok(None),
            }
        }
        [card] => Ok(Some(api.card(&card.id).await?)),
        several => {
            let ids: Vec<&str> = several.iter().map(|card| card.id.as_str()).collect();
            let message = format!("several cards have the title {title:?}: {}", ids.join(", "));
            Err(CliError::usage(message, "rename or archive all but one, or give the suite's card another title"))
        }
    }
}

async fn bring_up_to_date(api: &Api, suite: &Suite, found: Card, notes: &mut Vec<String>) -> Result<Card, CliError> {
    let mut card = found;
    for tries_left in (0..CHANGES_MAX).rev() {
        let mut change = difference(&suite.card, &card, &suite.file);
        if suite.prompts.len() > 1 {
            // Which of them is the newest does not matter: each is found, or added, below.
            change.prompt = None;
        }
        if change.is_empty() {
            break;
        }
        match api.change_card(&card.id, card.revision, &change).await {
            Ok(changed) => {
                let what = if changed.version > card.version { "revised" } else { "changed" };
                notes.push(format!("{what} the card {:?}: version {}", changed.title, changed.version));
                card = changed;
                break;
            }
            Err(error) if error.status() == PRECONDITION_FAILED && tries_left > 0 => card = api.card(&card.id).await?,
            Err(error) => return Err(error.into()),
        }
    }
    match suite.card.is_public {
        Some(true) if !card.is_public => Ok(api.card_action(&card.id, "publish", None).await?),
        Some(false) if card.is_public => Ok(api.card_action(&card.id, "unpublish", None).await?),
        Some(_) | None => Ok(card),
    }
}

/// What has to change for the card to be what the suite says; what the suite does not say stays.
fn difference(wanted: &SuiteCard, card: &Card, file: &str) -> CardChange {
    fn other<T: Clone + PartialEq>(wanted: Option<&T>, found: &T) -> Option<T> {
        wanted.filter(|wanted| *wanted != found).cloned()
    }
    let prompt = other(Some(&wanted.prompt), &card.prompt);
    let message = prompt.is_some().then(|| format!("from suite {file}"));
    CardChange {
        title: None,
        prompt,
        model: None,
        description: other(wanted.description.as_ref(), &card.description),
        category: other(wanted.category.as_ref(), &card.category),
        tags: other(wanted.tags.as_ref(), &card.tags),
        metadata: other(wanted.metadata.as_ref(), &card.metadata),
        message,
    }
}

fn new_card(card: &SuiteCard) -> NewCard {
    NewCard {
        title: card.title.clone(),
        prompt: card.prompt.clone(),
        model: None,
        description: card.description.clone(),
        category: card.category.clone(),
        tags: card.tags.clone(),
        metadata: card.metadata.clone(),
        is_public: card.is_public,
    }
}

/// Adds the cases in pages; those that the card has get these assertions.
pub(crate) async fn import(api: &Api, card_id: &str, cases: &[SuiteCase]) -> Result<AddedCases, CliError> {
    let mut all = AddedCases::default();
    for page in pages(cases) {
        let drafts = page.iter().map(|case| NewCase { subject: case.subject.as_deref(), ..NewCase::from(&case.draft) });
        let answer = api.add_cases(card_id, &NewCases { cases: drafts.collect(), on_duplicate: "change" }).await?;
        if answer.case_ids.len() != page.len() {
            let (sent, came) = (page.len(), answer.case_ids.len());
            return Err(CliError::System(format!("the server gave {came} ids for {sent} cases")));
        }
        all.case_ids.extend(answer.case_ids);
        all.added += answer.added;
        all.changed += answer.changed;
        all.unchanged += answer.unchanged;
        all.case_count = answer.case_count;
    }
    Ok(all)
}

/// Cuts the cases into requests that the server reads.
fn pages(cases: &[SuiteCase]) -> Vec<&[SuiteCase]> {
    let mut pages = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, case) in cases.iter().enumerate() {
        let size = serde_json::to_value(NewCase::from(&case.draft)).map_or(0, |json: Value| json.to_string().len() + 1);
        if index > start && (bytes + size > IMPORT_BYTES_MAX || index - start == IMPORT_CASES_MAX) {
            pages.push(&cases[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    pages.push(&cases[start..]);
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::error::Place;
    use crate::suite::only::Only;

    fn case(bytes: usize) -> SuiteCase {
        let mut draft = pcs_domain::prompt_card::CaseDraft::default();
        draft.input.insert("text".to_owned(), "x".repeat(bytes).into());
        SuiteCase {
            draft,
            subject: None,
            number: 1,
            file: "cases.jsonl".into(),
            place: Place::default(),
            only: Only::default(),
        }
    }

    #[test]
    fn an_import_is_cut_below_the_body_limit() {
        let cases = vec![case(200_000); 100];
        let lengths: Vec<usize> = pages(&cases).iter().map(|page| page.len()).collect();
        assert_eq!(lengths, [39, 39, 22]);
        let small = vec![case(1); 45_000];
        let lengths: Vec<usize> = pages(&small).iter().map(|page| page.len()).collect();
        assert_eq!(lengths, [20_000, 20_000, 5_000]);
    }

    #[test]
    fn only_what_the_suite_says_is_changed() {
        let wanted = SuiteCard {
            title: "T".to_owned(),
            prompt: "new".to_owned(),
            description: None,
            category: Some("math".to_owned()),
            tags: Some(vec!["a".to_owned()]),
            metadata: None,
            is_public: None,
        };
        let card = Card {
            prompt: "old".to_owned(),
            description: "kept".to_owned(),
            category: "math".to_owned(),
            ..Card::default()
        };
        let change = difference(&wanted, &card, "s.yaml");
        let expected = CardChange {
            prompt: Some("new".to_owned()),
            tags: Some(vec!["a".to_owned()]),
            message: Some("from suite s.yaml".to_owned()),
            ..CardChange::default()
        };
        assert_eq!(change, expected);
        let same = Card { prompt: "new".to_owned(), tags: vec!["a".to_owned()], ..card };
        assert!(difference(&wanted, &same, "s.yaml").is_empty());
    }
}
