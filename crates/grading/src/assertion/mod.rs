//! Assertions: each kind of demand, compiled once and then asked about each output.

mod code;
mod count;
mod edits;
mod ending;
mod error;
mod equality;
mod html;
mod json;
mod kinds;
mod measure;
mod meteor;
mod numeric;
mod overlap;
mod pattern;
mod set;
mod source;
mod sql;
mod tools;
mod wording;
mod xml;
#[cfg(test)]
mod structure_tests;
#[cfg(test)]
mod tools_tests;
#[cfg(test)]
mod tests;

use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::execution::Answer;
use pcs_domain::model::ModelSpec;
use serde_json::{Map, Value};

use self::code::{Code, Language, seen};
pub use self::code::{Seen, Transform};
use self::count::WordCount;
use self::edits::Edits;
use self::ending::Ending;
use self::equality::Equality;
pub use self::error::AssertionError;
use self::error::unknown;
use self::html::Html;
use self::json::JsonDemand;
pub(crate) use self::json::validator;
pub use self::kinds::KNOWN_KINDS;
use self::measure::Measure;
use self::meteor::Meteor;
use self::numeric::Numeric;
use self::overlap::Overlap;
use self::pattern::Pattern;
use self::set::Set;
pub(crate) use self::source::{Source, resolved};
use self::sql::Sql;
use self::tools::Tools;
use self::wording::Wording;
use self::xml::Xml;
use crate::judged::{self, Judged, OffSchema, Question, Reply};

/// What turns a kind round.
const NOT: &str = "not-";

/// What assertions are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The model's answer, or what a transform made of it.
    pub output: &'a str,
    /// Whether that is the JSON of a value which a transform made, and which code gets as that value.
    pub is_value: bool,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// What it cost, in millionths of a US dollar, where that is known.
    pub cost_micro_usd: Option<u64>,
    /// Why the answer ended, where the model says so.
    pub finish_reason: Option<&'a str>,
    /// The tools that the model was given.
    pub tools: &'a [Map<String, Value>],
    /// The case's input, with `expected_output`; see [`crate::variables`].
    pub variables: &'a Map<String, Value>,
}

impl<'a> Subject<'a> {
    /// A model's answer, and the case's variables.
    #[must_use]
    pub fn of(answer: &'a Answer, variables: &'a Map<String, Value>) -> Self {
        Self {
            output: &answer.output,
            is_value: false,
            tools: &[],
            latency_ms: answer.latency_ms,
            cost_micro_usd: answer.cost_micro_usd,
            finish_reason: answer.finish_reason.as_deref(),
            variables,
        }
    }

    /// The same of a model that was given these tools.
    #[must_use]
    pub fn of_model(self, model: &'a ModelSpec) -> Self {
        Self { tools: &model.params.tools, ..self }
    }

    /// The same with what a transform made of the answer.
    #[must_use]
    pub fn with(self, seen: &'a Seen<'_>) -> Self {
        Self { output: &seen.text, is_value: seen.is_value, ..self }
    }

    pub(crate) fn seen(&self) -> Seen<'a> {
        Seen { is_value: self.is_value, ..Seen::text(self.output) }
    }
}

/// An assertion that is checked and compiled.
#[derive(Debug)]
pub struct Check {
    kind: String,
    negated: bool,
    weight: f64,
    metric: Option<String>,
    transform: Option<Transform>,
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
    Meteor(Meteor),
    Xml(Xml),
    Html(Html),
    Sql(Sql),
    Code(Box<Code>),
    Set(Set),
    Tools(Tools),
    Judged(Box<Judged>),
}

/// What an assertion needs next, to come to its verdict.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The answer of a model to this question: of the one that the assertion names, or else of the run's grader.
    Ask(Question, Option<Box<ModelSpec>>),
    /// Nothing more.
    Done(Verdict),
}

/// What a rule says about an output: whether it holds, and the fact that decided it, true with `not-` and without.
pub(crate) struct Finding {
    pub(crate) holds: bool,
    pub(crate) fact: String,
}

/// A finding, or why there is none: then the verdict is failed, with `not-` and without.
pub(crate) type Evaluation = Result<Finding, String>;

