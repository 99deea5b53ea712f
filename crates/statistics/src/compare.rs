//! Two sides compared by several metrics at once, with one verdict for each.

use serde::Serialize;

use crate::false_discovery::benjamini_hochberg;
use crate::needed::more_repeats;
use crate::permutation::sign_flip_test;
use crate::sample::{Pair, count};
use crate::sign::sign_test;

/// The normal distribution's 97.5 % point.
const POINT: f64 = 1.959_964;

/// Which way is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More, such as passes.
    Higher,
    /// Less, such as cost.
    Lower,
}

/// By what it is judged whether a difference is there by chance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// How many cases went up and how many down, exactly: for passes.
    Sign,
    /// How far they went: for scores and measures.
    Permutation,
}

/// A metric, case by case.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Which way is better.
    pub better: Better,
    /// By what it is judged.
    pub test: Test,
    /// The cases that both sides have.
    pub pairs: Vec<Pair>,
}

/// What is to be thought of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(into = "VerdictText")]
pub enum Verdict {
    /// It is worse, and that is not by chance.
    Regressed,
    /// It is better, and that is not by chance.
    Improved,
    /// There may be a difference or none: more repeats would not tell.
    NoEvidence,
    /// There seems to be a difference, and more repeats would tell.
    NeedsRepeats {
        /// About so many more of each case, on both sides.
        more: u64,
    },
}

/// A verdict as it is told: every field is always there.
#[derive(Serialize)]
struct VerdictText {
    is: &'static str,
    more_repeats: Option<u64>,
}

impl From<Verdict> for VerdictText {
    fn from(verdict: Verdict) -> Self {
        let (is, more_repeats) = match verdict {
            Verdict::Regressed => ("regressed", None),
            Verdict::Improved => ("improved", None),
            Verdict::NoEvidence => ("no_evidence", None),
            Verdict::NeedsRepeats { more } => ("needs_repeats", Some(more)),
        };
        Self { is, more_repeats }
    }
}

/// A metric compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric's name.
    pub name: String,
    /// Which way is better.
    pub better: Better,
    /// By what it was judged.
    pub test: Test,
    /// Cases that both sides have.
    pub cases: u64,
    /// The mean of the baseline's cases.
    pub baseline: f64,
    /// The mean of the candidate's cases.
    pub candidate: f64,
    /// How much larger the candidate's is.
    pub difference: f64,
    /// Where the difference is with a probability of 95 %, by the spread of the cases; none where there is one case.
    pub interval: Option<[f64; 2]>,
    /// Cases that are better.
    pub better_cases: u64,
    /// Cases that are worse.
    pub worse_cases: u64,
    /// How likely such a difference is by chance.
    pub p_value: f64,
    /// The same, adjusted for all metrics that were compared.
    pub p_adjusted: f64,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// Compares metrics: a difference is real where its adjusted p-value is at most `level`, such as 0.05. Metrics without cases
/// are left out.
#[must_use]
pub fn compare(metrics: &[Metric], level: f64) -> Vec<Comparison> {
    compare_all(&[metrics], level).pop().unwrap_or_default()
}

/// Compares several candidates at once, each by its metrics: adjusted for all metrics of all of them, for who looks at ten
/// candidates finds one that is better by chance.
#[must_use]
pub fn compare_all(candidates: &[&[Metric]], level: f64) -> Vec<Vec<Comparison>> {
    let looked_at = candidates.iter().map(|metrics| metrics.iter().filter_map(|one| Some((look(one)?, one))).collect());
    let mut compared: Vec<Vec<(Comparison, &Metric)>> = looked_at.collect();
    let p_values: Vec<f64> = compared.iter().flatten().map(|(comparison, _)| comparison.p_value).collect();
    for ((comparison, metric), adjusted) in compared.iter_mut().flatten().zip(benjamini_hochberg(&p_values)) {
        comparison.p_adjusted = adjusted;
        comparison.verdict = judge(comparison, metric, level);
    }
    let bare = |of: Vec<(Comparison, &Metric)>| of.into_iter().map(|(comparison, _)| comparison).collect();
    compared.into_iter().map(bare).collect()
}

