//! `javascript` and `python`: the author's own code says whether the output is right, or how right.

use std::borrow::Cow;

use pcs_scripting::{Bindings, PythonScript, Script, ScriptError};
use serde_json::{Map, Value, json};

use super::source::{Source, resolved};
use super::{AssertionError, Finding, Subject};
use crate::excerpt::cut;
use crate::template::Template;

/// Millionths of a dollar in a dollar.
const MICRO: f64 = 1_000_000.0;

/// Code and from which number on it passes.
#[derive(Debug)]
pub(super) struct Code {
    program: Program,
    threshold: Option<f64>,
    config: Map<String, Value>,
    metric: Option<String>,
}

#[derive(Debug)]
enum Program {
    Compiled(Runnable),
    /// The code depends on the case, so it is compiled at each verdict.
    Rendered(Language, Template),
}

/// What the code is written in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Language {
    JavaScript,
    Python,
}

#[derive(Debug)]
enum Runnable {
    JavaScript(Script),
    Python(PythonScript),
}

impl Language {
    fn compile(self, code: &str) -> Result<Runnable, ScriptError> {
        match self {
            Self::JavaScript => Script::compile(code).map(Runnable::JavaScript),
            Self::Python => PythonScript::new(code).map(Runnable::Python),
        }
    }
}

impl Runnable {
    fn run(&self, output: &Value, context: &Value) -> Result<Value, String> {
        match self {
            Self::JavaScript(script) => run(script, output, context),
            Self::Python(script) => script.evaluate(output, context).map_err(|error| error.to_string()),
        }
    }
}

impl Code {
    pub(super) fn compile(source: &Source<'_>, language: Language) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let Some(Value::String(code)) =
            source.value().filter(|value| value.as_str().is_none_or(|code| !code.trim().is_empty()))
        else {
            let needs = if language == Language::Python { "Python" } else { "JavaScript" };
            return Err(source.wrong_value(needs));
        };
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        let config = source.assertion.config.clone().unwrap_or_default();
        // Braces of JavaScript are seldom a template; where they are none, they are code.
        let template = Template::parse(code).ok().filter(|template| template.constant().is_none());
        let program = match template {
            Some(template) => Program::Rendered(language, template),
            None => Program::Compiled(source.code(language.compile(code))?),
        };
        Ok(Self { program, threshold, config, metric: source.assertion.metric.clone() })
    }

    /// What the code said; the score where it said one.
    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Result<(Finding, Option<f64>), String> {
        let output = subject.seen().value();
        let context = json!({
            "vars": subject.variables,
            "config": self.config,
            "metric": self.metric,
            "providerResponse": response(subject),
        });
        let result = match &self.program {
            Program::Compiled(code) => code.run(&output, &context)?,
            Program::Rendered(language, template) => {
                let code = resolved(template, subject.variables)?;
                let code = language.compile(&code).map_err(|error| error.to_string())?;
                code.run(&output, &context)?
            }
        };
        match result {
            Value::Bool(holds) => Ok((Finding { holds, fact: format!("the code returned {holds}") }, None)),
            Value::Number(number) => {
                let score = number.as_f64().unwrap_or(0.0);
                Ok((self.scored(score, format!("the code returned {number}")), Some(score.clamp(0.0, 1.0))))
            }
            Value::Object(said) => self.said(&said),
            other => Err(format!(
                "the code returned {}, and not true, false, a number or an object with `pass`",
                cut(&other.to_string())
            )),
        }
    }

    fn scored(&self, score: f64, fact: String) -> Finding {
        let holds = self.threshold.map_or(score > 0.0, |least| score >= least);
        Finding { holds, fact }
    }

    /// `{ pass, score, reason }`, of which `pass` has to be there.
    fn said(&self, said: &Map<String, Value>) -> Result<(Finding, Option<f64>), String> {
        let Some(pass) = said.get("pass").and_then(Value::as_bool) else {
            return Err("the code returned an object without `pass: true` or `pass: false`".to_owned());
        };
        let score = said.get("score").and_then(Value::as_f64);
        let reason = said.get("reason").and_then(Value::as_str).unwrap_or("the code gave no reason");
        let holds = pass && self.threshold.is_none_or(|least| score.unwrap_or(f64::from(u8::from(pass))) >= least);
        Ok((Finding { holds, fact: cut(reason) }, score.map(|score| score.clamp(0.0, 1.0))))
    }
}

/// JavaScript that makes of an output what is looked at.
#[derive(Clone, Debug)]
pub struct Transform(Script);

impl Transform {
    /// Compiles it.
    ///
    /// # Errors
    /// Where it is no JavaScript.
    pub fn compile(code: &str) -> Result<Self, pcs_scripting::ScriptError> {
        Script::compile(code).map(Self)
    }

    /// What it makes of an output.
    ///
    /// # Errors
    /// What the code threw, or which limit it met.
    pub fn apply(&self, output: Seen<'_>, variables: &Map<String, Value>) -> Result<Seen<'static>, String> {
        match run(&self.0, &output.value(), &json!({ "vars": variables })) {
            Ok(Value::String(text)) => Ok(Seen { text: Cow::Owned(text), is_value: false }),
            Ok(other) => Ok(Seen { text: Cow::Owned(other.to_string()), is_value: true }),
            Err(why) => Err(format!("the transform failed: {why}")),
        }
    }
}

/// What is looked at of an output: its text, or the JSON of a value that is no text, which code gets as that value.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The text, or the JSON.
    pub text: Cow<'a, str>,
    /// Whether it is JSON that stands for a value.
    pub is_value: bool,
}

impl<'a> Seen<'a> {
    /// An output as the model gave it.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), is_value: false }
    }

    /// The same, of its own.
    #[must_use]
    pub fn into_owned(self) -> Seen<'static> {
        Seen { text: Cow::Owned(self.text.into_owned()), is_value: self.is_value }
    }

    fn value(&self) -> Value {
        let value = if self.is_value { serde_json::from_str(&self.text).ok() } else { None };
        value.unwrap_or_else(|| Value::from(self.text.as_ref()))
    }
}

/// The output that an assertion looks at.
pub(super) fn seen<'a>(transform: Option<&Transform>, subject: &Subject<'a>) -> Result<Seen<'a>, String> {
    match transform {
        None => Ok(subject.seen()),
        Some(transform) => transform.apply(subject.seen(), subject.variables),
    }
}

/// What the model's answer was beside its text, as far as it is known.
fn response(subject: &Subject<'_>) -> Value {
    let cost = subject.cost_micro_usd.map(|cost| float(cost) / MICRO);
    let (latency, ending) = (subject.latency_ms, subject.finish_reason);
    json!({ "output": subject.output, "latencyMs": latency, "cost": cost, "finishReason": ending })
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 millionths of a dollar; nothing costs more")]
fn float(count: u64) -> f64 {
    count as f64
}

fn run(script: &Script, output: &Value, context: &Value) -> Result<Value, String> {
    script
        .evaluate(&Bindings::default().with("output", output).with("context", context))
        .map_err(|error| error.to_string())
}
