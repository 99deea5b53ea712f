//! Two runs compared case by case: which cases can be, what is better or worse, and whether that is by chance.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::ids::{TenantId, TestCaseId, TestRunId};
use pcs_statistics::{Better, Comparison, Metric, Pair, Sample, Test, Verdict, compare_all};
use serde::Serialize;
use sqlx::PgPool;

use crate::ReadError;
use crate::execution_results::{self, CaseResults, MetricResults, Sums};

/// The metric of passes.
const PASS: &str = "pass";
/// The metric of scores.
const SCORE: &str = "score";
/// The metric of milliseconds until the answer.
const LATENCY: &str = "latency_ms";
/// The metric of US dollars.
const COST: &str = "cost_usd";
/// Most cases that are listed as worse, and as better.
const CHANGED_LEN_MAX: usize = 100;

/// A version with a model, as a run had them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Arm {
    /// The prompt version.
    pub version: u32,
    /// The model's name in the run.
    pub model: String,
}

/// Which arms are meant; an absent field is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The version.
    pub version: Option<u32>,
    /// The model.
    pub model: Option<String>,
}

/// The results of a run, counted case by case.
#[derive(Clone, Debug, Default)]
pub struct CountedRun {
    cases: Vec<CaseResults>,
    metrics: Vec<MetricResults>,
}

/// What became of the cases of both sides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Alignment {
    /// Answered on both sides: these are compared.
    pub compared: usize,
    /// Only in the baseline.
    pub only_in_baseline: usize,
    /// Only in the candidate.
    pub only_in_candidate: usize,
    /// With other variables than before: another question.
    pub changed: usize,
    /// Without an answer on one side: errors say nothing about a prompt.
    pub unanswered: usize,
}

/// Repeats of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Repeats {
    /// With an answer.
    pub answered: u64,
    /// Of these, passed.
    pub passed: u64,
    /// Without an answer.
    pub errors: u64,
}

/// A case that passes more or less often than before.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ChangedCase {
    /// The case.
    pub case_id: TestCaseId,
    /// How it is called now.
    pub case_name: Option<String>,
    /// Before.
    pub baseline: Repeats,
    /// Now.
    pub candidate: Repeats,
    /// What made the difference.
    pub cause: Cause,
}

/// What made the difference in a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The model answered otherwise, and was graded as before.
    Output,
    /// It answered the same, and was graded by other demands.
    Grader,
    /// Both are others.
    Both,
    /// A person overrode a verdict, and nothing else is another one.
    Review,
    /// Neither is another one that is known of.
    Unknown,
}

fn cause(before: &CaseResults, now: &CaseResults) -> Cause {
    let is_other_output = before.outputs != now.outputs;
    match (before.grader.is_some() && before.grader == now.grader, is_other_output) {
        (true, true) => Cause::Output,
        (false, false) => Cause::Grader,
        (false, true) if before.grader.is_none() || now.grader.is_none() => Cause::Output,
        (false, true) => Cause::Both,
        (true, false) if before.overridden + now.overridden > 0 => Cause::Review,
        (true, false) => Cause::Unknown,
    }
}

/// Two arms compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmComparison {
    /// The run that is judged.
    pub run_id: TestRunId,
    /// What it is compared with.
    pub baseline: Arm,
    /// What is judged.
    pub candidate: Arm,
    /// What became of the cases.
    pub cases: Alignment,
    /// The verdict on quality: of passes, scores and named metrics. Latency and cost have verdicts of their own only.
    pub verdict: Verdict,
    /// Every metric that both sides have.
    pub metrics: Vec<Comparison>,
    /// Cases that pass less often, the worst first; at most 100.
    pub regressions: Vec<ChangedCase>,
    /// Cases that pass more often, the best first; at most 100.
    pub improvements: Vec<ChangedCase>,
}

/// Arms of two runs that nobody can tell to be meant for each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CannotPair {
    /// A side has no results that are wanted.
    #[error("the {side} has no results of that version and model")]
    NoResults {
        /// Baseline or candidate.
        side: &'static str,
    },
    /// No model is on both sides.
    #[error("the runs have no model in common: say which of each is meant")]
    NoCommonModel,
    /// It would be compared with itself.
    #[error("a run that is compared with itself needs two versions or two models")]
    Itself,
}

