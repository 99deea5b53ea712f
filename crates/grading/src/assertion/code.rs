//! `javascript`: the author's own code says whether the output is right, or how right.

use std::borrow::Cow;

use pcs_scripting::Script;
use serde_json::{Map, Value, json};

use super::source::Source;
use super::{AssertionError, Finding, Subject};
use crate::excerpt::cut;

/// What code is given, in the order in which a function is called with it.
const PARAMETERS: [&str; 2] = ["output", "context"];

/// Code and from which number on it passes.
#[derive(Debug)]
pub(super) struct Code {
    script: Script,
    threshold: Option<f64>,
    config: Map<String, Value>,
}

impl Code {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let Some(Value::String(code)) = source.value() else { return Err(source.wrong_value("JavaScript")) };
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        let config = source.assertion.config.clone().unwrap_or_default();
        Ok(Self { script: source.script(code)?, threshold, config })
    }

    /// What the code said; the score where it said one.
    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Result<(Finding, Option<f64>), String> {
        let result = run(&self.script, subject, &self.config)?;
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
        let reason = said.get("reason").and_then(Value::as_str).unwrap_or("the code gave no reason").to_owned();
        let holds = pass && self.threshold.is_none_or(|least| score.unwrap_or(f64::from(u8::from(pass))) >= least);
        Ok((Finding { holds, fact: reason }, score.map(|score| score.clamp(0.0, 1.0))))
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

    /// What it makes of an output: a text as it is, anything else as JSON.
    ///
    /// # Errors
    /// What the code threw, or which limit it met.
    pub fn apply(&self, output: &str, variables: &Map<String, Value>) -> Result<String, String> {
        let subject = Subject { output, latency_ms: 0, cost_micro_usd: None, finish_reason: None, variables };
        match run(&self.0, &subject, &Map::new()) {
            Ok(Value::String(text)) => Ok(text),
            Ok(other) => Ok(other.to_string()),
            Err(why) => Err(format!("the transform failed: {why}")),
        }
    }
}

/// The output that an assertion looks at.
pub(super) fn seen<'a>(transform: Option<&Transform>, subject: &Subject<'a>) -> Result<Cow<'a, str>, String> {
    match transform {
        None => Ok(Cow::Borrowed(subject.output)),
        Some(transform) => transform.apply(subject.output, subject.variables).map(Cow::Owned),
    }
}

fn run(script: &Script, subject: &Subject<'_>, config: &Map<String, Value>) -> Result<Value, String> {
    let mut values = Map::new();
    values.insert("output".to_owned(), Value::String(subject.output.to_owned()));
    values.insert("context".to_owned(), json!({ "vars": subject.variables, "config": config }));
    script.evaluate(&PARAMETERS, &values).map_err(|error| error.to_string())
}
