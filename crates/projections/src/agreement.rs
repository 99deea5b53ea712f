//! Whether the reviewers of a run agree: with each other, and with what was recorded.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::ids::{ActorId, ExecutionId};
use pcs_domain::review::{ScoreConfig, ScoreKind, ScoreValue};
use pcs_statistics::{Scale, cohens_kappa, krippendorff_alpha};
use serde::Serialize;

use crate::reviews::Scoring;

/// Two sets of ratings of the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Concord {
    /// Answers that both rated.
    pub items: usize,
    /// Of these, rated the same.
    pub agreed: usize,
    /// Cohen's kappa; null where nothing says more than chance would.
    pub kappa: Option<f64>,
}

/// Two reviewers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairAgreement {
    /// One of them.
    pub one: ActorId,
    /// The other one.
    pub other: ActorId,
    /// How far they agree.
    #[serde(flatten)]
    pub concord: Concord,
}

/// A reviewer beside the recorded verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RecordedAgreement {
    /// Who.
    pub reviewer: ActorId,
    /// How far their yes is a recorded pass, and their no is none.
    #[serde(flatten)]
    pub concord: Concord,
}

/// How far reviewers agree in one score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreAgreement {
    /// The score.
    pub name: String,
    /// Answers with two reviewers or more.
    pub items: usize,
    /// Krippendorff's alpha of all reviewers: of the same values, or of distances where the score is a number. Null where
    /// nothing says more than chance would.
    pub alpha: Option<f64>,
    /// Every two reviewers who rated the same answers.
    pub pairs: Vec<PairAgreement>,
    /// Each reviewer beside what was recorded; of a score that is yes or no.
    pub recorded: Vec<RecordedAgreement>,
}

/// The values of one score, by reviewer and answer.
type Given<'a> = BTreeMap<ActorId, BTreeMap<ExecutionId, &'a ScoreValue>>;

/// How far reviewers agree in each score; `recorded` says which answers passed.
#[must_use]
pub fn agreement(
    scores: &[ScoreConfig],
    scorings: &[Scoring],
    recorded: &BTreeMap<ExecutionId, bool>,
) -> Vec<ScoreAgreement> {
    scores.iter().map(|score| of_score(score, scorings, recorded)).collect()
}

fn of_score(score: &ScoreConfig, scorings: &[Scoring], recorded: &BTreeMap<ExecutionId, bool>) -> ScoreAgreement {
    let mut given = Given::new();
    for scoring in scorings {
        if let Some(value) = scoring.scores.get(&score.name) {
            given.entry(scoring.reviewer).or_default().insert(scoring.execution_id, value);
        }
    }
    let by_item = by_item(&given);
    let (scale, ratings) = match score.kind {
        ScoreKind::Numeric(_) => (Scale::Interval, by_item),
        ScoreKind::Boolean | ScoreKind::Categorical(_) => (Scale::Nominal, by_item),
    };
    ScoreAgreement {
        name: score.name.clone(),
        items: ratings.iter().filter(|ratings| ratings.len() > 1).count(),
        alpha: krippendorff_alpha(&ratings, scale),
        pairs: pairs(&given),
        recorded: if score.kind == ScoreKind::Boolean { with_recorded(&given, recorded) } else { Vec::new() },
    }
}

/// The ratings of each answer as numbers: words by their place among the words that were given.
fn by_item(given: &Given<'_>) -> Vec<Vec<f64>> {
    let keys: BTreeSet<String> = given.values().flat_map(BTreeMap::values).map(|value| key(value)).collect();
    let place = |value: &ScoreValue| match value {
        ScoreValue::Numeric(number) => *number,
        ScoreValue::Boolean(yes) => f64::from(u8::from(*yes)),
        ScoreValue::Category(_) => keys.range(..key(value)).map(|_| 1.0).sum(),
    };
    let mut items = BTreeMap::<ExecutionId, Vec<f64>>::new();
    for (id, value) in given.values().flatten() {
        items.entry(*id).or_default().push(place(value));
    }
    items.into_values().collect()
}

/// What makes two values the same.
fn key(value: &ScoreValue) -> String {
    match value {
        ScoreValue::Boolean(yes) => yes.to_string(),
        ScoreValue::Numeric(number) => number.to_string(),
        ScoreValue::Category(word) => word.clone(),
    }
}

