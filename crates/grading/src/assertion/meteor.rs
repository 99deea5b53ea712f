//! `meteor`: how well the words of an output align with those of a reference, by their stems and in their order.
//!
//! As in the paper of Banerjee and Lavie (2005), but without synonyms, for which there is no dictionary here.

use rust_stemmers::{Algorithm, Stemmer};
use serde_json::Value;

use super::source::{Source, resolved};
use super::{AssertionError, Finding, Subject};
use crate::template::Template;

/// The least score, where the assertion does not say.
const LEAST_DEFAULT: f64 = 0.5;
/// How much recall counts beside precision.
const ALPHA: f64 = 0.9;
/// How the penalty grows with the number of pieces.
const BETA: f64 = 3.0;
/// The largest penalty for words in another order.
const GAMMA: f64 = 0.5;
/// Most words of each side: the time grows with their product.
const WORDS_MAX: usize = 5_000;
const NEEDS: &str = "a text, or a list of texts";

#[derive(Debug)]
pub(super) struct Meteor {
    references: Vec<Template>,
    least: f64,
}

impl Meteor {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let texts = match source.value() {
            Some(Value::Array(texts)) if !texts.is_empty() => texts.as_slice(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            _ => return Err(source.wrong_value(NEEDS)),
        };
        let references = texts.iter().map(|text| source.text(text, NEEDS)).collect::<Result<_, _>>()?;
        let least = source.not_negative("threshold", source.assertion.threshold.unwrap_or(LEAST_DEFAULT))?;
        Ok(Self { references, least })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Result<(Finding, f64), String> {
        let output = stems(subject.output)?;
        let mut best = 0.0_f64;
        for reference in &self.references {
            best = best.max(score(&output, &stems(&resolved(reference, subject.variables)?)?));
        }
        let fact = format!("the METEOR score is {best:.3}, and the least is {}", self.least);
        Ok((Finding { holds: best >= self.least, fact }, best))
    }
}

fn stems(text: &str) -> Result<Vec<String>, String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let stems: Vec<String> = words.map(|word| stemmer.stem(&word.to_lowercase()).into_owned()).collect();
    if stems.len() > WORDS_MAX { Err(format!("a text has more than {WORDS_MAX} words")) } else { Ok(stems) }
}

#[expect(clippy::cast_precision_loss, reason = "there are few words")]
fn score(output: &[String], reference: &[String]) -> f64 {
    let pairs = aligned(output, reference);
    if pairs.is_empty() {
        return 0.0;
    }
    let matches = pairs.len() as f64;
    let (precision, recall) = (matches / output.len() as f64, matches / reference.len() as f64);
    let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
    let breaks = pairs.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1 || pair[1].1 != pair[0].1 + 1).count();
    let penalty = GAMMA * ((breaks + 1) as f64 / matches).powf(BETA);
    mean * (1.0 - penalty)
}

/// Each word of the output with the first equal one of the reference that is still free, in the output's order.
fn aligned(output: &[String], reference: &[String]) -> Vec<(usize, usize)> {
    let mut free = vec![true; reference.len()];
    let mut pairs = Vec::new();
    for (place, word) in output.iter().enumerate() {
        let found = reference.iter().enumerate().position(|(index, other)| free[index] && other == word);
        if let Some(index) = found {
            free[index] = false;
            pairs.push((place, index));
        }
    }
    pairs
}
