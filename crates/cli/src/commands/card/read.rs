//! The commands that show cards.

use super::{Cases, Diff, List, Named, Show};
use crate::client::Api;
use crate::client::cards::CardFilter;
use crate::client::wire::{Card, Case};
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output, excerpt, plain_line, plain_text};
use crate::commands::page::{PAGE_LEN_MAX, collect};
use crate::commands::target;

const TITLE_CHARS_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 60;

pub(super) async fn list(api: &Api, list: List, output: &mut Output) -> Result<(), CliError> {
    let visibility = list.visibility.as_deref().map(|name| if name == "public" { "public" } else { "private" });
    let filter = CardFilter {
        q: list.query,
        title: None,
        category: list.category,
        tag: list.tag,
        visibility,
        archived: list.archived,
    };
    let page = collect(list.limit, PAGE_LEN_MAX, async |limit, cursor| api.cards(&filter, limit, cursor).await).await?;
    if list.json {
        return output.json(&page);
    }
    if page.items.is_empty() {
        output.note("no cards");
        return Ok(());
    }
    let columns = [
        ("id", Align::Left),
        ("title", Align::Left),
        ("version", Align::Right),
        ("cases", Align::Right),
        ("category", Align::Left),
        ("tags", Align::Left),
        ("public", Align::Left),
        ("updated", Align::Left),
    ];
    output.table(&columns, page.items.iter().map(card_row).collect())?;
    page.tell_of_more(output);
    Ok(())
}

fn card_row(card: &Card) -> Vec<String> {
    vec![
        card.id.clone(),
        excerpt(&card.title, TITLE_CHARS_MAX),
        card.version.to_string(),
        card.case_count.to_string(),
        card.category.clone(),
        excerpt(&card.tags.join(", "), TEXT_CHARS_MAX),
        yes_no(card.is_public),
        card.updated_at.clone(),
    ]
}

pub(super) async fn show(api: &Api, show: &Show, output: &mut Output) -> Result<(), CliError> {
    let mut card = target::card(api, &show.named.card).await?;
    if let Some(as_of) = &show.as_of {
        card = api.card_as_of(&card.id, as_of).await?;
    }
    if let Some(number) = show.version {
        let version = api.card_version(&card.id, number).await?;
        card.prompt = version.prompt;
        card.version = version.version;
    }
    if show.named.json {
        return output.json(&card);
    }
    if show.prompt {
        return output.text(&card.prompt);
    }
    let labels: Vec<String> = card.labels.iter().map(|(label, version)| format!("{label} → {version}")).collect();
    let lines = [
        ("id", card.id.clone()),
        ("version", format!("{} (revision {})", card.version, card.revision)),
        ("description", card.description.clone()),
        ("category", card.category.clone()),
        ("tags", card.tags.join(", ")),
        ("labels", labels.join(", ")),
        ("protected", card.protected_labels.join(", ")),
        ("public", yes_no(card.is_public)),
        ("archived", yes_no(card.archived)),
        ("cases", card.case_count.to_string()),
        ("created", card.created_at.clone()),
        ("updated", card.updated_at.clone()),
    ];
    output.line(&plain_line(&card.title))?;
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        output.line(&format!("  {name:<12} {}", plain_line(value)))?;
    }
    output.line("")?;
    output.text(&plain_text(&card.prompt))
}

pub(super) async fn versions(api: &Api, named: &Named, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &named.card).await?;
    let page =
        collect(usize::MAX, PAGE_LEN_MAX, async |limit, cursor| api.card_versions(&card.id, limit, cursor).await);
    let page = page.await?;
    if named.json {
        return output.json(&page);
    }
    let columns = [
        ("version", Align::Right),
        ("created", Align::Left),
        ("labels", Align::Left),
        ("message", Align::Left),
        ("prompt", Align::Left),
    ];
    let rows = page.items.iter().map(|version| {
        vec![
            version.version.to_string(),
            version.created_at.clone(),
            labels_of(&card, version.version),
            excerpt(&version.message, TEXT_CHARS_MAX),
            excerpt(&version.prompt, TEXT_CHARS_MAX),
        ]
    });
    output.table(&columns, rows.collect())
}

/// The labels of a version, in one text.
pub(super) fn labels_of(card: &Card, version: u32) -> String {
    let labels = card.labels.iter().filter(|(_, of)| **of == version).map(|(label, _)| label.as_str());
    labels.collect::<Vec<_>>().join(", ")
}

pub(super) async fn diff(api: &Api, diff: &Diff, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &diff.card).await?;
    let found = api.card_diff(&card.id, diff.from, diff.to).await?;
    if diff.json {
        return output.json(&found);
    }
    if found.unified.is_empty() {
        output.note("no difference");
        return Ok(());
    }
    output.text(&plain_text(&found.unified))
}

pub(super) async fn cases(api: &Api, cases: &Cases, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &cases.named.card).await?;
    let page = collect(cases.limit, PAGE_LEN_MAX, async |limit, cursor| api.card_cases(&card.id, limit, cursor).await);
    let page = page.await?;
    if cases.named.json {
        return output.json(&page);
    }
    if page.items.is_empty() {
        output.note("the card has no cases");
        return Ok(());
    }
    let columns = [
        ("id", Align::Left),
        ("name", Align::Left),
        ("input", Align::Left),
        ("expected", Align::Left),
        ("assertions", Align::Right),
    ];
    output.table(&columns, page.items.iter().map(case_row).collect())?;
    page.tell_of_more(output);
    Ok(())
}

fn case_row(case: &Case) -> Vec<String> {
    let input: Vec<String> = case.input.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        case.id.clone(),
        excerpt(&case.name, TITLE_CHARS_MAX),
        excerpt(&input.join(" "), TEXT_CHARS_MAX),
        excerpt(case.expected_output.as_deref().unwrap_or("-"), TEXT_CHARS_MAX),
        case.assertions.len().to_string(),
    ]
}

pub(super) fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}
