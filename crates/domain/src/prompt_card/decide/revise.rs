//! What a revision changes: words about the card, its tags, and the prompt with its model, which make a new version.

use super::{Decision, Event, Revise, changed, details, labels};
use crate::limits;
use crate::prompt_card::{Card, Described, Revised, Tagged};

pub(super) fn revised(card: &Card, revise: Revise) -> Decision {
    let described = Described {
        title: revise.title.unwrap_or_else(|| card.title.clone()),
        description: revise.description.unwrap_or_else(|| card.description.clone()),
        category: revise.category.unwrap_or_else(|| card.category.clone()),
        metadata: revise.metadata.unwrap_or_else(|| card.metadata.clone()),
    };
    details::title(&described.title)?;
    if described.title != card.title {
        labels::findable(card, revise.may_move_protected)?;
    }
    details::long_text("description", &described.description, limits::DESCRIPTION_BYTES_MAX)?;
    details::text("category", &described.category, limits::CATEGORY_CHARS_MAX)?;
    details::metadata(&described.metadata)?;
    details::long_text("message", &revise.message, limits::MESSAGE_BYTES_MAX)?;
    let differs = described.title != card.title
        || described.description != card.description
        || described.category != card.category
        || described.metadata != card.metadata;
    let mut events = changed(differs, Event::Described(described));
    if let Some(tags) = revise.tags {
        let tags = details::tags(tags)?;
        events.extend(changed(tags != card.tags, Event::Tagged(Tagged { tags })));
    }
    let (there, of_there) = (card.prompts.get(&card.latest_version()), card.models.get(&card.latest_version()));
    let prompt = revise.prompt.or_else(|| there.cloned()).unwrap_or_default();
    let model = revise.model.unwrap_or_else(|| of_there.cloned());
    if there != Some(&prompt) || of_there != model.as_ref() {
        details::prompt(&prompt)?;
        let version = card.latest_version().saturating_add(1);
        events.push(Event::Revised(Revised { version, prompt, model, message: revise.message, author: revise.author }));
    }
    Ok(events)
}
