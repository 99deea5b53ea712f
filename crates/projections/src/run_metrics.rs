//! The named metrics of a run: what the verdicts that have a metric's name come to, by version and model.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::comparison::{Arm, CountedRun};

/// A metric of one version with one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedMetric {
    /// Its name.
    pub name: String,
    /// Verdicts that have it.
    pub count: u64,
    /// The sum of their scores.
    pub sum: f64,
    /// The mean of their scores.
    pub mean: f64,
}

/// The metrics of one version with one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmMetrics {
    /// The version and the model.
    #[serde(flatten)]
    pub arm: Arm,
    /// Answers there are, with a metric or without.
    pub answers: u64,
    /// By their names.
    pub metrics: Vec<NamedMetric>,
}

/// How many verdicts have each metric, and the sum of their scores.
type Sums<'r> = BTreeMap<&'r str, (u64, f64)>;

/// The metrics of each version and model of a run that has results.
#[must_use]
pub fn metrics_of(run: &CountedRun) -> Vec<ArmMetrics> {
    let mut arms: BTreeMap<Arm, (u64, Sums<'_>)> = BTreeMap::new();
    for case in run.cases() {
        let arm = Arm { version: case.version, model: case.model.clone() };
        arms.entry(arm).or_default().0 += case.answered;
    }
    for one in run.metrics() {
        let arm = Arm { version: one.version, model: one.model.clone() };
        let (count, sum) = arms.entry(arm).or_default().1.entry(&one.metric).or_default();
        *count += one.score.count;
        *sum += one.score.sum;
    }
    let named = |(name, (count, sum)): (&str, (u64, f64))| {
        let mean = u32::try_from(count).ok().filter(|count| *count > 0).map_or(0.0, |count| sum / f64::from(count));
        NamedMetric { name: name.to_owned(), count, sum, mean }
    };
    let of_arm = |(arm, (answers, metrics)): (Arm, (u64, Sums<'_>))| ArmMetrics {
        arm,
        answers,
        metrics: metrics.into_iter().map(named).collect(),
    };
    arms.into_iter().map(of_arm).collect()
}
