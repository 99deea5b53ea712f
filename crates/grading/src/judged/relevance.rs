//! `answer-relevance`: whether an output answers what was asked, by how near the questions that it answers are to it.

use serde::Deserialize;

use super::ask::{self, Exhibit};
use super::similarity::{cosine, split};
use super::{Evidence, Next, OffSchema, Progress, Question, Reply, context, reading};
use crate::assertion::{AssertionError, Finding, Source};

/// Questions that the judge finds for an output.
const QUESTIONS: usize = 3;
const INSTRUCTIONS: &str = "You are given the output of a language model. `questions` are 3 different questions that it \
                            could be the answer to; `noncommittal` is true where the output is evasive or says that it \
                            does not know, else false.";
const FORM: &str = r#"{"questions": [string, string, string], "noncommittal": boolean}"#;

/// A demand that the output is about the question, which is the case's variable `query`.
#[derive(Debug)]
pub(super) struct Relevance {
    threshold: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    questions: Vec<String>,
    noncommittal: bool,
}

impl Relevance {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        source.no_value("the question is the case's variable `query`")?;
        let threshold = source.assertion.threshold.map_or(Ok(0.0), |_| source.threshold())?;
        Ok(Self { threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let query = context::variable(evidence, "query")?;
        let Some(first) = replies.first() else {
            let exhibits = [Exhibit { name: "output", text: evidence.output }];
            return Ok(Progress::Ask(ask::chat(INSTRUCTIONS, FORM, &exhibits)));
        };
        let found: Found = reading::object(first)?;
        if found.questions.len() != QUESTIONS {
            return Err(OffSchema(format!("{} questions instead of {QUESTIONS}", found.questions.len())).into());
        }
        let Some(second) = replies.get(1) else {
            let texts = std::iter::once(query).chain(found.questions).collect();
            return Ok(Progress::Ask(Question::Vectors(texts)));
        };
        let (asked, questions) = split(second, QUESTIONS + 1)?;
        #[expect(clippy::cast_precision_loss, reason = "there are three")]
        let mean = questions.iter().map(|question| cosine(asked, question)).sum::<f64>() / QUESTIONS as f64;
        let score = if found.noncommittal { 0.0 } else { mean.clamp(0.0, 1.0) };
        let evasive = if found.noncommittal { ", for the output is noncommittal" } else { "" };
        let fact = format!("its relevance is {score:.4}{evasive}, and the threshold {}", self.threshold);
        Ok(Progress::Known(Finding { holds: score >= self.threshold, fact }, score))
    }
}
