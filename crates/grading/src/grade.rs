//! Scoring: one grade of many verdicts.

use std::borrow::Cow;

use pcs_domain::assertion::{Assertion, Grade, Verdict};
use pcs_domain::execution::Answer;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::TestCase;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::assertion::{Check, Seen, Subject};

/// The name under which assertions find the case's expected output.
const EXPECTED_OUTPUT: &str = "expected_output";
/// The meaning that this build gives to assertions: raised with each change that turns a verdict.
const SEMANTICS: u32 = 2;
/// Hex digits of a grader's hash.
const VERSION_DIGITS: usize = 16;
/// How far below its threshold a score may be by rounding: seven verdicts of weight 0.1 are 0.7 of ten.
pub(crate) const ROUNDING: f64 = 1e-9;

/// What a model said.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Who said it.
    pub model: &'a ModelSpec,
    /// Its answer.
    pub answer: &'a Answer,
    /// What is looked at of it: a transform may let something else be seen than its text.
    pub seen: &'a Seen<'a>,
}

impl Said<'_> {
    /// What assertions are asked about, with the case's variables.
    #[must_use]
    pub fn subject<'b>(&'b self, variables: &'b Map<String, Value>) -> Subject<'b> {
        Subject::of(self.answer, variables).of_model(self.model).with(self.seen)
    }
}

/// Grades an answer by a run's checks and a case's
/// own, which both are compiled once and used often.
///
/// The score is the weighted mean of the verdicts' scores, and 1 where there are none. With a threshold (the case's,
/// else the run's) the case passes by its score; without, every verdict of a weight above 0 has to pass.
#[must_use]
pub fn grade(
    case: &TestCase,
    run_checks: &[Check],
    case_checks: &[Check],
    run_threshold: Option<f64>,
    said: Said<'_>,
) -> Grade {
    let variables = variables(case);
    let subject = said.subject(&variables);
    let verdicts = run_checks.iter().chain(case_checks).map(|check| check.verdict(&subject)).collect();
    conclude(case, run_threshold, verdicts)
}

/// The grade that verdicts make: by its threshold, the case's or else the run's, or by all of them.
#[must_use]
pub fn conclude(case: &TestCase, run_threshold: Option<f64>, verdicts: Vec<Verdict>) -> Grade {
    let score = weighted_mean(&verdicts);
    let passed = match case.threshold.or(run_threshold) {
        Some(threshold) => score >= threshold - ROUNDING,
        None => verdicts.iter().all(|verdict| verdict.passed || verdict.weight == 0.0),
    };
    Grade { passed, score, verdicts, grader: None }
}

/// The version of what grades a case's outputs: a hash of the demands on them, and of the meaning that they have here.
#[must_use]
pub fn grader_version(run_assertions: &[Assertion], run_threshold: Option<f64>, case: &TestCase) -> String {
    let demands = (run_assertions, &case.assertions, case.threshold.or(run_threshold));
    let text = serde_json::to_vec(&demands).unwrap_or_default();
    let mut hash = hex::encode(Sha256::digest(&text));
    hash.truncate(VERSION_DIGITS);
    format!("{SEMANTICS}-{hash}")
}

/// What a case's assertions can refer to: its input, and its expected output where it has one.
#[must_use]
pub fn variables(case: &TestCase) -> Cow<'_, Map<String, Value>> {
    match &case.expected_output {
        None => Cow::Borrowed(&case.input),
        Some(expected) => {
            let mut variables = case.input.clone();
            variables.insert(EXPECTED_OUTPUT.to_owned(), Value::String(expected.clone()));
            Cow::Owned(variables)
        }
    }
}

