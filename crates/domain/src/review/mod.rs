//! Human review of a run: a queue of its answers, what people score them by, and verdicts that they override.

mod decide;
mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::decide::{ReviewCommand, ReviewRejection};
pub use self::score::{Bounds, Categories, ScoreConfig, ScoreKind, ScoreValue, Scores};
use crate::aggregate::Aggregate;
use crate::event::events;
use crate::ids::{ActorId, ExecutionId, PromptCardId, TestRunId};
use crate::timestamp::Timestamp;

events! {
    /// What happened to the review of a run.
    pub enum ReviewEvent in Review {
        /// A queue was opened: what is scored, by how many people each.
        Opened(Opened) = "review.opened" version 1,
        /// Answers were put into the queue.
        ItemsAdded(ItemsAdded) = "review.items_added" version 1,
        /// Somebody is to score these answers.
        ItemsAssigned(ItemsAssigned) = "review.items_assigned" version 1,
        /// Somebody need not score these answers any more.
        ItemsReleased(ItemsReleased) = "review.items_released" version 1,
        /// Somebody scored an answer; what they said of it before no longer counts.
        Scored(Scored) = "review.scored" version 1,
        /// A person's verdict takes the place of the recorded one, which stays in its event.
        VerdictReplaced(VerdictReplaced) = "review.verdict_replaced" version 1,
        /// The recorded verdict counts again.
        VerdictRestored(VerdictRestored) = "review.verdict_restored" version 1,
        /// Nothing is scored any more.
        Closed(Closed) = "review.closed" version 1,
        /// The queue is open again.
        Reopened(Reopened) = "review.reopened" version 1,
    }
}

/// Payload of `review.opened` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Opened {
    /// The run whose answers are reviewed.
    pub run_id: TestRunId,
    /// The run's card.
    pub card_id: PromptCardId,
    /// How people call it; may be empty.
    pub title: String,
    /// What reviewers are told; may be empty.
    pub instructions: String,
    /// What each answer is scored by, in the order in which it is asked.
    pub scores: Vec<ScoreConfig>,
    /// How many people score each answer, from 1.
    pub reviewers_per_item: u8,
    /// Whether nobody sees the scores of others before they gave their own.
    pub blind: bool,
    /// Who opened it.
    pub opened_by: ActorId,
}

/// Payload of `review.items_added` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ItemsAdded {
    /// The answers, by their executions.
    pub items: Vec<ExecutionId>,
    /// Who added them.
    pub added_by: ActorId,
}

/// Payload of `review.items_assigned` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ItemsAssigned {
    /// The answers, by their executions.
    pub items: Vec<ExecutionId>,
    /// Who is to score them.
    pub reviewer: ActorId,
    /// Who said so: the reviewer, where they took one.
    pub assigned_by: ActorId,
}

/// Payload of `review.items_released` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ItemsReleased {
    /// The answers, by their executions.
    pub items: Vec<ExecutionId>,
    /// Who need not score them.
    pub reviewer: ActorId,
    /// Who said so.
    pub released_by: ActorId,
}

/// Payload of `review.scored` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Scored {
    /// The answer, by its execution.
    pub execution_id: ExecutionId,
    /// Who scored it.
    pub reviewer: ActorId,
    /// What they gave, by the scores' names.
    pub values: Scores,
    /// What they say of it; may be empty.
    pub comment: String,
}

/// Payload of `review.verdict_replaced` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct VerdictReplaced {
    /// The run.
    pub run_id: TestRunId,
    /// The answer, by its execution.
    pub execution_id: ExecutionId,
    /// Whether it passes.
    pub passed: bool,
    /// Whether it did by what was recorded.
    pub passed_before: bool,
    /// Why, in their words.
    pub reason: String,
    /// Who says so.
    pub replaced_by: ActorId,
}

