//! What a run's repeats say about its cases: does any of them pass, do all of them, do they agree.

use std::collections::BTreeMap;

use pcs_domain::ids::TestCaseId;
use pcs_statistics::{disagreement, pass_at_k, pass_hat_k};
use serde::Serialize;

use crate::comparison::{Arm, CountedRun, Repeats};

/// Most flaky cases that are listed for each version and model.
const FLAKY_LEN_MAX: usize = 100;

/// A case whose repeats disagree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlakyCase {
    /// The case.
    pub case_id: TestCaseId,
    /// How it is called now.
    pub case_name: Option<String>,
    /// Its repeats.
    pub repeats: Repeats,
    /// The probability that two of its repeats disagree.
    pub disagreement: f64,
}

/// The repeats of one version with one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmRepeats {
    /// The version and the model.
    #[serde(flatten)]
    pub arm: Arm,
    /// Cases with an answer.
    pub cases: usize,
    /// The mean of the cases' pass rates; null where nothing was answered.
    pub pass_rate: Option<f64>,
    /// Cases with at least k answers: the two below are about these.
    pub cases_with_k: usize,
    /// The probability that at least one of k repeats of a case passes.
    pub pass_at_k: Option<f64>,
    /// The probability that all of k repeats of a case pass.
    pub pass_hat_k: Option<f64>,
    /// The probability that two repeats of a case disagree: the flake score; null where no case has two answers.
    pub disagreement: Option<f64>,
    /// How many cases neither always pass nor always fail.
    pub flaky_cases: usize,
    /// The cases whose repeats disagree most; at most 100.
    pub flakiest: Vec<FlakyCase>,
}

/// What the repeats of each version and model of a run say, with `k` of them looked at together.
#[must_use]
pub fn repeats_of(run: &CountedRun, k: u64) -> Vec<ArmRepeats> {
    let mut arms: BTreeMap<Arm, Vec<FlakyCase>> = BTreeMap::new();
    for case in run.cases() {
        let arm = Arm { version: case.version, model: case.model.clone() };
        let repeats = Repeats { answered: case.answered, passed: case.passed, errors: case.errors };
        arms.entry(arm).or_default().push(FlakyCase {
            case_id: case.case_id,
            case_name: case.case_name.clone(),
            repeats,
            disagreement: disagreement(case.answered, case.passed).unwrap_or(0.0),
        });
    }
    arms.into_iter().map(|(arm, cases)| arm_repeats(arm, cases, k)).collect()
}

fn arm_repeats(arm: Arm, mut cases: Vec<FlakyCase>, k: u64) -> ArmRepeats {
    let of = |value: &dyn Fn(Repeats) -> Option<f64>| mean(cases.iter().filter_map(|case| value(case.repeats)));
    let pass_rate = of(&|repeats| pass_at_k(repeats.answered, repeats.passed, 1));
    let at_k = of(&|repeats| pass_at_k(repeats.answered, repeats.passed, k));
    let hat_k = of(&|repeats| pass_hat_k(repeats.answered, repeats.passed, k));
    let disagreement = of(&|repeats| disagreement(repeats.answered, repeats.passed));
    let answered = |least: u64| cases.iter().filter(|case| case.repeats.answered >= least).count();
    let (with_one, with_k) = (answered(1), answered(k));
    cases.retain(|case| case.disagreement > 0.0);
    cases.sort_by(|one, other| other.disagreement.total_cmp(&one.disagreement));
    let flaky_cases = cases.len();
    cases.truncate(FLAKY_LEN_MAX);
    ArmRepeats {
        arm,
        cases: with_one,
        pass_rate,
        cases_with_k: with_k,
        pass_at_k: at_k,
        pass_hat_k: hat_k,
        disagreement,
        flaky_cases,
        flakiest: cases,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, number) = values.fold((0.0, 0_u32), |(sum, number), value| (sum + value, number + 1));
    (number > 0).then(|| sum / f64::from(number))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::execution_results::{CaseResults, Sums};

    fn case(id: u128, answered: u64, passed: u64) -> CaseResults {
        CaseResults {
            version: 1,
            model: "m".to_owned(),
            case_id: TestCaseId(Uuid::from_u128(id)),
            case_name: Some(format!("case {id}")),
            content: String::new(),
            outputs: String::new(),
            grader: None,
            answered,
            passed,
            errors: 0,
            overridden: 0,
            score: Sums::default(),
            latency_ms: Sums::default(),
            cost_micro_usd: Sums::default(),
        }
    }

    #[test]
    fn an_arm_is_the_mean_of_its_cases() {
        let run = CountedRun::of(vec![case(1, 4, 4), case(2, 4, 2), case(3, 4, 0), case(4, 0, 0)]);
        let arms = repeats_of(&run, 2);
        let [arm] = arms.as_slice() else { panic!("one arm") };
        assert_eq!((arm.cases, arm.cases_with_k, arm.pass_rate), (3, 3, Some(0.5)));
        assert!((arm.pass_at_k.unwrap() - (1.0 + 5.0 / 6.0) / 3.0).abs() < 1e-12);
        assert!((arm.pass_hat_k.unwrap() - (1.0 + 1.0 / 6.0) / 3.0).abs() < 1e-12);
        assert!((arm.disagreement.unwrap() - (2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!((arm.flaky_cases, arm.flakiest[0].case_name.as_deref()), (1, Some("case 2")));
    }

    #[test]
    fn where_no_case_has_k_repeats_nothing_is_said_of_k() {
        let arms = repeats_of(&CountedRun::of(vec![case(1, 1, 1)]), 5);
        assert_eq!((arms[0].pass_rate, arms[0].pass_at_k, arms[0].disagreement), (Some(1.0), None, None));
        assert_eq!(arms[0].cases_with_k, 0);
    }
}
