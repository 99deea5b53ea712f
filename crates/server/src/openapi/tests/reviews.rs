//! What reviews answer, one of each, for the comparison with the schemas.

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, TestRunId};
use pcs_projections::agreement::{Concord, PairAgreement, RecordedAgreement, ScoreAgreement};
use pcs_projections::reviews::{ItemRow, PartRow, ReviewRow};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::{overrides, review_reads, reviews};

pub(super) fn rows() -> Vec<(&'static str, Value)> {
    let (run_id, execution_id, actor) = (TestRunId(Uuid::nil()), ExecutionId(Uuid::nil()), ActorId(Uuid::nil()));
    let row = ReviewRow {
        run_id,
        card_id: PromptCardId(Uuid::nil()),
        title: String::new(),
        instructions: String::new(),
        scores: Vec::new(),
        reviewers_per_item: 1,
        blind: false,
        closed: false,
        items: 1,
        done: 0,
        scored: 0,
        assigned: 0,
        opened_by: actor,
        opened_at: Timestamp::EPOCH,
        revision: 1,
    };
    let part = PartRow { reviewer: actor, scores: None, comment: String::new(), scored_at: None };
    let item = json!(ItemRow { execution_id, reviewers: vec![part] });
    let concord = Concord { items: 1, agreed: 1, kappa: None };
    let score = ScoreAgreement {
        name: String::new(),
        items: 1,
        alpha: None,
        pairs: vec![PairAgreement { one: actor, other: actor, concord }],
        recorded: vec![RecordedAgreement { reviewer: actor, concord }],
    };
    let agreement = json!(review_reads::Agreement { run_id, scores: vec![score] });
    let score = agreement["scores"][0].clone();
    vec![
        ("ReviewAnswer", json!(reviews::Answer { run_id, items: 1, closed: false, next: None })),
        ("OverrideAnswer", json!(overrides::Answer { execution_id, run_id, passed: true, recorded: false })),
        ("Review", json!(row)),
        ("ReviewPart", item["reviewers"][0].clone()),
        ("ReviewItem", item),
        ("PairAgreement", score["pairs"][0].clone()),
        ("RecordedAgreement", score["recorded"][0].clone()),
        ("ScoreAgreement", score),
        ("Agreement", agreement),
    ]
}
