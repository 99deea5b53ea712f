//! `llm-rubric`, `g-eval` and `model-graded-closedqa`: the judge says whether, or how well, an output meets a demand.

use serde::Deserialize;
use serde_json::Value;

use super::ask::{self, Exhibit};
use super::{Evidence, Next, Obstacle, OffSchema, Progress, Reply, reading};
use crate::assertion::{AssertionError, Finding, Source, resolved};
use crate::template::Template;

/// The share from which `g-eval` passes, where the assertion says nothing.
const G_EVAL_THRESHOLD: f64 = 0.7;
/// The scale on which `g-eval` lets the judge score.
const G_EVAL_SCALE: f64 = 10.0;
/// Most criteria of one `g-eval`: each costs two calls.
const CRITERIA_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Rubric,
    Geval,
    ClosedQuestion,
}

/// A demand in words.
#[derive(Debug)]
pub(super) struct Rubric {
    manner: Manner,
    criteria: Vec<Template>,
    own_words: Option<Template>,
    threshold: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    pass: bool,
    score: Option<f64>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    steps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scored {
    score: f64,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YesOrNo {
    answer: String,
    reason: String,
}

impl Rubric {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        let manner = match base {
            "g-eval" => Manner::Geval,
            "model-graded-closedqa" => Manner::ClosedQuestion,
            _ => Manner::Rubric,
        };
        let own_words = source.assertion.rubric_prompt.as_deref();
        let own_words = own_words.map(|text| source.own_words(ask::template(text))).transpose()?;
        let needs = if manner == Manner::Geval { "a criterion or a list of criteria" } else { "a demand in words" };
        let criteria: Vec<&Value> = match source.value() {
            Some(Value::Array(items))
                if manner == Manner::Geval && !items.is_empty() && items.len() <= CRITERIA_MAX =>
            {
                items.iter().collect()
            }
            Some(value @ Value::String(_)) => vec![value],
            // The author's own words may say it all.
            None if own_words.is_some() => Vec::new(),
            Some(_) | None => return Err(source.wrong_value(needs)),
        };
        let criteria = criteria.into_iter().map(|value| source.text(value, needs)).collect::<Result<Vec<_>, _>>()?;
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        Ok(Self { manner, criteria, own_words, threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        match self.manner {
            Manner::Rubric => self.rubric(evidence, replies),
            Manner::ClosedQuestion => self.closed_question(evidence, replies),
            Manner::Geval => self.g_eval(evidence, replies),
        }
    }

    fn criterion(&self, number: usize, evidence: Evidence<'_>) -> Result<String, Obstacle> {
        let Some(template) = self.criteria.get(number) else { return Ok(String::new()) };
        resolved(template, evidence.variables).map(std::borrow::Cow::into_owned).map_err(Obstacle::Lacking)
    }

    fn rubric(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let rubric = self.criterion(0, evidence)?;
            if let Some(words) = &self.own_words {
                return ask::of_template(words, evidence, &[("rubric", &rubric)]).map(Progress::Ask);
            }
            let instructions = "You grade the output of a language model by a rubric. `pass` says whether the output \
                                meets the rubric, `score` from 0 to 1 how well, `reason` why in one sentence.";
            let form = r#"{"reason": string, "pass": boolean, "score": number from 0 to 1}"#;
            let exhibits =
                [Exhibit { name: "output", text: evidence.output }, Exhibit { name: "rubric", text: &rubric }];
            return Ok(Progress::Ask(ask::chat(instructions, form, &exhibits)));
        };
        let judgement: Judgement = reading::object(reply)?;
        let score = reading::share(judgement.score.unwrap_or(if judgement.pass { 1.0 } else { 0.0 }))?;
        let holds = judgement.pass && self.threshold.is_none_or(|least| score >= least);
        Ok(Progress::Known(Finding { holds, fact: judgement.reason }, score))
    }

    fn closed_question(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let criterion = self.criterion(0, evidence)?;
            if let Some(words) = &self.own_words {
                let more = [("criteria", criterion.as_str()), ("criterion", criterion.as_str())];
                return ask::of_template(words, evidence, &more).map(Progress::Ask);
            }
            let instructions = "You compare the output of a language model with a criterion. `answer` is \"Y\" where \
                                the output meets the criterion, else \"N\"; `reason` says why in one sentence.";
            let form = r#"{"reason": string, "answer": "Y" or "N"}"#;
            let exhibits =
                [Exhibit { name: "output", text: evidence.output }, Exhibit { name: "criterion", text: &criterion }];
            return Ok(Progress::Ask(ask::chat(instructions, form, &exhibits)));
        };
        let said: YesOrNo = reading::object(reply)?;
        let holds = match said.answer.as_str() {
            "Y" => true,
            "N" => false,
            other => return Err(OffSchema(format!("the answer {other:?} is neither \"Y\" nor \"N\"")).into()),
        };
        Ok(Progress::Known(Finding { holds, fact: said.reason }, if holds { 1.0 } else { 0.0 }))
    }

    /// Two calls for each criterion: steps by which to judge, and a score by these steps.
    fn g_eval(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let (number, within) = (replies.len() / 2, replies.len() % 2);
        if number < self.criteria.len().max(1) {
            let criterion = self.criterion(number, evidence)?;
            let question = match (within, replies.last()) {
                (1, Some(reply)) => {
                    let Steps { steps } = reading::object(reply)?;
                    self.scoring(evidence, &criterion, &steps)?
                }
                _ => planning(&criterion),
            };
            return Ok(Progress::Ask(question));
        }
        let mut scores = Vec::new();
        let mut reasons = Vec::new();
        for reply in replies.iter().skip(1).step_by(2) {
            let scored: Scored = reading::object(reply)?;
            scores.push(reading::share(scored.score / G_EVAL_SCALE)?);
            reasons.push(scored.reason);
        }
        #[expect(clippy::cast_precision_loss, reason = "there are few criteria")]
        let score = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        let holds = score >= self.threshold.unwrap_or(G_EVAL_THRESHOLD);
        Ok(Progress::Known(Finding { holds, fact: reasons.join("; ") }, score))
    }

    fn scoring(&self, evidence: Evidence<'_>, criterion: &str, steps: &[String]) -> Result<super::Question, Obstacle> {
        let steps = steps.join("\n");
        if let Some(words) = &self.own_words {
            return ask::of_template(words, evidence, &[("criteria", criterion), ("steps", &steps)]);
        }
        let instructions = "You score the output of a language model by a criterion, following the evaluation steps. \
                            `score` is a whole number from 0 (not at all) to 10 (fully), `reason` says why in one \
                            sentence.";
        let form = r#"{"reason": string, "score": number from 0 to 10}"#;
        let exhibits = [
            Exhibit { name: "output", text: evidence.output },
            Exhibit { name: "criterion", text: criterion },
            Exhibit { name: "steps", text: &steps },
        ];
        Ok(ask::chat(instructions, form, &exhibits))
    }
}

fn planning(criterion: &str) -> super::Question {
    let instructions = "You are given a criterion by which the output of a language model will be judged. Write 3 or 4 \
                        short evaluation steps that say how to measure whether an output meets it.";
    ask::chat(instructions, r#"{"steps": [string, …]}"#, &[Exhibit { name: "criterion", text: criterion }])
}
