//! `latency` and `cost`: what the answer took, at most.

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};

/// Millionths of a dollar in a dollar.
const MICRO: f64 = 1_000_000.0;

#[derive(Debug)]
pub(super) enum Measure {
    /// In milliseconds.
    Latency(f64),
    /// In US dollars.
    Cost(f64),
}

impl Measure {
    pub(super) fn latency(source: &Source<'_>) -> Result<Self, AssertionError> {
        bound(source, "write the milliseconds as its threshold").map(Self::Latency)
    }

    pub(super) fn cost(source: &Source<'_>) -> Result<Self, AssertionError> {
        bound(source, "write the US dollars as its threshold").map(Self::Cost)
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        match *self {
            Self::Latency(max) => {
                let latency = subject.latency_ms;
                Ok(finding(float(latency) <= max, &format!("the answer took {latency} ms"), &format!("{max} ms")))
            }
            Self::Cost(max) => {
                let cost = subject.cost_micro_usd.ok_or("the cost of the answer is not known")?;
                let cost = float(cost) / MICRO;
                Ok(finding(cost <= max, &format!("the answer cost {cost} USD"), &format!("{max} USD")))
            }
        }
    }
}

fn bound(source: &Source<'_>, instead: &'static str) -> Result<f64, AssertionError> {
    source.no_value(instead)?;
    source.no_tolerance()?;
    source.threshold()
}

fn finding(holds: bool, measured: &str, max: &str) -> Finding {
    let relation = if holds { "at most" } else { "more than" };
    Finding { holds, fact: format!("{measured}, {relation} {max}") }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 ms or millionths of a dollar; nothing takes longer")]
fn float(count: u64) -> f64 {
    count as f64
}