fn pairs(given: &Given<'_>) -> Vec<PairAgreement> {
    let mut pairs = Vec::new();
    for (one, of_one) in given {
        for (other, of_other) in given.range((std::ops::Bound::Excluded(*one), std::ops::Bound::Unbounded)) {
            let both = of_one.iter().filter_map(|(id, value)| Some((key(value), key(of_other.get(id)?))));
            if let Some(concord) = concord(&both.collect::<Vec<_>>()) {
                pairs.push(PairAgreement { one: *one, other: *other, concord });
            }
        }
    }
    pairs
}

fn with_recorded(given: &Given<'_>, recorded: &BTreeMap<ExecutionId, bool>) -> Vec<RecordedAgreement> {
    let of = |reviewer: &ActorId, values: &BTreeMap<ExecutionId, &ScoreValue>| {
        let both = values.iter().filter_map(|(id, value)| Some((key(value), recorded.get(id)?.to_string())));
        let concord = concord(&both.collect::<Vec<_>>())?;
        Some(RecordedAgreement { reviewer: *reviewer, concord })
    };
    given.iter().filter_map(|(reviewer, values)| of(reviewer, values)).collect()
}

/// None where nothing was rated by both.
fn concord(both: &[(String, String)]) -> Option<Concord> {
    let agreed = both.iter().filter(|(one, other)| one == other).count();
    (!both.is_empty()).then(|| Concord { items: both.len(), agreed, kappa: cohens_kappa(both) })
}

#[cfg(test)]
mod tests {
    use pcs_domain::review::{Bounds, Categories, Scores};
    use uuid::Uuid;

    use super::*;

    fn scoring(id: u128, by: u128, scores: Scores) -> Scoring {
        Scoring { execution_id: ExecutionId(Uuid::from_u128(id)), reviewer: ActorId(Uuid::from_u128(by)), scores }
    }

    fn config(name: &str, kind: ScoreKind) -> ScoreConfig {
        ScoreConfig { name: name.to_owned(), description: String::new(), kind }
    }

    #[test]
    fn reviewers_are_compared_with_each_other_and_with_what_was_recorded() {
        let given = |right: bool, helpful: f64| {
            Scores::from([
                ("right".to_owned(), ScoreValue::Boolean(right)),
                ("helpful".to_owned(), ScoreValue::Numeric(helpful)),
            ])
        };
        let scorings = [
            scoring(1, 7, given(true, 1.0)),
            scoring(2, 7, given(true, 2.0)),
            scoring(3, 7, given(false, 3.0)),
            scoring(4, 7, given(false, 4.0)),
            scoring(1, 8, given(true, 1.0)),
            scoring(2, 8, given(false, 2.0)),
            scoring(3, 8, given(false, 3.0)),
        ];
        let recorded = (1..=4).map(|id| (ExecutionId(Uuid::from_u128(id)), id <= 2)).collect();
        let scores =
            [config("right", ScoreKind::Boolean), config("helpful", ScoreKind::Numeric(Bounds { min: 1.0, max: 5.0 }))];
        let [right, helpful] = &agreement(&scores, &scorings, &recorded)[..] else { panic!("two scores") };
        assert_eq!((right.items, right.pairs.len(), right.pairs[0].concord.items), (3, 1, 3));
        assert_eq!(right.pairs[0].concord.agreed, 2);
        // Two of three agree, where chance makes (2·1 + 1·2) / 9.
        assert!((right.pairs[0].concord.kappa.unwrap() - 0.4).abs() < 1e-12, "{right:?}");
        assert_eq!(right.recorded[0].concord.kappa, Some(1.0));
        assert_eq!((helpful.alpha, helpful.recorded.len()), (Some(1.0), 0));
    }

    #[test]
    fn nothing_is_made_of_answers_that_one_person_rated() {
        let words =
            config("tone", ScoreKind::Categorical(Categories { categories: vec!["a".to_owned(), "b".to_owned()] }));
        let one = scoring(1, 7, Scores::from([("tone".to_owned(), ScoreValue::Category("a".to_owned()))]));
        let [tone] = &agreement(&[words], &[one], &BTreeMap::new())[..] else { panic!("one score") };
        assert_eq!((tone.items, tone.alpha, tone.pairs.len(), tone.recorded.len()), (0, None, 0, 0));
    }
}
