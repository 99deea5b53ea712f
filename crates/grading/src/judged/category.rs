//! `factuality`: the judge says how the facts of an output relate to those of a reference, in one of five categories.

use serde::Deserialize;

use super::ask::{self, Exhibit};
use super::{Evidence, Next, Obstacle, OffSchema, Progress, Reply, reading};
use crate::assertion::{AssertionError, Finding, Source, resolved};
use crate::template::Template;

const INSTRUCTIONS: &str = "You compare the facts in the output of a language model with those in a reference answer; style, grammar and \
     punctuation don't matter. `category` is one of:\n\
     A: the facts of the output are a subset of those of the reference and agree with it.\n\
     B: the facts of the output are a superset of those of the reference and agree with it.\n\
     C: the output has all the facts of the reference, and no others.\n\
     D: the output and the reference disagree about a fact.\n\
     E: they differ, and the difference does not matter for the facts.\n\
     `reason` says why in one sentence.";

/// What each category is worth, unless the assertion says otherwise: only a disagreement is wrong.
const SCORES: [(&str, &str, f64); 5] = [
    ("A", "subset", 1.0),
    ("B", "superset", 1.0),
    ("C", "agree", 1.0),
    ("D", "disagree", 0.0),
    ("E", "differ_but_factual", 1.0),
];

/// A reference answer, and what each category is worth.
#[derive(Debug)]
pub(super) struct Category {
    reference: Template,
    own_words: Option<Template>,
    scores: [f64; 5],
    threshold: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    category: String,
    reason: String,
}

impl Category {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        let needs = "the reference answer";
        let reference = source.value().ok_or_else(|| source.wrong_value(needs))?;
        let own_words = source.assertion.rubric_prompt.as_deref();
        let own_words = own_words.map(|text| source.own_words(ask::template(text))).transpose()?;
        let mut scores = SCORES.map(|(_, _, score)| score);
        for (index, (_, name, _)) in SCORES.iter().enumerate() {
            if let Some(score) = source.setting::<f64>(name)? {
                scores[index] = source.not_negative("config", score)?.min(1.0);
            }
        }
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        Ok(Self { reference: source.text(reference, needs)?, own_words, scores, threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let reference = resolved(&self.reference, evidence.variables).map_err(Obstacle::Lacking)?;
            if let Some(words) = &self.own_words {
                let more =
                    [("ideal", reference.as_ref()), ("reference", reference.as_ref()), ("completion", evidence.output)];
                return ask::of_template(words, evidence, &more).map(Progress::Ask);
            }
            let exhibits =
                [Exhibit { name: "output", text: evidence.output }, Exhibit { name: "reference", text: &reference }];
            let form = r#"{"reason": string, "category": "A", "B", "C", "D" or "E"}"#;
            return Ok(Progress::Ask(ask::chat(INSTRUCTIONS, form, &exhibits)));
        };
        let chosen: Chosen = reading::object(reply)?;
        let index = SCORES.iter().position(|(letter, _, _)| *letter == chosen.category);
        let index = index.ok_or_else(|| OffSchema(format!("there is no category {:?}", chosen.category)))?;
        let (score, name) = (self.scores[index], SCORES[index].1);
        let holds = self.threshold.map_or(score > 0.0, |least| score >= least);
        let fact = format!("{} ({}): {}", chosen.category, name.replace('_', " "), chosen.reason);
        Ok(Progress::Known(Finding { holds, fact }, score))
    }
}