impl CountedRun {
    /// Reads a run's results up to a position of the log.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn read(pool: &PgPool, of: (TenantId, TestRunId), up_to: i64) -> Result<Self, ReadError> {
        let cases = execution_results::by_case(pool, of, up_to).await?;
        let metrics = execution_results::metrics_by_case(pool, of, up_to).await?;
        Ok(Self { cases, metrics })
    }

    /// The run with these cases and no metrics.
    #[cfg(test)]
    pub(crate) fn of(cases: Vec<CaseResults>) -> Self {
        Self { cases, metrics: Vec::new() }
    }

    pub(crate) fn cases(&self) -> &[CaseResults] {
        &self.cases
    }

    pub(crate) fn metrics(&self) -> &[MetricResults] {
        &self.metrics
    }

    /// The arms that are wanted: of each model its newest version, where no other is.
    fn arms(&self, wanted: &Wanted) -> BTreeMap<String, Arm> {
        let meant = self.cases.iter().filter(|case| {
            wanted.version.is_none_or(|version| case.version == version)
                && wanted.model.as_ref().is_none_or(|model| case.model == *model)
        });
        let mut arms: BTreeMap<String, Arm> = BTreeMap::new();
        for case in meant {
            let arm = Arm { version: case.version, model: case.model.clone() };
            let newest = arms.entry(case.model.clone()).or_insert_with(|| arm.clone());
            newest.version = newest.version.max(arm.version);
        }
        arms
    }

    fn cases_of(&self, arm: &Arm) -> BTreeMap<TestCaseId, &CaseResults> {
        let cases = self.cases.iter().filter(|case| case.version == arm.version && case.model == arm.model);
        cases.map(|case| (case.case_id, case)).collect()
    }

    fn metrics_of(&self, arm: &Arm) -> Scores<'_> {
        let metrics = self.metrics.iter().filter(|one| one.version == arm.version && one.model == arm.model);
        metrics.map(|one| ((one.metric.as_str(), one.case_id), one.score)).collect()
    }
}

/// A run of which something is wanted.
#[derive(Clone, Debug)]
pub struct Side {
    /// The run.
    pub run_id: TestRunId,
    /// Its results.
    pub counted: CountedRun,
    /// What is wanted of it.
    pub wanted: Wanted,
}

/// Compares what is wanted of some runs with what is wanted of a baseline; differences are real up to a p-value of `level`,
/// adjusted for all metrics of all of them.
///
/// # Errors
/// Where it can't be told which arms are to be compared.
pub fn compare_runs(baseline: &Side, candidates: &[Side], level: f64) -> Result<Vec<ArmComparison>, CannotPair> {
    let mut arms = Vec::new();
    for candidate in candidates {
        let pairs = pairs(baseline.counted.arms(&baseline.wanted), candidate.counted.arms(&candidate.wanted))?;
        if baseline.run_id == candidate.run_id && pairs.iter().any(|(baseline, candidate)| baseline == candidate) {
            return Err(CannotPair::Itself);
        }
        arms.extend(pairs.into_iter().map(|arms| align(&baseline.counted, candidate, arms)));
    }
    let metrics: Vec<&[Metric]> = arms.iter().map(|(_, metrics)| metrics.as_slice()).collect();
    let judged = compare_all(&metrics, level);
    let judge = |((arm, _), metrics): ((ArmComparison, _), Vec<Comparison>)| ArmComparison {
        verdict: overall(&metrics),
        metrics,
        ..arm
    };
    Ok(arms.into_iter().zip(judged).map(judge).collect())
}

fn pairs(mut baseline: BTreeMap<String, Arm>, candidate: BTreeMap<String, Arm>) -> Result<Vec<(Arm, Arm)>, CannotPair> {
    if baseline.is_empty() {
        return Err(CannotPair::NoResults { side: "baseline" });
    }
    if candidate.is_empty() {
        return Err(CannotPair::NoResults { side: "candidate" });
    }
    let alone = baseline.len() == 1 && candidate.len() == 1;
    let mut pairs = Vec::new();
    for (model, arm) in candidate {
        let other = if alone { baseline.pop_first().map(|(_, arm)| arm) } else { baseline.remove(&model) };
        pairs.extend(other.map(|other| (other, arm)));
    }
    if pairs.is_empty() { Err(CannotPair::NoCommonModel) } else { Ok(pairs) }
}

/// Two arms case by case, as yet without a verdict, and their metrics.
fn align(baseline: &CountedRun, candidate: &Side, (old, new): (Arm, Arm)) -> (ArmComparison, Vec<Metric>) {
    let Side { run_id, counted: candidate, .. } = candidate;
    let (before, now) = (baseline.cases_of(&old), candidate.cases_of(&new));
    let mut cases = Alignment {
        only_in_baseline: before.keys().filter(|id| !now.contains_key(*id)).count(),
        ..Alignment::default()
    };
    let mut both = Vec::new();
    for (id, now) in &now {
        match before.get(id) {
            None => cases.only_in_candidate += 1,
            Some(before) if before.content != now.content => cases.changed += 1,
            Some(before) if before.answered == 0 || now.answered == 0 => cases.unanswered += 1,
            Some(before) => both.push((*before, *now)),
        }
    }
    cases.compared = both.len();
    let mut metrics = of_answers(&both);
    metrics.extend(named(&both, (&baseline.metrics_of(&old), &candidate.metrics_of(&new))));
    let (regressions, improvements) = changed(&both);
    let arm = ArmComparison {
        run_id: *run_id,
        baseline: old,
        candidate: new,
        cases,
        verdict: Verdict::NoEvidence,
        metrics: Vec::new(),
        regressions,
        improvements,
    };
    (arm, metrics)
}

