//! Assertions: each kind of demand, compiled once and then asked about each output.

mod count;
mod edits;
mod ending;
mod equality;
mod json;
mod measure;
mod numeric;
mod overlap;
mod pattern;
mod source;
mod wording;
#[cfg(test)]
mod tests;

use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::execution::Answer;
use pcs_domain::model::ModelSpec;
use serde_json::{Map, Value};

use self::count::WordCount;
use self::edits::Edits;
use self::ending::Ending;
use self::equality::Equality;
use self::json::JsonDemand;
use self::measure::Measure;
use self::numeric::Numeric;
use self::overlap::Overlap;
use self::pattern::Pattern;
pub(crate) use self::source::{Source, resolved};
use self::wording::Wording;
use crate::excerpt::cut;
use crate::judged::{self, Evidence, Judged, Obstacle, OffSchema, Progress, Question, Reply};
use crate::template::TemplateError;

/// Every kind of assertion; each can have `not-` in front.
pub const KNOWN_KINDS: &[&str] = &[
    "equals",
    "contains",
    "icontains",
    "contains-any",
    "contains-all",
    "icontains-any",
    "icontains-all",
    "starts-with",
    "regex",
    "is-json",
    "contains-json",
    "numeric",
    "latency",
    "cost",
    "word-count",
    "levenshtein",
    "rouge-n",
    "bleu",
    "gleu",
    "finish-reason",
    "is-refusal",
    // These ask a model.
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
];
/// What turns a kind round.
const NOT: &str = "not-";
/// How many letters a misspelt kind may be off to be recognised.
const MISSPELT_MAX: usize = 3;

/// What assertions are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The model's answer.
    pub output: &'a str,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// What it cost, in millionths of a US dollar, where that is known.
    pub cost_micro_usd: Option<u64>,
    /// Why the answer ended, where the model says so.
    pub finish_reason: Option<&'a str>,
    /// The case's input, with `expected_output`; see [`crate::variables`].
    pub variables: &'a Map<String, Value>,
}

impl<'a> Subject<'a> {
    /// A model's answer, and the case's variables.
    #[must_use]
    pub fn of(answer: &'a Answer, variables: &'a Map<String, Value>) -> Self {
        Self {
            output: &answer.output,
            latency_ms: answer.latency_ms,
            cost_micro_usd: answer.cost_micro_usd,
            finish_reason: answer.finish_reason.as_deref(),
            variables,
        }
    }
}

