//! What is compared with what, and what is said about it.

use uuid::Uuid;

use super::*;

fn case(version: u32, model: &str, id: u128, answered: u64, passed: u64) -> CaseResults {
    let number = |number: u64| f64::from(u32::try_from(number).unwrap());
    let sums = Sums { count: answered, sum: number(passed), squares: number(passed) };
    let latency_ms = Sums { count: answered, sum: number(answered) * 10.0, squares: number(answered) * 100.0 };
    CaseResults {
        version,
        model: model.to_owned(),
        case_id: TestCaseId(Uuid::from_u128(id)),
        case_name: None,
        content: "same".to_owned(),
        outputs: "said".to_owned(),
        grader: Some("1-a".to_owned()),
        answered,
        passed,
        errors: 0,
        overridden: 0,
        score: sums,
        latency_ms,
        cost_micro_usd: Sums::default(),
    }
}

/// Twenty cases of which the first so many pass.
fn run(version: u32, model: &str, passing: u128) -> CountedRun {
    let cases = (0..20).map(|id| case(version, model, id, 1, u64::from(id < passing))).collect();
    CountedRun { cases, metrics: Vec::new() }
}

fn side(number: u128, counted: &CountedRun, wanted: Wanted) -> Side {
    Side { run_id: TestRunId(Uuid::from_u128(number)), counted: counted.clone(), wanted }
}

fn any() -> Wanted {
    Wanted::default()
}

fn compared(baseline: &CountedRun, candidate: &CountedRun) -> Vec<ArmComparison> {
    compare_runs(&side(1, baseline, any()), &[side(2, candidate, any())], 0.05).unwrap()
}

#[test]
fn a_run_that_broke_half_of_its_cases_has_regressed() {
    let arms = compared(&run(1, "m", 20), &run(2, "n", 10));
    let [arm] = arms.as_slice() else { panic!("one pair of arms") };
    assert_eq!((arm.baseline.version, arm.candidate.version, arm.verdict), (1, 2, Verdict::Regressed));
    assert_eq!((arm.cases.compared, arm.regressions.len(), arm.improvements.len()), (20, 10, 0));
    let names: Vec<&str> = arm.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, [PASS, LATENCY], "the score says the same as passes, and there is no price");
    assert_eq!(compared(&run(1, "m", 10), &run(2, "n", 20))[0].verdict, Verdict::Improved);
}

#[test]
fn models_are_compared_with_their_like_by_their_newest_versions() {
    let mut baseline = run(1, "a", 20);
    baseline.cases.extend(run(2, "a", 20).cases.into_iter().chain(run(2, "b", 20).cases));
    let mut candidate = run(3, "a", 20);
    candidate.cases.extend(run(3, "c", 20).cases);
    let arms = compared(&baseline, &candidate);
    assert_eq!(arms.len(), 1);
    assert_eq!((&*arms[0].baseline.model, arms[0].baseline.version), ("a", 2));
    let chosen = Wanted { model: Some("c".to_owned()), version: None };
    let older = Wanted { model: Some("a".to_owned()), version: Some(1) };
    let arms = compare_runs(&side(1, &baseline, older), &[side(2, &candidate, chosen.clone())], 0.05).unwrap();
    assert_eq!((arms[0].baseline.version, &*arms[0].candidate.model), (1, "c"));
    let neither = compare_runs(&side(1, &baseline, any()), &[side(2, &candidate, chosen)], 0.05);
    assert_eq!(neither, Err(CannotPair::NoCommonModel));
}

#[test]
fn runs_that_are_compared_at_once_pay_for_being_many() {
    let baseline = run(1, "m", 20);
    // Seven of twenty cases are worse: hardly by chance, alone.
    let mut worse = run(1, "m", 20);
    worse.cases.iter_mut().take(7).for_each(|case| case.passed = 0);
    let alone = compare_runs(&side(1, &baseline, any()), &[side(2, &worse, any())], 0.05).unwrap();
    assert_eq!(alone[0].verdict, Verdict::Regressed);
    let mut many = vec![side(2, &worse, any())];
    many.extend((3..12).map(|number| side(number, &baseline, any())));
    let compared = compare_runs(&side(1, &baseline, any()), &many, 0.05).unwrap();
    assert_eq!((compared.len(), compared[0].run_id), (10, TestRunId(Uuid::from_u128(2))));
    assert!(compared[0].metrics[0].p_adjusted > alone[0].metrics[0].p_adjusted);
    assert_ne!(compared[0].verdict, Verdict::Regressed);
}

#[test]
fn a_run_is_not_compared_with_itself() {
    let one = run(1, "a", 5);
    assert_eq!(compare_runs(&side(1, &one, any()), &[side(1, &one, any())], 0.05), Err(CannotPair::Itself));
    let none = compare_runs(&side(1, &CountedRun::default(), any()), &[side(2, &one, any())], 0.05);
    assert_eq!(none, Err(CannotPair::NoResults { side: "baseline" }));
}

#[test]
fn cases_that_say_nothing_are_left_out_and_counted() {
    let (mut baseline, mut candidate) = (run(1, "m", 20), run(1, "m", 20));
    baseline.cases.truncate(19);
    candidate.cases.remove(0);
    candidate.cases[0].content = "other".to_owned();
    (candidate.cases[1].answered, candidate.cases[1].errors) = (0, 1);
    let arms = compared(&baseline, &candidate);
    let expected = Alignment { compared: 16, only_in_baseline: 1, only_in_candidate: 1, changed: 1, unanswered: 1 };
    assert_eq!((arms[0].cases, arms[0].verdict), (expected, Verdict::NoEvidence));
}

#[test]
fn a_named_metric_decides_too() {
    let (mut baseline, mut candidate) = (run(1, "m", 20), run(1, "m", 20));
    let metrics = |score: f64| -> Vec<MetricResults> {
        let of = |id: u128| MetricResults {
            metric: "tone".to_owned(),
            version: 1,
            model: "m".to_owned(),
            case_id: TestCaseId(Uuid::from_u128(id)),
            score: Sums { count: 1, sum: score, squares: score * score },
        };
        (0..20).map(of).collect()
    };
    (baseline.metrics, candidate.metrics) = (metrics(0.9), metrics(0.4));
    let arms = compared(&baseline, &candidate);
    assert_eq!((arms[0].verdict, arms[0].metrics.len()), (Verdict::Regressed, 3));
    assert_eq!(arms[0].metrics[2].name, "metric:tone");
}

#[test]
fn a_change_is_told_by_its_cause() {
    let before = case(1, "m", 1, 2, 2);
    let of = |outputs: &str, grader: Option<&str>| {
        let (outputs, grader) = (outputs.to_owned(), grader.map(str::to_owned));
        cause(&before, &CaseResults { outputs, grader, ..before.clone() })
    };
    assert_eq!(of("other", Some("1-a")), Cause::Output);
    assert_eq!(of("said", Some("1-b")), Cause::Grader);
    assert_eq!(of("other", Some("1-b")), Cause::Both);
    // What graded it is not known: it was before there were versions.
    assert_eq!(of("other", None), Cause::Output);
    assert_eq!(of("said", Some("1-a")), Cause::Unknown);
}
