//! Rules about labels: what they may point to, and who may move one that is protected.

use super::{Decision, Event, PromptCardRejection, changed};
use crate::limits;
use crate::prompt_card::{Card, LabelProtected, LabelUnprotected, Labelled, Unlabelled, details};

pub(super) fn labelled(card: &Card, label: String, version: u32, may_move_protected: bool) -> Decision {
    details::label(&label)?;
    if !card.prompts.contains_key(&version) {
        return Err(PromptCardRejection::NoSuchVersion { version, latest: card.latest_version() });
    }
    if card.labels.get(&label) == Some(&version) {
        return Ok(Vec::new());
    }
    free(card, &label, may_move_protected)?;
    Ok(vec![Event::Labelled(Labelled { label, version })])
}

pub(super) fn unlabelled(card: &Card, label: String, may_move_protected: bool) -> Decision {
    if !card.labels.contains_key(&label) {
        return Err(PromptCardRejection::NoSuchLabel { label });
    }
    free(card, &label, may_move_protected)?;
    Ok(vec![Event::Unlabelled(Unlabelled { label })])
}

/// A label may be protected before there is one: then nobody else gives it to a version.
pub(super) fn protected(card: &Card, label: String) -> Decision {
    details::label(&label)?;
    if card.protected_labels.contains(&label) {
        return Ok(Vec::new());
    }
    let (count, max) = (card.protected_labels.len() + 1, limits::PROTECTED_LABELS_MAX);
    if count > max {
        return Err(PromptCardRejection::TooMany { field: "protected labels", count, max });
    }
    Ok(vec![Event::LabelProtected(LabelProtected { label })])
}

pub(super) fn unprotected(card: &Card, label: String) -> Decision {
    let differs = card.protected_labels.contains(&label);
    Ok(changed(differs, Event::LabelUnprotected(LabelUnprotected { label })))
}

/// Refuses to change a protected label, unless the one who asks may.
fn free(card: &Card, label: &str, may_move_protected: bool) -> Result<(), PromptCardRejection> {
    if may_move_protected || !card.protected_labels.contains(label) {
        return Ok(());
    }
    Err(PromptCardRejection::LabelIsProtected { label: label.to_owned() })
}

/// Refuses to take a card from where its protected labels are fetched, unless the one who asks may move them.
pub(super) fn findable(card: &Card, may_move_protected: bool) -> Result<(), PromptCardRejection> {
    match card.protected_labels.first() {
        Some(label) if !may_move_protected => Err(PromptCardRejection::HasProtectedLabel { label: label.clone() }),
        _ => Ok(()),
    }
}
