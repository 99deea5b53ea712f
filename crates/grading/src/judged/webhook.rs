//! `webhook`: a server of the author's says whether the output is right.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Evidence, Next, Obstacle, Progress, Question, Reply, reading};
use crate::assertion::{AssertionError, Finding, Source, resolved};
use crate::excerpt::cut;
use crate::template::Template;

const NEEDS: &str = "the URL of a server";

/// Where the output is sent.
#[derive(Debug)]
pub(super) struct Webhook {
    url: Template,
    threshold: Option<f64>,
}

/// What the server answers; it may say more, which nobody asked for.
#[derive(Deserialize)]
struct Answer {
    pass: bool,
    score: Option<f64>,
    reason: Option<String>,
}

impl Webhook {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        let Some(value @ Value::String(url)) = source.value() else { return Err(source.wrong_value(NEEDS)) };
        if url.trim().is_empty() {
            return Err(source.wrong_value(NEEDS));
        }
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        Ok(Self { url: source.text(value, NEEDS)?, threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let url = resolved(&self.url, evidence.variables).map_err(Obstacle::Lacking)?.into_owned();
            let body = json!({ "output": evidence.output, "context": { "vars": evidence.variables } });
            return Ok(Progress::Ask(Question::Post { url, body }));
        };
        let answer: Answer = reading::object(reply)?;
        let score = reading::share(answer.score.unwrap_or(if answer.pass { 1.0 } else { 0.0 }))?;
        let holds = answer.pass && self.threshold.is_none_or(|least| score >= least);
        let fact = answer.reason.map_or_else(|| format!("the server said pass: {}", answer.pass), |said| cut(&said));
        Ok(Progress::Known(Finding { holds, fact }, score))
    }
}