/// What every answer has: whether it passed, a score, a latency and perhaps a cost.
fn of_answers(both: &[(&CaseResults, &CaseResults)]) -> Vec<Metric> {
    let metric = |name: &str, better, test, value: &dyn Fn(&CaseResults) -> Option<Sample>| Metric {
        name: name.to_owned(),
        better,
        test,
        pairs: both.iter().filter_map(|(before, now)| pair(value(before), value(now))).collect(),
    };
    let pass = metric(PASS, Better::Higher, Test::Sign, &|case| Sample::of_passes(case.answered, case.passed));
    let score = metric(SCORE, Better::Higher, Test::Permutation, &|case| sample(case.score, 1.0));
    let latency = metric(LATENCY, Better::Lower, Test::Permutation, &|case| sample(case.latency_ms, 1.0));
    let cost = metric(COST, Better::Lower, Test::Permutation, &|case| sample(case.cost_micro_usd, 1e-6));
    // Where every score is a 1 or a 0 for passed or not, it is the same metric twice.
    let says_more = score.pairs != pass.pairs;
    let mut metrics = vec![pass];
    metrics.extend(says_more.then_some(score));
    metrics.extend([latency, cost]);
    metrics
}

/// Scores by metric and case.
type Scores<'n> = BTreeMap<(&'n str, TestCaseId), Sums>;

/// The scores of assertions that have a metric's name.
fn named<'n>(both: &[(&CaseResults, &CaseResults)], (before, now): (&Scores<'n>, &Scores<'n>)) -> Vec<Metric> {
    let names: BTreeSet<&'n str> = now.keys().map(|(name, _)| *name).collect();
    let pairs_of = |name: &'n str| {
        let of = |scores: &Scores<'n>, id| sample(*scores.get(&(name, id))?, 1.0);
        both.iter().filter_map(|(case, _)| pair(of(before, case.case_id), of(now, case.case_id))).collect()
    };
    let metric = |name: &'n str| Metric {
        name: format!("metric:{name}"),
        better: Better::Higher,
        test: Test::Permutation,
        pairs: pairs_of(name),
    };
    names.into_iter().map(metric).collect()
}

fn sample(sums: Sums, unit: f64) -> Option<Sample> {
    Sample::of_sums(sums.count, sums.sum * unit, sums.squares * unit * unit)
}

fn pair(baseline: Option<Sample>, candidate: Option<Sample>) -> Option<Pair> {
    Some(Pair { baseline: baseline?, candidate: candidate? })
}

/// Cases that pass less often, and those that pass more often.
fn changed(both: &[(&CaseResults, &CaseResults)]) -> (Vec<ChangedCase>, Vec<ChangedCase>) {
    let repeats = |case: &CaseResults| Repeats { answered: case.answered, passed: case.passed, errors: case.errors };
    let mut rated: Vec<(f64, ChangedCase)> = both
        .iter()
        .filter_map(|(before, now)| {
            let rate = |case: &CaseResults| Sample::of_passes(case.answered, case.passed).map(|sample| sample.mean);
            let case = ChangedCase {
                case_id: now.case_id,
                case_name: now.case_name.clone(),
                baseline: repeats(before),
                candidate: repeats(now),
                cause: cause(before, now),
            };
            Some((rate(now)? - rate(before)?, case))
        })
        .collect();
    rated.sort_by(|(one, case), (other, of)| one.total_cmp(other).then_with(|| case.case_name.cmp(&of.case_name)));
    let (worse, better) = (rated.iter(), rated.iter().rev());
    let worse = worse.take_while(|(change, _)| *change < 0.0).take(CHANGED_LEN_MAX).map(|(_, case)| case.clone());
    let better = better.take_while(|(change, _)| *change > 0.0).take(CHANGED_LEN_MAX).map(|(_, case)| case.clone());
    (worse.collect(), better.collect())
}

/// Quality got worse where any part of it did, better where a part did and none got worse.
fn overall(metrics: &[Comparison]) -> Verdict {
    let quality: Vec<Verdict> = metrics
        .iter()
        .filter(|metric| metric.name != LATENCY && metric.name != COST)
        .map(|metric| metric.verdict)
        .collect();
    let decided = [Verdict::Regressed, Verdict::Improved].into_iter().find(|verdict| quality.contains(verdict));
    let fewest = quality.iter().filter_map(|verdict| match verdict {
        Verdict::NeedsRepeats { more } => Some(*more),
        Verdict::Regressed | Verdict::Improved | Verdict::NoEvidence => None,
    });
    decided.unwrap_or_else(|| fewest.min().map_or(Verdict::NoEvidence, |more| Verdict::NeedsRepeats { more }))
}

#[cfg(test)]
mod tests;