/// The weighted mean of the verdicts' scores: 1 where there are none, 0 where none has a weight.
pub(crate) fn weighted_mean(verdicts: &[Verdict]) -> f64 {
    if verdicts.is_empty() {
        return 1.0;
    }
    // Weights are divided by the largest, so that no sum of them is infinite.
    let largest = verdicts.iter().map(|verdict| verdict.weight).fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let share = |verdict: &Verdict| verdict.weight / largest;
    let sum: f64 = verdicts.iter().map(|verdict| verdict.score * share(verdict)).sum();
    let weights: f64 = verdicts.iter().map(share).sum();
    sum / weights
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use pcs_domain::ids::TestCaseId;
    use serde_json::json;

    fn case(threshold: Option<f64>) -> TestCase {
        let input = json!({ "q": "6 * 3?", "expected_output": "overridden" });
        let id: TestCaseId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let input = input.as_object().unwrap().clone();
        TestCase {
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            id,
            name: "six".into(),
            subject: None,
            input,
            expected_output: Some("18".into()),
            assertions: vec![],
            threshold,
        }
    }

    fn said<'a>(answer: &'a Answer, seen: &'a Seen<'a>) -> Said<'a> {
        static MODEL: LazyLock<ModelSpec> = LazyLock::new(|| ModelSpec::of_id("echo"));
        Said { model: &MODEL, answer, seen }
    }

    fn checks(list: Value) -> Vec<Check> {
        let assertions: Vec<Assertion> = serde_json::from_value(list).unwrap();
        Check::compile_all(&assertions).unwrap()
    }

    fn answer(output: &str) -> Answer {
        let output = output.to_owned();
        Answer {
            output,
            latency_ms: 5,
            input_tokens: 1,
            output_tokens: 1,
            cost_micro_usd: None,
            finish_reason: None,
            cached: false,
        }
    }

    /// Grades "18" by checks of these weights, of which the first `good` hold.
    fn graded(good: usize, weights: &[f64], case_threshold: Option<f64>, run_threshold: Option<f64>) -> (bool, f64) {
        let list = weights.iter().enumerate().map(|(index, weight)| {
            json!({ "type": "equals", "value": if index < good { "18" } else { "19" }, "weight": weight })
        });
        let grade = grade(
            &case(case_threshold),
            &[],
            &checks(list.collect()),
            run_threshold,
            said(&answer("18"), &Seen::text("18")),
        );
        assert_eq!(grade.verdicts.len(), weights.len());
        (grade.passed, grade.score)
    }

    #[test]
    fn without_assertions_every_answer_passes() {
        assert_eq!(graded(0, &[], None, None), (true, 1.0));
        assert_eq!(graded(0, &[], Some(1.0), None), (true, 1.0));
    }

    #[test]
    fn without_a_threshold_all_have_to_pass() {
        assert_eq!(graded(2, &[1.0, 3.0], None, None), (true, 1.0));
        assert_eq!(graded(1, &[1.0, 3.0], None, None), (false, 0.25));
    }

    #[test]
    fn a_threshold_decides_by_the_score_and_the_cases_own_wins() {
        assert_eq!(graded(1, &[1.0, 3.0], Some(0.25), None), (true, 0.25));
        assert_eq!(graded(1, &[1.0, 3.0], Some(0.3), Some(0.0)), (false, 0.25));
        assert_eq!(graded(1, &[1.0, 3.0], None, Some(0.2)), (true, 0.25));
        assert_eq!(graded(0, &[1.0], Some(0.0), None), (true, 0.0));
        assert!(graded(7, &[0.1; 10], Some(0.7), None).0);
        assert!(!graded(6, &[0.1; 10], Some(0.7), None).0);
    }

    #[test]
    fn a_weight_of_nothing_is_recorded_and_does_not_count() {
        assert_eq!(graded(1, &[1.0, 0.0], None, None), (true, 1.0));
        assert_eq!(graded(0, &[0.0, 0.0], None, None), (true, 0.0));
        assert_eq!(graded(0, &[0.0], Some(0.5), None), (false, 0.0));
        let grade = grade(
            &case(None),
            &[],
            &checks(json!([{ "type": "equals", "value": "x", "weight": 0 }])),
            None,
            said(&answer("18"), &Seen::text("18")),
        );
        assert!(grade.passed && !grade.verdicts[0].passed);
    }

    #[test]
    fn no_weights_make_the_score_no_number() {
        assert_eq!(graded(1, &[f64::MAX, f64::MAX], None, None), (false, 0.5));
        assert_eq!(graded(1, &[f64::MIN_POSITIVE, f64::MIN_POSITIVE], None, None), (false, 0.5));
    }

    #[test]
    fn the_runs_verdicts_come_first_and_all_see_the_expected_output() {
        let run = checks(json!([{ "type": "latency", "threshold": 5 }]));
        let own = checks(json!([{ "type": "numeric", "value": "{{ expected_output }}" }]));
        let grade = grade(&case(None), &run, &own, None, said(&answer("A: 18"), &Seen::text("A: 18")));
        let kinds: Vec<&str> = grade.verdicts.iter().map(|verdict| verdict.kind.as_str()).collect();
        assert_eq!((kinds, grade.passed), (vec!["latency", "numeric"], true));
    }
}
