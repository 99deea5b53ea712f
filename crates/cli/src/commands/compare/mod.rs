//! `pcs runs compare`: whether a run is better or worse than another one, for people, pull requests and gates.

pub(crate) mod baseline;
mod outputs;
mod show;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;

use self::baseline::Baseline;
use self::outputs::Answers;
use super::exit::{CliError, ExitStatus};
use super::output::Output;
use super::target;
use crate::client::Api;

/// The metrics that have verdicts of their own, and how `--fail-on` calls them.
const MEASURES: [(&str, &str); 2] = [("latency", "latency_ms"), ("cost", "cost_usd")];
/// Up to which p-value a difference is real.
const LEVEL: &str = "0.05";
/// The verdict that gates fail on.
const REGRESSED: &str = "regressed";

/// `runs compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Compare {
    /// The run that is judged: its id, or `last`, the newest completed one
    pub run: String,
    /// Further runs that are judged at once: the verdicts take into account that there are many
    #[arg(value_name = "OTHER_RUN")]
    pub others: Vec<String>,
    /// What it is compared with: a run's id; `last`, the newest completed run of its card before it; `label:NAME`, the
    /// newest completed run of the version that has this label; or `branch:NAME`, the newest one of a branch
    #[arg(long, value_name = "RUN", default_value = "last")]
    pub baseline: String,
    /// This version of the run; else each model's newest
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// This model of the run; else every one that both have
    #[arg(long)]
    pub model: Option<String>,
    /// This version of the baseline; else each model's newest
    #[arg(long, value_name = "N")]
    pub baseline_version: Option<u32>,
    /// This model of the baseline
    #[arg(long, value_name = "MODEL")]
    pub baseline_model: Option<String>,
    /// Up to which p-value a difference is real
    #[arg(long, value_name = "P", default_value = LEVEL)]
    pub level: String,
    /// Exit with 1 where the quality regressed (or no case could be compared), or the latency or the cost did; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = ["regressed", "latency", "cost"])]
    pub fail_on: Vec<String>,
    /// Show what the answers of so many cases that are worse, and of so many that are better, said before and say now
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub outputs: usize,
    /// Compare what there was at this position of the log, or at a time such as 2026-01-31T23:59:59Z
    #[arg(long, value_name = "POSITION|TIME")]
    pub as_of: Option<String>,
    /// Print Markdown, as for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What the server answers, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Compared {
    run_id: String,
    baseline_run_id: String,
    final_results: bool,
    comparisons: Vec<ArmCompared>,
}

#[derive(Debug, Deserialize)]
struct ArmCompared {
    run_id: String,
    baseline: Arm,
    candidate: Arm,
    cases: Cases,
    verdict: Verdict,
    metrics: Vec<Metric>,
    regressions: Vec<Changed>,
    improvements: Vec<Changed>,
}

#[derive(Debug, Deserialize)]
struct Arm {
    version: u32,
    model: String,
}

#[derive(Debug, Deserialize)]
struct Cases {
    compared: u64,
    only_in_baseline: u64,
    only_in_candidate: u64,
    changed: u64,
    unanswered: u64,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    is: String,
    more_repeats: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Metric {
    name: String,
    baseline: f64,
    candidate: f64,
    difference: f64,
    interval: Option<[f64; 2]>,
    better_cases: u64,
    worse_cases: u64,
    p_adjusted: f64,
    verdict: Verdict,
}

#[derive(Debug, Deserialize)]
struct Changed {
    case_id: String,
    case_name: Option<String>,
    baseline: Repeats,
    candidate: Repeats,
    /// `output`, `grader` or `both`.
    #[serde(default)]
    cause: String,
}

#[derive(Debug, Deserialize)]
struct Repeats {
    answered: u64,
    passed: u64,
}

impl Compare {
    /// Compares, shows it, and says whether a gate failed.
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        let run = target::run(api, &self.run).await?;
        let found = baseline::of_run(api, &run, &self.baseline).await?;
        let (answer, compared) = self.ask(api, &run, &found).await?;
        let answers = outputs::of(api, &compared, self.outputs).await?;
        self.show(answer, &compared, &answers, output)?;
        Ok(self.status(&compared))
    }

