//! Assertions that ask a model: what it is asked, and what its answers mean. The asking itself is done elsewhere.
//!
//! A rule is a function of the answers so far: [`Step::Ask`] until it knows enough, then [`Step::Done`]. Whoever asks
//! keeps what was said; nothing here depends on a clock, on chance or on a network.

mod ask;
mod category;
mod classes;
mod context;
mod reading;
mod relevance;
mod rubric;
mod similarity;
mod webhook;
#[cfg(test)]
mod tests;

use pcs_domain::model::ModelSpec;
use serde_json::{Map, Value};

use self::category::Category;
use self::classes::Classes;
use self::context::Context;
use self::relevance::Relevance;
use self::rubric::Rubric;
use self::similarity::Similarity;
use self::webhook::Webhook;
use crate::assertion::{AssertionError, Finding, Reached, Source, Subject};

/// The kinds that ask a model; each can have `not-` in front.
pub(crate) const KINDS: [&str; 16] = [
    "llm-rubric",
    "g-eval",
    "model-graded-closedqa",
    "factuality",
    "model-graded-factuality",
    "answer-relevance",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "similar",
    "similar:cosine",
    "similar:dot",
    "similar:euclidean",
    "moderation",
    "classifier",
    "webhook",
];

/// Who moderates where the assertion names nobody.
const MODERATION_MODEL: &str = "openai:omni-moderation-latest";

/// What a judge is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// A text, or a chat as a JSON list of messages, for a chat model.
    Chat(String),
    /// Texts, for a model that makes vectors of them.
    Vectors(Vec<String>),
    /// A text, for a model that sorts texts into classes.
    Classes(String),
    /// An object, for a server of the author's.
    Post {
        /// Where it goes.
        url: String,
        /// What is sent.
        body: Value,
    },
}

/// What a judge said.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The answer to [`Question::Chat`], or to [`Question::Post`].
    Text(String),
    /// The answer to [`Question::Vectors`]: one vector per text, all of the same length.
    Vectors(Vec<Vec<f32>>),
    /// The answer to [`Question::Classes`].
    Classes(Vec<Class>),
}

/// A class that a text may belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// How sure the model is that it does, from 0 to 1.
    pub score: f64,
    /// Whether a moderation says that it does.
    pub flagged: bool,
}

/// Why a judge's answer is none: it is not of the form that was asked for. Never a verdict, and least of all a pass.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the judge's answer is not of the form that it was asked for: {0}")]
pub struct OffSchema(pub String);

/// What a rule does next.
pub(crate) enum Progress {
    Ask(Question),
    /// It knows enough: whether the demand holds, how well from 0 to 1, and why.
    Known(Finding, f64),
}

/// What is looked at: the output, and what the case says about it.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) output: &'a str,
    /// What the model said, before the assertion's transform.
    pub(crate) said: &'a Subject<'a>,
    pub(crate) variables: &'a Map<String, Value>,
}

/// Why there is no next step.
pub(crate) enum Obstacle {
    /// The judge's answer is none; it may be asked again.
    OffSchema(OffSchema),
    /// The case lacks something: the verdict is failed, with `not-` and without.
    Lacking(String),
}

impl From<OffSchema> for Obstacle {
    fn from(error: OffSchema) -> Self {
        Self::OffSchema(error)
    }
}

type Next = Result<Progress, Obstacle>;

/// A kind that asks a model, compiled.
#[derive(Debug)]
pub(crate) struct Judged {
    judge: Option<ModelSpec>,
    embedder: Option<ModelSpec>,
    sorter: Option<ModelSpec>,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Rubric(Rubric),
    Category(Category),
    Context(Context),
    Relevance(Relevance),
    Similarity(Similarity),
    Classes(Classes),
    Webhook(Webhook),
}