/// Why an assertion can't be used; found before a run starts, as far as no variable is needed to see it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AssertionError {
    /// No such kind.
    #[error("there is no assertion type {kind:?}; {}", mend(.nearest.as_deref()))]
    UnknownKind {
        /// The kind asked for.
        kind: String,
        /// The kind that was probably meant.
        nearest: Option<String>,
    },
    /// The value is absent or of the wrong type.
    #[error("{kind} needs {needs} as its value, and has {given}")]
    WrongValue {
        /// The kind.
        kind: String,
        /// What it needs.
        needs: &'static str,
        /// What it has.
        given: String,
    },
    /// A field that the kind has no use for: it would be ignored, and its author would not know.
    #[error("{kind} has no {field}; {instead}")]
    Superfluous {
        /// The kind.
        kind: String,
        /// The field.
        field: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// A number is absent or out of its range.
    #[error("the {field} of {kind} must be a number, 0 or more")]
    OutOfRange {
        /// The kind.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// A regular expression can't be used.
    #[error("the regular expression {pattern} can't be used: {why}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A JSON Schema can't be used.
    #[error("the value of {kind} can't be used as a JSON Schema: {why}")]
    Schema {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that is a template can't be parsed.
    #[error("the value of {kind} is a template that can't be used: {source}")]
    Template {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// It compares meanings, and names no model that makes vectors of texts.
    #[error(
        "{kind} needs a model that makes vectors of texts, as `config: {{ embedder: {{ id: \"openai:text-embedding-3-small\" }} }}`"
    )]
    NoEmbedder {
        /// The kind.
        kind: String,
    },
    /// A setting of its `config` is of the wrong type.
    #[error("`config.{name}` of {kind} can't be used: {why}")]
    Setting {
        /// The kind.
        kind: String,
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// One of several can't be used.
    #[error("assertion {number}: {source}")]
    Numbered {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<AssertionError>,
    },
}

fn mend(nearest: Option<&str>) -> String {
    match nearest {
        Some(kind) => format!("did you mean {kind:?}?"),
        None => format!("there are {}, each also with {NOT} in front", KNOWN_KINDS.join(", ")),
    }
}

/// An assertion that is checked and compiled.
#[derive(Debug)]
pub struct Check {
    kind: String,
    negated: bool,
    weight: f64,
    metric: Option<String>,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Equality(Equality),
    Wording(Wording),
    Pattern(Pattern),
    Json(JsonDemand),
    Numeric(Numeric),
    Measure(Measure),
    WordCount(WordCount),
    Edits(Edits),
    Overlap(Overlap),
    Ending(Ending),
    Judged(Box<Judged>),
}

/// What an assertion needs next, to come to its verdict.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A model's answer.
    Ask(Question),
    /// Nothing more.
    Done(Verdict),
}

/// What a rule says about an output: whether it holds, and the fact that decided it, true with `not-` and without.
pub(crate) struct Finding {
    pub(crate) holds: bool,
    pub(crate) fact: String,
}

/// A finding, or why there is none: then the verdict is failed, with `not-` and without.
type Evaluation = Result<Finding, String>;

impl Check {
    /// Checks and compiles an assertion.
    ///
    /// # Errors
    /// [`AssertionError`], written for the assertion's author.
    pub fn compile(assertion: &Assertion) -> Result<Self, AssertionError> {
        let (negated, base) = match assertion.kind.strip_prefix(NOT) {
            Some(base) => (true, base),
            None => (false, assertion.kind.as_str()),
        };
        let source = Source { assertion };
        let rule = match base {
            "equals" => Rule::Equality(Equality::compile(&source)?),
            "contains" | "icontains" | "contains-any" | "contains-all" | "icontains-any" | "icontains-all"
            | "starts-with" => Rule::Wording(Wording::compile(&source, base)?),
            "regex" => Rule::Pattern(Pattern::compile(&source)?),
            "is-json" => Rule::Json(JsonDemand::whole(&source)?),
            "contains-json" => Rule::Json(JsonDemand::within(&source)?),
            "numeric" => Rule::Numeric(Numeric::compile(&source)?),
            "latency" => Rule::Measure(Measure::latency(&source)?),
            "cost" => Rule::Measure(Measure::cost(&source)?),
            "word-count" => Rule::WordCount(WordCount::compile(&source)?),
            "levenshtein" => Rule::Edits(Edits::compile(&source)?),
            "rouge-n" | "bleu" | "gleu" => Rule::Overlap(Overlap::compile(&source, base)?),
            "finish-reason" => Rule::Ending(Ending::reason(&source)?),
            "is-refusal" => Rule::Ending(Ending::refusal(&source)?),
            _ if judged::KINDS.contains(&base) => Rule::Judged(Box::new(Judged::compile(&source, base)?)),
            _ => return Err(unknown(&assertion.kind, base)),
        };
        if !matches!(rule, Rule::Judged(_)) {
            source.asks_nobody()?;
        }
        let weight = source.not_negative("weight", assertion.weight)?;
        Ok(Self { kind: assertion.kind.clone(), negated, weight, metric: assertion.metric.clone(), rule })
    }

    /// Checks and compiles a list of assertions.
    ///
    /// # Errors
    /// [`AssertionError::Numbered`] for the first that can't be used.
    pub fn compile_all(assertions: &[Assertion]) -> Result<Vec<Self>, AssertionError> {
        let compiled = assertions.iter().enumerate().map(|(index, assertion)| {
            Self::compile(assertion)
                .map_err(|source| AssertionError::Numbered { number: index + 1, source: Box::new(source) })
        });
        compiled.collect()
    }

    /// Whether a model has to be asked before there is a verdict.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        matches!(self.rule, Rule::Judged(_))
    }

    /// Whether it needs the run's grader: it asks a model, and names none of its own.
    #[must_use]
    pub fn needs_grader(&self) -> bool {
        matches!(&self.rule, Rule::Judged(rule) if rule.needs_grader())
    }

    /// The model that the assertion names for a question; the run's grader where it names none.
    #[must_use]
    pub fn judge(&self, question: &Question) -> Option<&ModelSpec> {
        match &self.rule {
            Rule::Judged(rule) => rule.asked(question),
            _ => None,
        }
    }

    /// What the assertion needs after these replies, the first of which answers its first question.
    ///
    /// # Errors
    /// [`OffSchema`] where the last reply is not of the form that was asked for; the question may be asked again.
    pub fn step(&self, subject: &Subject<'_>, replies: &[Reply]) -> Result<Step, OffSchema> {
        let Rule::Judged(rule) = &self.rule else { return Ok(Step::Done(self.verdict(subject))) };
        let evidence = Evidence { output: subject.output, variables: subject.variables };
        match rule.next(evidence, replies) {
            Ok(Progress::Ask(question)) => Ok(Step::Ask(question)),
            Ok(Progress::Known(finding, score)) => Ok(Step::Done(self.concluded(Ok(finding), Some(score)))),
            Err(Obstacle::Lacking(why)) => Ok(Step::Done(self.concluded(Err(why), None))),
            Err(Obstacle::OffSchema(error)) => Err(error),
        }
    }

    /// What the assertion says about an output; what can't be evaluated is a failed verdict that says why.
    #[must_use]
    pub fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        // Of kinds that measure how well; the others hold or not.
        let mut measured = None;
        let evaluation = match &self.rule {
            Rule::Equality(rule) => rule.evaluate(subject),
            Rule::Wording(rule) => rule.evaluate(subject),
            Rule::Pattern(rule) => rule.evaluate(subject),
            Rule::Json(rule) => rule.evaluate(subject),
            Rule::Numeric(rule) => rule.evaluate(subject),
            Rule::Measure(rule) => rule.evaluate(subject),
            Rule::WordCount(rule) => rule.evaluate(subject),
            Rule::Edits(rule) => rule.evaluate(subject),
            Rule::Ending(rule) => rule.evaluate(subject),
            Rule::Overlap(rule) => rule.evaluate(subject).map(|(finding, score)| {
                measured = Some(score);
                finding
            }),
            Rule::Judged(_) => Err("it asks a model, and none was asked".to_owned()),
        };
        self.concluded(evaluation, measured)
    }

    fn concluded(&self, evaluation: Evaluation, measured: Option<f64>) -> Verdict {
        let (passed, reason) = match evaluation {
            Ok(Finding { holds, fact }) => (holds != self.negated, fact),
            Err(why) => (false, format!("{} can't be evaluated: {why}", self.kind)),
        };
        let measured = measured.map(|score| if self.negated { 1.0 - score } else { score });
        Verdict {
            kind: self.kind.clone(),
            passed,
            score: measured.unwrap_or(if passed { 1.0 } else { 0.0 }),
            // PostgreSQL keeps no NUL, and an output may hold one.
            reason: if reason.contains('\0') { reason.replace('\0', "\u{FFFD}") } else { reason },
            weight: self.weight,
            metric: self.metric.clone(),
            judgements: Vec::new(),
        }
    }
}

fn unknown(kind: &str, base: &str) -> AssertionError {
    let candidates = KNOWN_KINDS.iter().map(|known| (distance(base, known), *known));
    let nearest = candidates.min().filter(|(off, known)| *off <= MISSPELT_MAX && off * 2 <= known.len());
    let prefix = if base.len() < kind.len() { NOT } else { "" };
    AssertionError::UnknownKind { kind: cut(kind), nearest: nearest.map(|(_, known)| format!("{prefix}{known}")) }
}

/// How many letters have to be added, taken away or exchanged (Levenshtein); letter case and `_` for `-` don't count.
fn distance(asked: &str, known: &str) -> usize {
    let asked: Vec<char> = asked.to_lowercase().replace('_', "-").chars().take(64).collect();
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in asked.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, k) in known.iter().enumerate() {
            let exchanged = diagonal + usize::from(a != k);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[known.len()]
}
