//! What may happen to a review: commands, and the rules that refuse them.

use super::{
    Closed, Item, ItemsAdded, ItemsAssigned, ItemsReleased, Opened, Reopened, Review, ReviewEvent as Event, Scored,
    VerdictReplaced, VerdictRestored,
};
use crate::aggregate::RejectionCode;
use crate::ids::{ActorId, ExecutionId};
use crate::limits;

/// What somebody wants to happen to a review.
#[derive(Clone, Debug, PartialEq)]
pub enum ReviewCommand {
    /// Open a queue with these answers.
    Open(Box<Opened>, Vec<ExecutionId>),
    /// Put further answers into it; those that are there stay as they are.
    Add(ItemsAdded),
    /// Have somebody score answers.
    Assign(ItemsAssigned),
    /// Have somebody not score them.
    Release(ItemsReleased),
    /// Take the next answer to score; see [`Review::next_for`].
    TakeNext(ActorId),
    /// Score an answer.
    Score(Scored),
    /// Put a person's verdict in the place of the recorded one.
    Override(VerdictReplaced),
    /// Let the recorded verdict count again.
    WithdrawOverride(VerdictRestored),
    /// Score nothing any more.
    Close(ActorId),
    /// Open the queue again.
    Reopen(ActorId),
}

/// Why a command on a review is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReviewRejection {
    /// There is no queue.
    #[error("the run has no review: open one")]
    NotFound,
    /// There is one.
    #[error("the run's review is open already: add items to it")]
    AlreadyOpen,
    /// The queue is closed.
    #[error("the review is closed: open it again")]
    Closed,
    /// What is scored is not well defined.
    #[error("score {name:?}: {fault}")]
    InvalidConfig {
        /// Of which score.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
    /// There are too many, or none.
    #[error("there must be 1 to {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The answer is not in the queue.
    #[error("the execution {id} is not in the review")]
    NoSuchItem {
        /// The execution.
        id: ExecutionId,
    },
    /// Enough people score it.
    #[error("enough people score the execution {id} already: release it from one, or ask for more reviewers")]
    Full {
        /// The execution.
        id: ExecutionId,
    },
    /// What is scored can't be released.
    #[error("the execution {id} is scored by this reviewer already")]
    AlreadyScored {
        /// The execution.
        id: ExecutionId,
    },
    /// Nothing is left to score.
    #[error("nothing is left for you to score")]
    NothingLeft,
    /// A value is missing, unknown or out of range.
    #[error("score {name:?}: {fault}")]
    InvalidScore {
        /// The score.
        name: String,
        /// What is wrong.
        fault: String,
    },
    /// A text is empty, too long, or holds a NUL character.
    #[error("{field} must have {min} to {max} bytes and no NUL character")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// How many bytes it must have.
        min: usize,
        /// How many bytes it may have.
        max: usize,
    },
    /// The verdict that is recorded counts.
    #[error("the verdict of the execution {id} is not overridden")]
    NotOverridden {
        /// The execution.
        id: ExecutionId,
    },
}

impl RejectionCode for ReviewRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "review_not_found",
            Self::AlreadyOpen => "review_already_open",
            Self::Closed => "review_closed",
            Self::InvalidConfig { .. } => "invalid_score_config",
            Self::TooMany { .. } => "too_many_items",
            Self::NoSuchItem { .. } => "review_item_not_found",
            Self::Full { .. } => "enough_reviewers",
            Self::AlreadyScored { .. } => "already_scored",
            Self::NothingLeft => "nothing_left",
            Self::InvalidScore { .. } => "invalid_score",
            Self::InvalidText { .. } => "invalid_text",
            Self::NotOverridden { .. } => "not_overridden",
        }
    }
}

type Decision = Result<Vec<Event>, ReviewRejection>;

pub(super) fn decide(state: &Review, command: ReviewCommand) -> Decision {
    match command {
        ReviewCommand::Open(queue, items) => open(state, *queue, items),
        ReviewCommand::Override(verdict) => overridden(state, verdict),
        ReviewCommand::WithdrawOverride(e) if !state.overrides.contains_key(&e.execution_id) => {
            Err(ReviewRejection::NotOverridden { id: e.execution_id })
        }
        ReviewCommand::WithdrawOverride(e) => Ok(vec![Event::VerdictRestored(e)]),
        _ if state.queue.is_none() => Err(ReviewRejection::NotFound),
        ReviewCommand::Reopen(_) if !state.closed => Ok(Vec::new()),
        ReviewCommand::Reopen(reopened_by) => Ok(vec![Event::Reopened(Reopened { reopened_by })]),
        // Saying it twice is saying it once.
        ReviewCommand::Close(_) if state.closed => Ok(Vec::new()),
        ReviewCommand::Close(closed_by) => Ok(vec![Event::Closed(Closed { closed_by })]),
        _ if state.closed => Err(ReviewRejection::Closed),
        ReviewCommand::Add(ItemsAdded { items, added_by }) => add(state, items, added_by),
        ReviewCommand::Assign(e) => assign(state, e),
        ReviewCommand::Release(e) => release(state, e),
        ReviewCommand::TakeNext(reviewer) => take_next(state, reviewer),
        ReviewCommand::Score(scored) => score(state, scored),
    }
}