/// How far an assertion has come with the replies that it has.
pub(crate) enum Reached {
    Ask(Question, Option<Box<ModelSpec>>),
    /// What its rule finds before it is negated, and how well it holds where that is measured.
    Found(Evaluation, Option<f64>),
}

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
            "meteor" => Rule::Meteor(Meteor::compile(&source)?),
            "is-xml" => Rule::Xml(Xml::whole(&source)?),
            "contains-xml" => Rule::Xml(Xml::within(&source)?),
            "is-html" => Rule::Html(Html::compile(&source, Html::Whole)?),
            "contains-html" => Rule::Html(Html::compile(&source, Html::Within)?),
            "is-sql" | "contains-sql" => Rule::Sql(Sql::compile(&source, base)?),
            "javascript" => Rule::Code(Box::new(Code::compile(&source, Language::JavaScript)?)),
            "is-valid-function-call" | "is-valid-openai-function-call" | "is-valid-openai-tools-call" => {
                Rule::Tools(Tools::valid(&source, base)?)
            }
            "tool-call-f1" => Rule::Tools(Tools::called(&source)?),
            "python" => Rule::Code(Box::new(Code::compile(&source, Language::Python)?)),
            set::KIND => Rule::Set(Set::compile(&source)?),
            _ if judged::KINDS.contains(&base) => Rule::Judged(Box::new(Judged::compile(&source, base)?)),
            _ => return Err(unknown(&assertion.kind, base)),
        };
        if !matches!(rule, Rule::Judged(_)) {
            source.asks_nobody()?;
        }
        let weight = source.not_negative("weight", assertion.weight)?;
        let transform = assertion.transform.as_deref().map(|code| source.code(Transform::compile(code))).transpose()?;
        Ok(Self { kind: assertion.kind.clone(), negated, weight, metric: assertion.metric.clone(), transform, rule })
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
        match &self.rule {
            Rule::Judged(_) => true,
            Rule::Set(set) => set.members().iter().any(Self::is_judged),
            _ => false,
        }
    }

    /// Whether users' code is run for its verdict, which may take seconds.
    #[must_use]
    pub fn runs_code(&self) -> bool {
        let is_code = match &self.rule {
            Rule::Code(_) => true,
            Rule::Judged(rule) => rule.runs_code(),
            Rule::Set(set) => set.members().iter().any(Self::runs_code),
            _ => false,
        };
        is_code || self.transform.is_some()
    }

    /// Whether it needs the run's grader: it asks a model, and names none of its own.
    #[must_use]
    pub fn needs_grader(&self) -> bool {
        match &self.rule {
            Rule::Judged(rule) => rule.needs_grader(),
            Rule::Set(set) => set.members().iter().any(Self::needs_grader),
            _ => false,
        }
    }

    /// The models that it names, each of which it may ask.
    #[must_use]
    pub fn models(&self) -> Vec<&ModelSpec> {
        match &self.rule {
            Rule::Judged(rule) => rule.models(),
            Rule::Set(set) => set.members().iter().flat_map(Self::models).collect(),
            _ => Vec::new(),
        }
    }

    /// What the assertion needs after these replies, the first of which answers its first question.
    ///
    /// # Errors
    /// [`OffSchema`] where the last reply is not of the form that was asked for; the question may be asked again.
    pub fn step(&self, subject: &Subject<'_>, replies: &[Reply]) -> Result<Step, OffSchema> {
        Ok(match self.reached(subject, replies)? {
            Reached::Ask(question, judge) => Step::Ask(question, judge),
            Reached::Found(evaluation, measured) => Step::Done(self.concluded(evaluation, measured)),
        })
    }

    /// What the assertion says about an output; what can't be evaluated is a failed verdict that says why.
    #[must_use]
    pub fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        match self.reached(subject, &[]) {
            Ok(Reached::Found(evaluation, measured)) => self.concluded(evaluation, measured),
            Ok(Reached::Ask(..)) => self.unevaluated("it asks a model, and none was asked".to_owned()),
            Err(error) => self.unevaluated(error.to_string()),
        }
    }

    /// The failed verdict about an output that there is nothing to see of, for this reason.
    #[must_use]
    pub fn unevaluated(&self, why: String) -> Verdict {
        self.concluded(Err(why), None)
    }

    fn reached(&self, subject: &Subject<'_>, replies: &[Reply]) -> Result<Reached, OffSchema> {
        let seen = match seen(self.transform.as_ref(), subject) {
            Ok(seen) => seen,
            Err(why) => return Ok(Reached::Found(Err(why), None)),
        };
        let said = subject;
        let subject = subject.with(&seen);
        match &self.rule {
            Rule::Judged(rule) => rule.reached(&subject, said, replies),
            Rule::Set(set) => set.reached(&subject, replies),
            _ => {
                let (evaluation, measured) = self.found(&subject);
                Ok(Reached::Found(evaluation, measured))
            }
        }
    }

    /// What a rule says that needs nothing but the output.
    fn found(&self, subject: &Subject<'_>) -> (Evaluation, Option<f64>) {
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
            Rule::Meteor(rule) => rule.evaluate(subject).map(|(finding, score)| {
                measured = Some(score);
                finding
            }),
            Rule::Tools(rule) => rule.evaluate(subject).map(|(finding, score)| {
                measured = Some(score);
                finding
            }),
            Rule::Xml(rule) => rule.evaluate(subject),
            Rule::Html(rule) => rule.evaluate(subject),
            Rule::Sql(rule) => rule.evaluate(subject),
            Rule::Code(rule) => rule.evaluate(subject).map(|(finding, score)| {
                measured = score;
                finding
            }),
            Rule::Set(_) | Rule::Judged(_) => Err("it asks a model, and none was asked".to_owned()),
        };
        (evaluation, measured)
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
