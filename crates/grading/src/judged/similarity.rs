//! `similar`: how near the meaning of an output is to that of a text, measured by their vectors.

use serde_json::Value;

use super::{Evidence, Next, Obstacle, OffSchema, Progress, Question, Reply};
use crate::assertion::{AssertionError, Finding, Source, resolved};
use crate::template::Template;

/// The least similarity, or the largest distance, where the assertion says nothing.
const THRESHOLD_DEFAULT: f64 = 0.75;
/// Most texts that one output is compared with.
const TEXTS_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Cosine,
    Dot,
    Euclidean,
}

/// The texts, one of which the output has to be near to.
#[derive(Debug)]
pub(super) struct Similarity {
    measure: Measure,
    texts: Vec<Template>,
    threshold: f64,
}

impl Similarity {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        let measure = match base {
            "similar:dot" => Measure::Dot,
            "similar:euclidean" => Measure::Euclidean,
            _ => Measure::Cosine,
        };
        let needs = "a text or a list of texts";
        let values: Vec<&Value> = match source.value() {
            Some(Value::Array(items)) if !items.is_empty() && items.len() <= TEXTS_MAX => items.iter().collect(),
            Some(Value::Array(_)) | None => return Err(source.wrong_value(needs)),
            Some(value) => vec![value],
        };
        let texts = values.into_iter().map(|value| source.text(value, needs)).collect::<Result<_, _>>()?;
        let threshold = source.assertion.threshold.map_or(Ok(THRESHOLD_DEFAULT), |_| source.threshold())?;
        Ok(Self { measure, texts, threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            let mut texts = vec![evidence.output.to_owned()];
            for text in &self.texts {
                texts.push(resolved(text, evidence.variables).map_err(Obstacle::Lacking)?.into_owned());
            }
            return Ok(Progress::Ask(Question::Vectors(texts)));
        };
        let (output, others) = split(reply, self.texts.len() + 1)?;
        let measured = others.iter().map(|other| self.measured(output, other));
        let best =
            measured.reduce(|best, next| if self.is_better(next, best) { next } else { best }).unwrap_or_default();
        let holds = match self.measure {
            Measure::Cosine | Measure::Dot => best >= self.threshold,
            Measure::Euclidean => best <= self.threshold,
        };
        let (word, score) = match self.measure {
            Measure::Cosine => ("cosine similarity", best.clamp(0.0, 1.0)),
            Measure::Dot => ("dot product", best.clamp(0.0, 1.0)),
            Measure::Euclidean => ("euclidean distance", 1.0 / (1.0 + best)),
        };
        let fact = format!("the {word} is {best:.4}, and the threshold {}", self.threshold);
        Ok(Progress::Known(Finding { holds, fact }, score))
    }

    fn measured(&self, one: &[f32], other: &[f32]) -> f64 {
        let pairs = || one.iter().zip(other).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        match self.measure {
            Measure::Cosine => cosine(one, other),
            Measure::Dot => pairs().map(|(a, b)| a * b).sum(),
            Measure::Euclidean => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        }
    }

    fn is_better(&self, next: f64, best: f64) -> bool {
        if self.measure == Measure::Euclidean { next < best } else { next > best }
    }
}

/// The cosine of the angle between two vectors of the same length; 0 where one has no length.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let dot: f64 = one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let norms = norm(one) * norm(other);
    if norms > 0.0 { dot / norms } else { 0.0 }
}

/// The first vector and the others, of which there are so many in all.
pub(super) fn split(reply: &Reply, count: usize) -> Result<(&[f32], &[Vec<f32>]), OffSchema> {
    match reply {
        Reply::Vectors(vectors) if vectors.len() == count => match vectors.split_first() {
            Some((first, others)) => Ok((first, others)),
            None => Err(OffSchema("no vectors".to_owned())),
        },
        Reply::Vectors(vectors) => Err(OffSchema(format!("{} vectors for {count} texts", vectors.len()))),
        Reply::Text(_) | Reply::Classes(_) => Err(OffSchema("no vectors".to_owned())),
    }
}