fn look(metric: &Metric) -> Option<Comparison> {
    let differences: Vec<f64> = metric.pairs.iter().map(Pair::difference).collect();
    let cases = u64::try_from(differences.len()).ok().filter(|cases| *cases > 0)?;
    let number_of = |wanted: fn(&f64) -> bool| {
        u64::try_from(differences.iter().filter(|difference| wanted(difference)).count()).unwrap_or(u64::MAX)
    };
    let (up, down) = (number_of(|difference| *difference > 0.0), number_of(|difference| *difference < 0.0));
    let mean = |value: fn(&Pair) -> f64| metric.pairs.iter().map(value).sum::<f64>() / count(cases);
    let difference = mean(Pair::difference);
    let (better_cases, worse_cases) = match metric.better {
        Better::Higher => (up, down),
        Better::Lower => (down, up),
    };
    let p_value = match metric.test {
        Test::Sign => sign_test(up, down),
        Test::Permutation => sign_flip_test(&differences),
    };
    Some(Comparison {
        name: metric.name.clone(),
        better: metric.better,
        test: metric.test,
        cases,
        baseline: mean(|pair| pair.baseline.mean),
        candidate: mean(|pair| pair.candidate.mean),
        difference,
        interval: interval(&differences, difference),
        better_cases,
        worse_cases,
        p_value,
        p_adjusted: p_value,
        verdict: Verdict::NoEvidence,
    })
}

fn interval(differences: &[f64], mean: f64) -> Option<[f64; 2]> {
    let number = count(u64::try_from(differences.len()).ok().filter(|number| *number > 1)?);
    let spread = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (number - 1.0);
    let half = POINT * (spread / number).sqrt();
    Some([mean - half, mean + half])
}

fn judge(comparison: &Comparison, metric: &Metric, level: f64) -> Verdict {
    if comparison.p_adjusted > level {
        return more_repeats(&metric.pairs).map_or(Verdict::NoEvidence, |more| Verdict::NeedsRepeats { more });
    }
    // A sign test goes by the number of cases, which the mean may contradict.
    let is_better = match metric.test {
        Test::Sign => comparison.better_cases > comparison.worse_cases,
        Test::Permutation => (comparison.difference > 0.0) == (metric.better == Better::Higher),
    };
    if is_better { Verdict::Improved } else { Verdict::Regressed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    fn passes(cases: &[(u64, u64, u64)]) -> Metric {
        let pair = |(trials, baseline, candidate): &(u64, u64, u64)| Pair {
            baseline: Sample::of_passes(*trials, *baseline).unwrap(),
            candidate: Sample::of_passes(*trials, *candidate).unwrap(),
        };
        let pairs = cases.iter().map(pair).collect();
        Metric { name: "pass".to_owned(), better: Better::Higher, test: Test::Sign, pairs }
    }

    fn measured(better: Better, values: &[(f64, f64)]) -> Metric {
        let sample = |value: f64| Sample::of_sums(1, value, value * value).unwrap();
        let pairs =
            values.iter().map(|(one, other)| Pair { baseline: sample(*one), candidate: sample(*other) }).collect();
        Metric { name: "measure".to_owned(), better, test: Test::Permutation, pairs }
    }

    fn verdict(metric: &Metric) -> Verdict {
        compare(std::slice::from_ref(metric), 0.05)[0].verdict
    }

    #[test]
    fn ten_cases_that_broke_are_a_regression_and_three_are_not() {
        let mut cases = vec![(1, 1, 1); 90];
        cases.extend([(1, 1, 0); 10]);
        assert_eq!(verdict(&passes(&cases)), Verdict::Regressed);
        cases.iter_mut().for_each(|(_, baseline, candidate)| std::mem::swap(baseline, candidate));
        assert_eq!(verdict(&passes(&cases)), Verdict::Improved);
        let few: Vec<_> = [(1, 1, 1); 97].into_iter().chain([(1, 1, 0); 3]).collect();
        assert!(matches!(verdict(&passes(&few)), Verdict::NoEvidence | Verdict::NeedsRepeats { .. }));
    }

    #[test]
    fn repeats_of_one_case_do_not_make_many_cases() {
        // A thousand repeats of one case that broke: one case.
        assert_eq!(verdict(&passes(&[(1_000, 1_000, 0)])), Verdict::NoEvidence);
    }

    #[test]
    fn a_cost_that_rises_is_a_regression() {
        let dearer: Vec<(f64, f64)> = (1..=20).map(|nth| (f64::from(nth), f64::from(nth) * 1.1)).collect();
        assert_eq!(verdict(&measured(Better::Lower, &dearer)), Verdict::Regressed);
        assert_eq!(verdict(&measured(Better::Higher, &dearer)), Verdict::Improved);
    }

    #[test]
    fn among_many_metrics_a_lucky_one_is_no_evidence() {
        let lucky = passes(&[(1, 0, 1); 6]);
        assert_eq!(verdict(&lucky), Verdict::Improved);
        let mut metrics = vec![passes(&[(1, 1, 1); 6]); 9];
        metrics.push(lucky);
        let last = compare(&metrics, 0.05).pop().unwrap();
        assert!(last.p_adjusted > 0.3 && !matches!(last.verdict, Verdict::Improved), "{last:?}");
    }

    #[test]
    fn what_has_no_cases_is_left_out() {
        assert!(compare(&[passes(&[])], 0.05).is_empty());
    }
}
