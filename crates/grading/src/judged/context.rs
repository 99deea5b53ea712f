//! `context-faithfulness`, `context-recall` and `context-relevance`: how an output, a truth and a question relate to what
//! was retrieved.

use serde::Deserialize;
use serde_json::Value;

use super::ask::{self, Exhibit};
use super::{Evidence, Next, Obstacle, OffSchema, Progress, Reply, reading};
use crate::assertion::{AssertionError, Finding, Source, Transform, resolved};
use crate::template::Template;

/// Most statements or sentences that a judge is asked about at once.
const PARTS_MAX: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Which statements of the output follow from the context?
    Faithfulness,
    /// Which sentences of the truth follow from the context?
    Recall,
    /// Which sentences of the context help to answer the question?
    Relevance,
}

/// A demand on what was retrieved.
#[derive(Debug)]
pub(super) struct Context {
    manner: Manner,
    truth: Option<Template>,
    threshold: f64,
    /// Takes the context out of what the model said; else it is the case's variable.
    transform: Option<Transform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    statements: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Supported {
    supported: Vec<bool>,
}

impl Context {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        let manner = match base {
            "context-recall" => Manner::Recall,
            "context-relevance" => Manner::Relevance,
            _ => Manner::Faithfulness,
        };
        let needs = "the truth that the context should hold";
        let truth = match (manner, source.value()) {
            (Manner::Recall, Some(value)) => Some(source.text(value, needs)?),
            (Manner::Recall, None) => return Err(source.wrong_value(needs)),
            (Manner::Faithfulness | Manner::Relevance, _) => {
                source.no_value("the question and the context are the case's variables `query` and `context`")?;
                None
            }
        };
        let threshold = source.assertion.threshold.map_or(Ok(0.0), |_| source.threshold())?;
        let transform = source.setting::<String>("context_transform")?;
        let transform = transform.map(|code| source.code(Transform::compile(&code))).transpose()?;
        Ok(Self { manner, truth, threshold, transform })
    }

    pub(super) fn runs_code(&self) -> bool {
        self.transform.is_some()
    }

    fn context(&self, evidence: Evidence<'_>) -> Result<String, Obstacle> {
        let Some(transform) = &self.transform else { return variable(evidence, "context") };
        let made = transform.apply(evidence.said.seen(), evidence.variables).map_err(Obstacle::Lacking)?;
        let value: Option<Value> = if made.is_value { serde_json::from_str(&made.text).ok() } else { None };
        let text = value.as_ref().map_or_else(|| made.text.into_owned(), text_of);
        if matches!(value, Some(Value::Null)) || text.trim().is_empty() {
            return Err(Obstacle::Lacking("its context_transform made nothing of the output".to_owned()));
        }
        Ok(text)
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let context = self.context(evidence)?;
        match self.manner {
            Manner::Faithfulness => self.faithfulness(evidence, &context, replies),
            Manner::Recall => {
                let truth = self.truth.as_ref().map(|truth| resolved(truth, evidence.variables)).transpose();
                let truth = truth.map_err(Obstacle::Lacking)?.unwrap_or_default();
                self.marked(&sentences(&truth), RECALL, &Exhibit { name: "context", text: &context }, replies)
            }
            Manner::Relevance => {
                let query = variable(evidence, "query")?;
                self.marked(&sentences(&context), RELEVANCE, &Exhibit { name: "question", text: &query }, replies)
            }
        }
    }

    /// Two calls: which statements the output makes, and which of them the context supports.
    fn faithfulness(&self, evidence: Evidence<'_>, context: &str, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let query = variable(evidence, "query")?;
            let exhibits =
                [Exhibit { name: "question", text: &query }, Exhibit { name: "output", text: evidence.output }];
            return Ok(Progress::Ask(ask::chat(STATEMENTS, r#"{"statements": [string, …]}"#, &exhibits)));
        };
        let Statements { statements } = reading::object(reply)?;
        if statements.is_empty() {
            let fact = "the output makes no statement".to_owned();
            return Ok(Progress::Known(Finding { holds: 0.0 >= self.threshold, fact }, 0.0));
        }
        if statements.len() > PARTS_MAX {
            return Err(OffSchema(format!("more than {PARTS_MAX} statements")).into());
        }
        self.marked(&statements, FAITHFUL, &Exhibit { name: "context", text: context }, &replies[1..])
    }

    /// One call about numbered parts, each of which is said to hold or not; the score is the share of those that do.
    fn marked(&self, parts: &[String], instructions: &str, against: &Exhibit<'_>, replies: &[Reply]) -> Next {
        if parts.is_empty() {
            return Err(Obstacle::Lacking("there is no sentence to look at".to_owned()));
        }
        let Some(reply) = replies.first() else {
            let numbered: Vec<String> =
                (1..).zip(parts).map(|(number, part): (usize, _)| format!("{number}. {part}")).collect();
            let numbered = numbered.join("\n");
            let exhibits =
                [Exhibit { name: against.name, text: against.text }, Exhibit { name: "sentences", text: &numbered }];
            return Ok(Progress::Ask(ask::chat(
                instructions,
                r#"{"supported": [boolean for each sentence]}"#,
                &exhibits,
            )));
        };
        let Supported { supported } = reading::object(reply)?;
        if supported.len() != parts.len() {
            let message = format!("{} truth values for {} sentences", supported.len(), parts.len());
            return Err(OffSchema(message).into());
        }
        let good = supported.iter().filter(|holds| **holds).count();
        #[expect(clippy::cast_precision_loss, reason = "there are few sentences")]
        let score = good as f64 / parts.len() as f64;
        let fact = format!("{good} of {} sentences", parts.len());
        Ok(Progress::Known(Finding { holds: score >= self.threshold, fact }, score))
    }
}

const STATEMENTS: &str = "You take the output of a language model apart, which answers a question. `statements` are the \
                          factual statements that the output makes, each as a sentence that can be understood alone.";
const FAITHFUL: &str = "You are given a context and numbered sentences. `supported` has for each sentence, in their \
                        order, true where it can be inferred from the context, else false.";
const RECALL: &str = "You are given a context and numbered sentences that are true. `supported` has for each sentence, in \
                      their order, true where the context says it, else false.";
const RELEVANCE: &str = "You are given a question and numbered sentences that were retrieved for it. `supported` has for \
                         each sentence, in their order, true where it is needed to answer the question, else false.";

/// A variable of the case as a text.
pub(super) fn variable(evidence: Evidence<'_>, name: &str) -> Result<String, Obstacle> {
    match evidence.variables.get(name) {
        Some(value) if !value.is_null() => Ok(text_of(value)),
        Some(_) | None => Err(Obstacle::Lacking(format!("the case has no variable `{name}`"))),
    }
}

/// A value as a text; of several pieces that were retrieved, each on a line of its own.
fn text_of(value: &Value) -> String {
    let printed = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(items) => items.iter().map(printed).collect::<Vec<_>>().join("\n"),
        value => printed(value),
    }
}

/// The sentences of a text: up to a full stop, a question or exclamation mark before white space, or to the line's end.
fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        let mut characters = line.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            let ends =
                matches!(character, '.' | '!' | '?') && characters.peek().is_none_or(|(_, next)| next.is_whitespace());
            if ends {
                found.push(line[start..=index].trim().to_owned());
                start = index + 1;
            }
        }
        found.push(line[start..].trim().to_owned());
    }
    found.retain(|sentence| !sentence.is_empty());
    found.truncate(PARTS_MAX);
    found
}
