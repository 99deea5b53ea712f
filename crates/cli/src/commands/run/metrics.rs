//! The named metrics of a run, and those that its suite makes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output, excerpt};
use crate::suite::derived::{COUNT, DerivedMetric};

const NAME_CHARS_MAX: usize = 40;

pub(super) const COLUMNS: [(&str, Align); 5] = [
    ("metric", Align::Left),
    ("version", Align::Right),
    ("model", Align::Left),
    ("answers", Align::Right),
    ("score", Align::Right),
];

/// A metric of one version with one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MetricReport {
    name: String,
    version: u32,
    model: String,
    /// Verdicts that have it; absent of one that is made of others.
    count: Option<u64>,
    /// The mean of the scores, or what it is made to be.
    value: f64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    arms: Vec<Arm>,
}

#[derive(Debug, Deserialize)]
struct Arm {
    version: u32,
    model: String,
    answers: u64,
    metrics: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    count: u64,
    sum: f64,
    mean: f64,
}

/// The metrics of a run that has ended, with those that are made of them; one that can't be made is told.
pub(super) async fn of_run(
    api: &Api,
    run: &str,
    derived: &[DerivedMetric],
    output: &mut Output,
) -> Result<Vec<MetricReport>, CliError> {
    let answer = api.show(&["runs", run, "metrics"], &[]).await?;
    let answer: Answer = Deserialize::deserialize(&answer).map_err(|error| CliError::unreadable(&error))?;
    let mut metrics = Vec::new();
    for arm in &answer.arms {
        let report = |name: &str, count, value| MetricReport {
            name: name.to_owned(),
            version: arm.version,
            model: arm.model.clone(),
            count,
            value,
        };
        metrics.extend(arm.metrics.iter().map(|named| report(&named.name, Some(named.count), named.mean)));
        for (name, made) in made(arm, derived) {
            match made {
                Ok(value) => metrics.push(report(name, None, value)),
                Err(why) => {
                    output.note(&format!("the metric {name} of version {} with {}: {why}", arm.version, arm.model))
                }
            }
        }
    }
    Ok(metrics)
}

/// Each derived metric may refer to those before it.
fn made<'d>(arm: &Arm, derived: &'d [DerivedMetric]) -> Vec<(&'d str, Result<f64, String>)> {
    let mut sums: BTreeMap<String, f64> = arm.metrics.iter().map(|named| (named.name.clone(), named.sum)).collect();
    sums.insert(COUNT.to_owned(), u32::try_from(arm.answers).map_or(f64::INFINITY, f64::from));
    let mut all = Vec::new();
    for metric in derived {
        let made = metric.of(&sums);
        if let Ok(value) = made {
            sums.insert(metric.name.clone(), value);
        }
        all.push((metric.name.as_str(), made));
    }
    all
}

pub(super) fn row(metric: &MetricReport) -> Vec<String> {
    vec![
        excerpt(&metric.name, NAME_CHARS_MAX),
        metric.version.to_string(),
        excerpt(&metric.model, NAME_CHARS_MAX),
        metric.count.map_or_else(|| "derived".to_owned(), |count| count.to_string()),
        format!("{:.4}", metric.value),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_metrics_may_refer_to_those_before_them() {
        let named = |name: &str, sum| Named { name: name.to_owned(), count: 4, sum, mean: sum / 4.0 };
        let metrics = vec![named("hits", 3.0)];
        let arm = Arm { version: 1, model: "m".to_owned(), answers: 4, metrics };
        let derived = |name: &str, value: &str| DerivedMetric { name: name.to_owned(), value: value.to_owned() };
        let all = [derived("rate", "hits / __count"), derived("loss", "1 - rate"), derived("none", "misses")];
        let made = made(&arm, &all);
        assert_eq!((&made[0], &made[1]), (&("rate", Ok(0.75)), &("loss", Ok(0.25))));
        assert!(made[2].1.is_err());
    }
}
