//! The commands that change cards.

use std::io::Read;
use std::path::Path;

use pcs_domain::limits;
use serde_json::json;

use super::{Create, Label, Named, NamedLabel, Revise, Words};
use crate::client::Api;
use crate::client::wire::{Card, CardChange, NewCard};
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output, excerpt, plain_line};
use crate::commands::{run, target};
use crate::suite::cases::{self, SuiteCase};
use crate::suite::mapping::Mapping;

pub(super) async fn create(api: &Api, create: Create, output: &mut Output) -> Result<(), CliError> {
    let Some(prompt) = prompt(&create.words)? else {
        return Err(CliError::usage("the card has no prompt", "give it one: --prompt-file FILE, or --prompt TEXT"));
    };
    let card = NewCard {
        title: create.title,
        prompt,
        model: create.words.model,
        description: create.words.description,
        category: create.words.category,
        tags: Some(create.words.tags).filter(|tags| !tags.is_empty()),
        metadata: create.words.metadata,
        is_public: create.public.then_some(true),
    };
    let card = api.create_card(&card).await?;
    say(&card, "created", create.json, output)
}

pub(super) async fn revise(api: &Api, revise: Revise, output: &mut Output) -> Result<(), CliError> {
    let change = CardChange {
        title: revise.title,
        prompt: prompt(&revise.words)?,
        model: revise.words.model,
        description: revise.words.description,
        category: revise.words.category,
        tags: Some(revise.words.tags).filter(|tags| !tags.is_empty()),
        metadata: revise.words.metadata,
        message: revise.message,
    };
    if change.is_empty() {
        return Err(CliError::usage("nothing is to be changed", "say what: --prompt-file, --title, --tag, …"));
    }
    let card = target::card(api, &revise.named.card).await?;
    let changed = api.change_card(&card.id, revise.revision.unwrap_or(card.revision), &change).await?;
    let done = if changed.version > card.version { "revised" } else { "changed" };
    say(&changed, done, revise.named.json, output)
}

pub(super) async fn action(
    api: &Api,
    named: &Named,
    action: &str,
    reason: Option<&str>,
    output: &mut Output,
) -> Result<(), CliError> {
    let card = target::card(api, &named.card).await?;
    let card = api.card_action(&card.id, action, reason).await?;
    let done = match action {
        "archive" => "archived",
        "restore" => "restored",
        "publish" => "published",
        _ => "unpublished",
    };
    say(&card, done, named.json, output)
}

pub(super) async fn label(api: &Api, label: &Label, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &label.card).await?;
    let card = api.label_card(&card.id, &label.label, label.version).await?;
    say(&card, &format!("labelled version {} as {} of", label.version, label.label), label.json, output)
}

pub(super) async fn unlabel(api: &Api, named: &NamedLabel, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &named.card).await?;
    let card = api.unlabel_card(&card.id, &named.label).await?;
    say(&card, &format!("took the label {} from", named.label), named.json, output)
}

pub(super) async fn protect(
    api: &Api,
    named: &NamedLabel,
    is_protected: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    let card = target::card(api, &named.card).await?;
    let card = api.protect_label(&card.id, &named.label, is_protected).await?;
    let done = if is_protected { "protected" } else { "no longer protected" };
    say(&card, &format!("{done}: the label {} of", named.label), named.json, output)
}

/// Cases that a preview shows.
const PREVIEW_LEN_MAX: usize = 10;
/// Longest text in a cell of a preview, in characters.
const PREVIEW_CHARS_MAX: usize = 50;

/// Shows the first cases of a file as they would be sent; nothing is sent.
pub(super) fn preview(file: &Path, mapping: &Mapping, as_json: bool, output: &mut Output) -> Result<(), CliError> {
    show_preview(&cases::load(file, mapping)?, as_json, output)
}

/// Shows the first of these cases.
pub(super) fn show_preview(cases: &[SuiteCase], as_json: bool, output: &mut Output) -> Result<(), CliError> {
    let shown = || cases.iter().take(PREVIEW_LEN_MAX);
    if as_json {
        let drafts: Vec<_> = shown().map(|case| &case.draft).collect();
        return output.json(&json!({ "count": cases.len(), "cases": drafts }));
    }
    let columns = [
        ("case", Align::Left),
        ("line", Align::Right),
        ("input", Align::Left),
        ("expected", Align::Left),
        ("asserts", Align::Right),
    ];
    let row = |case: &SuiteCase| {
        let input = serde_json::to_string(&case.draft.input).unwrap_or_default();
        let expected = case.draft.expected_output.as_deref().unwrap_or_default();
        let asserts = case.draft.assertions.len().to_string();
        let cut = |text: &str| excerpt(text, PREVIEW_CHARS_MAX);
        vec![cut(&case.name()), case.place.line.to_string(), cut(&input), cut(expected), asserts]
    };
    output.table(&columns, shown().map(row).collect())?;
    output.line(&format!("\n{} cases; nothing was sent", cases.len()))
}

pub(super) async fn import(
    api: &Api,
    named: &Named,
    (file, mapping): (&Path, &Mapping),
    output: &mut Output,
) -> Result<(), CliError> {
    // The file first: a mistake in it is found before anything is asked of the server.
    let cases = cases::load(file, mapping)?;
    let card = target::card(api, &named.card).await?;
    let added = run::import(api, &card.id, &cases).await?;
    if named.json {
        let (ids, count) = (&added.case_ids, added.case_count);
        return output.json(
            &json!({ "added": added.added, "changed": added.changed, "unchanged": added.unchanged, "case_ids": ids, "case_count": count }),
        );
    }
    output.line(&format!(
        "{} added, {} changed, {} unchanged; the card {} has {} cases",
        added.added,
        added.changed,
        added.unchanged,
        plain_line(&card.title),
        added.case_count
    ))
}

fn say(card: &Card, done: &str, as_json: bool, output: &mut Output) -> Result<(), CliError> {
    if as_json {
        return output.json(card);
    }
    output.line(&format!("{done} {:?}, version {} ({})", card.title, card.version, card.id))
}

/// The prompt that the user gave, in a file, on stdin or on the command line.
fn prompt(words: &Words) -> Result<Option<String>, CliError> {
    let Some(path) = &words.prompt_file else { return Ok(words.prompt.clone()) };
    let unreadable = |error: std::io::Error| {
        CliError::usage(
            format!("--prompt-file {} can't be read: {error}", path.display()),
            "check the path and its rights",
        )
    };
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    // One byte more than allowed tells a full prompt from one that is too long.
    let limit = u64::try_from(limits::PROMPT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limits::PROMPT_BYTES_MAX {
        let message = format!("the prompt has more than {} bytes, the most that are allowed", limits::PROMPT_BYTES_MAX);
        return Err(CliError::usage(message, "make it shorter"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        CliError::usage(format!("the prompt is not UTF-8 at byte {offset}"), "save it as UTF-8")
    })?;
    Ok(Some(text))
}