impl Judged {
    /// Compiles an assertion of one of [`KINDS`].
    pub(crate) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let mut judge = source.assertion.provider.as_deref().cloned();
        let mut embedder = source.setting::<ModelSpec>("embedder")?;
        let mut sorter = None;
        let rule = match base {
            "factuality" | "model-graded-factuality" => Rule::Category(Category::compile(source)?),
            "answer-relevance" => Rule::Relevance(Relevance::compile(source)?),
            "context-faithfulness" | "context-recall" | "context-relevance" => {
                Rule::Context(Context::compile(source, base)?)
            }
            "similar" | "similar:cosine" | "similar:dot" | "similar:euclidean" => {
                // Its provider is no judge: it makes vectors.
                embedder = embedder.or_else(|| judge.take());
                Rule::Similarity(Similarity::compile(source, base)?)
            }
            "moderation" => {
                sorter = Some(judge.take().unwrap_or_else(|| ModelSpec::of_id(MODERATION_MODEL)));
                Rule::Classes(Classes::moderation(source)?)
            }
            "classifier" => {
                sorter = Some(judge.take().ok_or_else(|| source.lacks_sorter())?);
                Rule::Classes(Classes::classifier(source)?)
            }
            "webhook" if judge.is_some() => return Err(source.asks_a_server()),
            "webhook" => Rule::Webhook(Webhook::compile(source)?),
            _ => Rule::Rubric(Rubric::compile(source, base)?),
        };
        let needs_embedder = matches!(rule, Rule::Relevance(_) | Rule::Similarity(_));
        if needs_embedder && embedder.is_none() {
            return Err(source.lacks_embedder());
        }
        Ok(Self { judge, embedder, sorter, rule })
    }

    /// Whether it asks a chat model and names none of its own.
    pub(crate) fn needs_grader(&self) -> bool {
        self.judge.is_none() && !matches!(self.rule, Rule::Similarity(_) | Rule::Classes(_) | Rule::Webhook(_))
    }

    /// Who is asked, where the assertion says so.
    fn asked(&self, question: &Question) -> Option<&ModelSpec> {
        match question {
            Question::Chat(_) => self.judge.as_ref(),
            Question::Vectors(_) => self.embedder.as_ref(),
            Question::Classes(_) => self.sorter.as_ref(),
            Question::Post { .. } => None,
        }
    }

    /// Whether it runs users' code.
    pub(crate) fn runs_code(&self) -> bool {
        matches!(&self.rule, Rule::Context(rule) if rule.runs_code())
    }

    /// The models that it names.
    pub(crate) fn models(&self) -> Vec<&ModelSpec> {
        [&self.judge, &self.embedder, &self.sorter].into_iter().flatten().collect()
    }

    /// How far it has come with these replies.
    pub(crate) fn reached(
        &self,
        subject: &Subject<'_>,
        said: &Subject<'_>,
        replies: &[Reply],
    ) -> Result<Reached, OffSchema> {
        let evidence = Evidence { output: subject.output, said, variables: subject.variables };
        match self.next(evidence, replies) {
            Ok(Progress::Ask(question)) => {
                let judge = self.asked(&question).cloned().map(Box::new);
                Ok(Reached::Ask(question, judge))
            }
            Ok(Progress::Known(finding, score)) => Ok(Reached::Found(Ok(finding), Some(score))),
            Err(Obstacle::Lacking(why)) => Ok(Reached::Found(Err(why), None)),
            Err(Obstacle::OffSchema(error)) => Err(error),
        }
    }

    fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        match &self.rule {
            Rule::Rubric(rule) => rule.next(evidence, replies),
            Rule::Category(rule) => rule.next(evidence, replies),
            Rule::Context(rule) => rule.next(evidence, replies),
            Rule::Relevance(rule) => rule.next(evidence, replies),
            Rule::Similarity(rule) => rule.next(evidence, replies),
            Rule::Classes(rule) => rule.next(evidence, replies),
            Rule::Webhook(rule) => rule.next(evidence, replies),
        }
    }
}
