//! One event of every type of a review.

use std::collections::BTreeMap;

use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, TestRunId};
use pcs_domain::review::{
    Bounds, Categories, Closed, ItemsAdded, ItemsAssigned, ItemsReleased, Opened, Reopened, ReviewEvent, ScoreConfig,
    ScoreKind, ScoreValue, Scored, VerdictReplaced, VerdictRestored,
};

pub(crate) fn all(run_id: TestRunId, card_id: PromptCardId, answer: ExecutionId, by: ActorId) -> Vec<ReviewEvent> {
    let score = |name: &str, kind| ScoreConfig { name: name.to_owned(), description: String::new(), kind };
    let tones = vec!["warm".to_owned(), "cold".to_owned()];
    let values = BTreeMap::from([
        ("correct".to_owned(), ScoreValue::Boolean(true)),
        ("helpful".to_owned(), ScoreValue::Numeric(4.0)),
        ("tone".to_owned(), ScoreValue::Category("warm".to_owned())),
    ]);
    vec![
        ReviewEvent::Opened(Opened {
            run_id,
            card_id,
            title: "Do people like the answers?".to_owned(),
            instructions: "Read the problem first.".to_owned(),
            scores: vec![
                score("correct", ScoreKind::Boolean),
                score("helpful", ScoreKind::Numeric(Bounds { min: 1.0, max: 5.0 })),
                score("tone", ScoreKind::Categorical(Categories { categories: tones })),
            ],
            reviewers_per_item: 2,
            blind: true,
            opened_by: by,
        }),
        ReviewEvent::ItemsAdded(ItemsAdded { items: vec![answer], added_by: by }),
        ReviewEvent::ItemsAssigned(ItemsAssigned { items: vec![answer], reviewer: by, assigned_by: by }),
        ReviewEvent::ItemsReleased(ItemsReleased { items: vec![answer], reviewer: by, released_by: by }),
        ReviewEvent::Scored(Scored { execution_id: answer, reviewer: by, values, comment: "clear".to_owned() }),
        ReviewEvent::VerdictReplaced(VerdictReplaced {
            run_id,
            execution_id: answer,
            passed: false,
            passed_before: true,
            reason: "the unit is wrong".to_owned(),
            replaced_by: by,
        }),
        ReviewEvent::VerdictRestored(VerdictRestored { execution_id: answer, restored_by: by }),
        ReviewEvent::Closed(Closed { closed_by: by }),
        ReviewEvent::Reopened(Reopened { reopened_by: by }),
    ]
}