/// Payload of `review.verdict_restored` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct VerdictRestored {
    /// The answer, by its execution.
    pub execution_id: ExecutionId,
    /// Who lets it count again.
    pub restored_by: ActorId,
}

/// Payload of `review.closed` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Closed {
    /// Who closed it.
    pub closed_by: ActorId,
}

/// Payload of `review.reopened` version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Reopened {
    /// Who opened it again.
    pub reopened_by: ActorId,
}

/// An answer in the queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Item {
    /// Who is to score it, or has.
    pub reviewers: BTreeSet<ActorId>,
    /// What they gave, and said.
    pub scored: BTreeMap<ActorId, (Scores, String)>,
}

/// The review of a run as its history left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Review {
    /// The queue, where one was opened.
    pub queue: Option<Opened>,
    /// Whether the queue is closed.
    pub closed: bool,
    /// The queue's answers.
    pub items: BTreeMap<ExecutionId, Item>,
    /// Verdicts of people that take the place of recorded ones.
    pub overrides: BTreeMap<ExecutionId, VerdictReplaced>,
}

impl Review {
    /// The id of a run's review's stream: there is one, and verdicts are overridden without a queue too.
    #[must_use]
    pub fn id(run: TestRunId) -> Uuid {
        Uuid::new_v5(&run.0, b"review")
    }

    /// The answer that somebody scores next: one they have taken; else one that lacks the fewest reviewers, so that
    /// answers become complete. Ids are hashes, so among equals it is by chance.
    #[must_use]
    pub fn next_for(&self, reviewer: ActorId) -> Option<ExecutionId> {
        let taken = |item: &Item| item.reviewers.contains(&reviewer) && !item.scored.contains_key(&reviewer);
        let own = self.items.iter().find(|(_, item)| taken(item));
        own.map(|(id, _)| *id).or_else(|| self.free_for(reviewer))
    }

    fn free_for(&self, reviewer: ActorId) -> Option<ExecutionId> {
        let free = self.items.iter().filter(|(_, item)| self.has_room(item) && !item.reviewers.contains(&reviewer));
        // The first of equals: `max_by_key` alone would take the last.
        free.rev().max_by_key(|(_, item)| item.reviewers.len()).map(|(id, _)| *id)
    }

    fn has_room(&self, item: &Item) -> bool {
        self.queue.as_ref().is_some_and(|queue| item.reviewers.len() < usize::from(queue.reviewers_per_item))
    }
}

impl Aggregate for Review {
    type Command = ReviewCommand;
    type Event = ReviewEvent;
    type Rejection = ReviewRejection;

    fn decide(&self, command: ReviewCommand, _: Timestamp) -> Result<Vec<ReviewEvent>, ReviewRejection> {
        decide::decide(self, command)
    }

    fn evolve(&mut self, event: ReviewEvent) {
        match event {
            ReviewEvent::Opened(e) => self.queue = Some(e),
            ReviewEvent::ItemsAdded(e) => {
                for id in e.items {
                    self.items.entry(id).or_default();
                }
            }
            ReviewEvent::ItemsAssigned(e) => {
                for id in e.items {
                    self.items.entry(id).or_default().reviewers.insert(e.reviewer);
                }
            }
            ReviewEvent::ItemsReleased(e) => {
                for id in e.items {
                    self.items.entry(id).or_default().reviewers.remove(&e.reviewer);
                }
            }
            ReviewEvent::Scored(e) => {
                let item = self.items.entry(e.execution_id).or_default();
                item.reviewers.insert(e.reviewer);
                item.scored.insert(e.reviewer, (e.values, e.comment));
            }
            ReviewEvent::VerdictReplaced(e) => drop(self.overrides.insert(e.execution_id, e)),
            ReviewEvent::VerdictRestored(e) => drop(self.overrides.remove(&e.execution_id)),
            ReviewEvent::Closed(_) => self.closed = true,
            ReviewEvent::Reopened(_) => self.closed = false,
        }
    }
}