fn open(state: &Review, queue: Opened, items: Vec<ExecutionId>) -> Decision {
    if state.queue.is_some() {
        return Err(ReviewRejection::AlreadyOpen);
    }
    text("title", &queue.title, 0)?;
    text("instructions", &queue.instructions, 0)?;
    let max = limits::REVIEW_SCORES_MAX;
    if !(1..=max).contains(&queue.scores.len()) {
        return Err(ReviewRejection::TooMany { what: "scores", max });
    }
    for (nth, config) in queue.scores.iter().enumerate() {
        let twice = queue.scores[..nth].iter().any(|other| other.name == config.name);
        let fault = config.fault().or_else(|| twice.then(|| "there are two of this name".to_owned()));
        if let Some(fault) = fault {
            return Err(ReviewRejection::InvalidConfig { name: config.name.clone(), fault });
        }
    }
    let max = limits::REVIEWERS_PER_ITEM_MAX;
    if !(1..=max).contains(&queue.reviewers_per_item) {
        return Err(ReviewRejection::TooMany { what: "reviewers of an item", max: usize::from(max) });
    }
    let added_by = queue.opened_by;
    let mut events = vec![Event::Opened(queue)];
    events.extend(add(state, items, added_by)?);
    Ok(events)
}

fn add(state: &Review, mut items: Vec<ExecutionId>, added_by: ActorId) -> Decision {
    let max = limits::REVIEW_ITEMS_MAX;
    if items.is_empty() {
        return Err(ReviewRejection::TooMany { what: "items", max });
    }
    items.retain(|id| !state.items.contains_key(id));
    items.sort_unstable();
    items.dedup();
    if state.items.len() + items.len() > max {
        return Err(ReviewRejection::TooMany { what: "items", max });
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Event::ItemsAdded(ItemsAdded { items, added_by })])
}

fn item(state: &Review, id: ExecutionId) -> Result<&Item, ReviewRejection> {
    state.items.get(&id).ok_or(ReviewRejection::NoSuchItem { id })
}

fn assign(state: &Review, mut assigned: ItemsAssigned) -> Decision {
    for id in &assigned.items {
        let item = item(state, *id)?;
        if !item.reviewers.contains(&assigned.reviewer) && !state.has_room(item) {
            return Err(ReviewRejection::Full { id: *id });
        }
    }
    assigned.items.retain(|id| !state.items[id].reviewers.contains(&assigned.reviewer));
    if assigned.items.is_empty() { Ok(Vec::new()) } else { Ok(vec![Event::ItemsAssigned(assigned)]) }
}

fn release(state: &Review, mut released: ItemsReleased) -> Decision {
    for id in &released.items {
        if item(state, *id)?.scored.contains_key(&released.reviewer) {
            return Err(ReviewRejection::AlreadyScored { id: *id });
        }
    }
    released.items.retain(|id| state.items[id].reviewers.contains(&released.reviewer));
    if released.items.is_empty() { Ok(Vec::new()) } else { Ok(vec![Event::ItemsReleased(released)]) }
}

fn take_next(state: &Review, reviewer: ActorId) -> Decision {
    let id = state.next_for(reviewer).ok_or(ReviewRejection::NothingLeft)?;
    if state.items[&id].reviewers.contains(&reviewer) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::ItemsAssigned(ItemsAssigned { items: vec![id], reviewer, assigned_by: reviewer })])
}

fn score(state: &Review, scored: Scored) -> Decision {
    let item = item(state, scored.execution_id)?;
    if !item.reviewers.contains(&scored.reviewer) && !state.has_room(item) {
        return Err(ReviewRejection::Full { id: scored.execution_id });
    }
    text("comment", &scored.comment, 0)?;
    let refused = |name: &str, fault: String| Err(ReviewRejection::InvalidScore { name: name.to_owned(), fault });
    let configs = state.queue.iter().flat_map(|queue| &queue.scores);
    for config in configs.clone() {
        match scored.values.get(&config.name) {
            None => return refused(&config.name, format!("is missing; it is {}", config.wanted())),
            Some(value) if !config.takes(value) => {
                return refused(&config.name, format!("must be {}", config.wanted()));
            }
            Some(_) => (),
        }
    }
    if let Some(name) = scored.values.keys().find(|name| !configs.clone().any(|config| config.name == **name)) {
        return refused(name, "is not among those of the review".to_owned());
    }
    let before = item.scored.get(&scored.reviewer);
    if before.is_some_and(|(values, comment)| *values == scored.values && *comment == scored.comment) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::Scored(scored)])
}

fn overridden(state: &Review, verdict: VerdictReplaced) -> Decision {
    text("reason", &verdict.reason, 1)?;
    let before = state.overrides.get(&verdict.execution_id);
    if before.is_some_and(|before| before.passed == verdict.passed && before.reason == verdict.reason) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::VerdictReplaced(verdict)])
}

fn text(field: &'static str, value: &str, min: usize) -> Result<(), ReviewRejection> {
    let max = limits::MESSAGE_BYTES_MAX;
    let fits = value.trim().len() >= min && value.len() <= max && !value.contains('\0');
    if fits { Ok(()) } else { Err(ReviewRejection::InvalidText { field, min, max }) }
}
