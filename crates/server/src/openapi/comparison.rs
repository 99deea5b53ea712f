//! The schemas of comparisons and of what repeats say.

use utoipa::ToSchema;
use uuid::Uuid;

/// Two runs compared.
#[derive(ToSchema)]
#[schema(as = RunComparison)]
pub(crate) struct ComparisonDoc {
    run_id: Uuid,
    baseline_run_id: Uuid,
    /// Whether all runs have ended; else this is a comparison of what there is.
    final_results: bool,
    /// Up to which p-value a difference is real.
    level: f64,
    /// One for each model of each run that is compared.
    comparisons: Vec<ArmComparisonDoc>,
}

/// A version with a model.
#[derive(ToSchema)]
#[schema(as = Arm)]
pub(crate) struct ArmDoc {
    version: u32,
    /// Its name in the run.
    model: String,
}

/// A version with a model, compared with another.
#[derive(ToSchema)]
#[schema(as = ArmComparison)]
pub(crate) struct ArmComparisonDoc {
    /// The run that is judged.
    run_id: Uuid,
    baseline: ArmDoc,
    candidate: ArmDoc,
    cases: AlignmentDoc,
    /// On quality: of passes, scores and named metrics. Latency and cost have verdicts of their own only.
    verdict: ComparisonVerdictDoc,
    metrics: Vec<MetricComparisonDoc>,
    /// Cases that pass less often, the worst first; at most 100.
    regressions: Vec<ChangedCaseDoc>,
    /// Cases that pass more often, the best first; at most 100.
    improvements: Vec<ChangedCaseDoc>,
}

/// What became of the cases of both sides.
#[derive(ToSchema)]
#[schema(as = Alignment)]
pub(crate) struct AlignmentDoc {
    /// Answered on both sides: these are compared.
    compared: usize,
    only_in_baseline: usize,
    only_in_candidate: usize,
    /// With other variables than before.
    changed: usize,
    /// Without an answer on one side.
    unanswered: usize,
}

/// What is to be thought of a difference.
#[derive(ToSchema)]
#[schema(as = ComparisonVerdict)]
pub(crate) struct ComparisonVerdictDoc {
    is: VerdictKind,
    /// About so many more repeats of each case, on both sides, would tell; null where the verdict is another.
    #[schema(required)]
    more_repeats: Option<u64>,
}

/// The four verdicts.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum VerdictKind {
    Regressed,
    Improved,
    NoEvidence,
    NeedsRepeats,
}

/// Which way is better.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// By what a metric is judged: cases up and down, exactly, or how far they went.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum SignificanceTest {
    Sign,
    Permutation,
}

/// A metric compared.
#[derive(ToSchema)]
#[schema(as = MetricComparison)]
pub(crate) struct MetricComparisonDoc {
    /// `pass`, `score`, `latency_ms`, `cost_usd`, or `metric:` with the name of an assertion's metric.
    name: String,
    better: Better,
    test: SignificanceTest,
    /// Cases that both sides have.
    cases: u64,
    /// The mean of the baseline's cases.
    baseline: f64,
    /// The mean of the candidate's cases.
    candidate: f64,
    difference: f64,
    /// Where the difference is with a probability of 95 %; null where there is one case.
    #[schema(required)]
    interval: Option<[f64; 2]>,
    better_cases: u64,
    worse_cases: u64,
    /// How likely such a difference is by chance.
    p_value: f64,
    /// The same, adjusted for all metrics that were compared.
    p_adjusted: f64,
    verdict: ComparisonVerdictDoc,
}

/// The repeats of a case.
#[derive(ToSchema)]
#[schema(as = Repeats)]
pub(crate) struct RepeatsDoc {
    /// With an answer.
    answered: u64,
    /// Of these, passed.
    passed: u64,
    /// Without an answer.
    errors: u64,
}

/// A case that passes more or less often than before.
#[derive(ToSchema)]
#[schema(as = ChangedCase)]
pub(crate) struct ChangedCaseDoc {
    case_id: Uuid,
    #[schema(required)]
    case_name: Option<String>,
    baseline: RepeatsDoc,
    candidate: RepeatsDoc,
    #[schema(inline)]
    cause: CauseDoc,
}

/// What made the difference: another answer, other demands, or both.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CauseDoc {
    Output,
    Grader,
    Both,
    Review,
    Unknown,
}

/// The named metrics of a run.
#[derive(ToSchema)]
#[schema(as = RunMetrics)]
pub(crate) struct RunMetricsDoc {
    run_id: Uuid,
    /// One for each version and model that has results.
    arms: Vec<ArmMetricsDoc>,
}

/// The metrics of one version with one model.
#[derive(ToSchema)]
#[schema(as = ArmMetrics)]
pub(crate) struct ArmMetricsDoc {
    version: u32,
    model: String,
    /// Answers there are, with a metric or without.
    answers: u64,
    metrics: Vec<NamedMetricDoc>,
}

/// What the verdicts with a metric's name come to.
#[derive(ToSchema)]
#[schema(as = NamedMetric)]
pub(crate) struct NamedMetricDoc {
    name: String,
    /// Verdicts that have it.
    count: u64,
    /// The sum of their scores.
    sum: f64,
    /// The mean of their scores.
    mean: f64,
}

/// What a run's repeats say.
#[derive(ToSchema)]
#[schema(as = RunRepeats)]
pub(crate) struct RunRepeatsDoc {
    run_id: Uuid,
    /// How many repeats are looked at together.
    k: u64,
    /// One for each version and model.
    arms: Vec<ArmRepeatsDoc>,
}

/// The repeats of one version with one model.
#[derive(ToSchema)]
#[schema(as = ArmRepeats)]
pub(crate) struct ArmRepeatsDoc {
    version: u32,
    model: String,
    /// Cases with an answer.
    cases: usize,
    /// The mean of the cases' pass rates.
    #[schema(required)]
    pass_rate: Option<f64>,
    /// Cases with at least k answers.
    cases_with_k: usize,
    /// The probability that at least one of k repeats of a case passes.
    #[schema(required)]
    pass_at_k: Option<f64>,
    /// The probability that all of k repeats of a case pass.
    #[schema(required)]
    pass_hat_k: Option<f64>,
    /// The probability that two repeats of a case disagree: the flake score.
    #[schema(required)]
    disagreement: Option<f64>,
    /// How many cases neither always pass nor always fail.
    flaky_cases: usize,
    /// The cases whose repeats disagree most; at most 100.
    flakiest: Vec<FlakyCaseDoc>,
}

/// A case whose repeats disagree.
#[derive(ToSchema)]
#[schema(as = FlakyCase)]
pub(crate) struct FlakyCaseDoc {
    case_id: Uuid,
    #[schema(required)]
    case_name: Option<String>,
    repeats: RepeatsDoc,
    disagreement: f64,
}
