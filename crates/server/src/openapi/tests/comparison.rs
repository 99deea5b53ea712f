//! What comparisons answer, one of each, for the comparison with the schemas.

use pcs_domain::ids::{TestCaseId, TestRunId};
use pcs_projections::comparison::{Alignment, Arm, ArmComparison, Cause, ChangedCase, Repeats};
use pcs_projections::repeats::{ArmRepeats, FlakyCase};
use pcs_projections::run_metrics::{ArmMetrics, NamedMetric};
use pcs_statistics::{Better, Metric, Pair, Sample, Test, Verdict, compare};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::comparison::{Answer, RepeatsAnswer};
use crate::routes::run_metrics;

pub(super) fn rows() -> Vec<(&'static str, Value)> {
    let run_id = TestRunId(Uuid::nil());
    let arm = Arm { version: 1, model: String::new() };
    let repeats = Repeats { answered: 1, passed: 1, errors: 0 };
    let case_id = TestCaseId(Uuid::nil());
    let changed = ChangedCase { case_id, case_name: None, baseline: repeats, candidate: repeats, cause: Cause::Output };
    let comparison = ArmComparison {
        run_id: TestRunId(Uuid::nil()),
        baseline: arm.clone(),
        candidate: arm.clone(),
        cases: Alignment::default(),
        verdict: Verdict::NoEvidence,
        metrics: Vec::new(),
        regressions: vec![changed.clone()],
        improvements: Vec::new(),
    };
    let answer = Answer { run_id, baseline_run_id: run_id, final_results: true, level: 0.05, comparisons: Vec::new() };
    let flaky = FlakyCase { case_id, case_name: None, repeats, disagreement: 0.5 };
    let of_arm = ArmRepeats {
        arm: arm.clone(),
        cases: 1,
        pass_rate: None,
        cases_with_k: 0,
        pass_at_k: None,
        pass_hat_k: None,
        disagreement: None,
        flaky_cases: 0,
        flakiest: Vec::new(),
    };
    let named = json!(NamedMetric { name: String::new(), count: 1, sum: 1.0, mean: 1.0 });
    let of_metrics = ArmMetrics { arm: arm.clone(), answers: 1, metrics: Vec::new() };
    vec![
        ("NamedMetric", named),
        ("ArmMetrics", json!(of_metrics)),
        ("RunMetrics", json!(run_metrics::Answer { run_id, arms: Vec::new() })),
        ("RunComparison", serde_json::to_value(answer).unwrap()),
        ("Arm", serde_json::to_value(arm).unwrap()),
        ("ArmComparison", serde_json::to_value(comparison).unwrap()),
        ("Alignment", serde_json::to_value(Alignment::default()).unwrap()),
        ("ComparisonVerdict", serde_json::to_value(Verdict::NeedsRepeats { more: 1 }).unwrap()),
        ("MetricComparison", metric()),
        ("Repeats", serde_json::to_value(repeats).unwrap()),
        ("ChangedCase", serde_json::to_value(changed).unwrap()),
        ("RunRepeats", serde_json::to_value(RepeatsAnswer { run_id, k: 1, arms: Vec::new() }).unwrap()),
        ("ArmRepeats", serde_json::to_value(of_arm).unwrap()),
        ("FlakyCase", serde_json::to_value(flaky).unwrap()),
    ]
}

fn metric() -> Value {
    let sample = Sample { trials: 1, mean: 1.0, variance: None };
    let pairs = vec![Pair { baseline: sample, candidate: sample }];
    let metric = Metric { name: String::new(), better: Better::Lower, test: Test::Permutation, pairs };
    serde_json::to_value(&compare(&[metric], 0.05)[0]).unwrap()
}