    async fn ask(&self, api: &Api, run: &str, found: &Baseline) -> Result<(Value, Compared), CliError> {
        let baseline_version = self.baseline_version.or(found.version).map(|version| version.to_string());
        let version = self.version.map(|version| version.to_string());
        let mut others = Vec::new();
        for other in &self.others {
            others.push(target::run_id(other)?);
        }
        let and = (!others.is_empty()).then(|| others.join(","));
        let parameters = [
            ("baseline", Some(&found.run)),
            ("version", version.as_ref()),
            ("model", self.model.as_ref()),
            ("baseline_version", baseline_version.as_ref()),
            ("baseline_model", self.baseline_model.as_ref()),
            ("level", Some(&self.level)),
            ("and", and.as_ref()),
            ("as_of", self.as_of.as_ref()),
        ];
        let query: Vec<(&str, &str)> =
            parameters.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.as_str()))).collect();
        let answer = api.show(&["runs", run, "comparison"], &query).await?;
        let compared = Deserialize::deserialize(&answer).map_err(|error| CliError::unreadable(&error))?;
        Ok((answer, compared))
    }

    fn status(&self, compared: &Compared) -> ExitStatus {
        let failed = compared.comparisons.iter().any(|arm| self.fails(arm));
        if failed { ExitStatus::GateFailed } else { ExitStatus::Success }
    }

    fn show(
        &self,
        mut answer: Value,
        compared: &Compared,
        answers: &[Answers],
        output: &mut Output,
    ) -> Result<(), CliError> {
        if self.json {
            if self.outputs > 0 {
                answer["outputs"] = serde_json::to_value(answers).unwrap_or_default();
            }
            return output.json(&answer);
        }
        if !compared.final_results {
            output.note("a run has not ended: this compares what there is");
        }
        if self.markdown {
            let mut page = show::markdown(compared);
            outputs::markdown(answers, &mut page);
            return output.text(&page);
        }
        show::text(compared, output)?;
        outputs::text(answers, output)
    }

    fn fails(&self, arm: &ArmCompared) -> bool {
        self.fail_on.iter().any(|what| match MEASURES.iter().find(|(name, _)| name == what) {
            Some((_, metric)) => arm.metrics.iter().any(|one| one.name == *metric && one.verdict.is == REGRESSED),
            // A run without an answer is no better for having none that could be worse.
            None => arm.verdict.is == REGRESSED || arm.cases.compared == 0,
        })
    }
}

/// Compares a run that has ended with a baseline and shows it where `shown`; answers whether a gate failed, and the
/// comparison as Markdown.
pub(crate) async fn compare_with(
    api: &Api,
    run: &str,
    (baseline, fail_on): (&Baseline, &[String]),
    shown: bool,
    output: &mut Output,
) -> Result<(ExitStatus, String), CliError> {
    let compare = Compare {
        run: run.to_owned(),
        others: Vec::new(),
        as_of: None,
        baseline: baseline.run.clone(),
        version: None,
        model: None,
        baseline_version: None,
        baseline_model: None,
        level: LEVEL.to_owned(),
        fail_on: fail_on.to_vec(),
        outputs: 0,
        markdown: false,
        json: false,
    };
    let (_, compared) = compare.ask(api, run, baseline).await?;
    if shown {
        output.line("")?;
        show::text(&compared, output)?;
    }
    let status = compare.status(&compared);
    if status == ExitStatus::GateFailed {
        output.note(&format!("gate failed: worse than run {}, or not to be compared with it", baseline.run));
    }
    Ok((status, show::markdown(&compared)))
}
