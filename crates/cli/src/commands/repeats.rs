//! `pcs runs repeats`: how often each case passes over the repeats of a run, and which cases are flaky.

use serde::Deserialize;

use super::exit::CliError;
use super::output::{Align, Output, excerpt, plain_line};
use super::target;
use crate::client::Api;

const NAME_CHARS_MAX: usize = 60;
/// Flaky cases that are listed of each version and model.
const CASES_MAX: usize = 20;

/// `runs repeats`.
#[derive(Clone, Debug, clap::Args)]
pub struct Repeats {
    /// The run's id
    pub run: String,
    /// Of how many repeats one shall pass, or all; else as many as the run has
    #[arg(short, long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub k: Option<u16>,
    /// Show what there was at this position of the log, or at a time such as 2026-01-31T23:59:59Z
    #[arg(long, value_name = "POSITION|TIME")]
    pub as_of: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    k: u64,
    arms: Vec<Arm>,
}

#[derive(Debug, Deserialize)]
struct Arm {
    version: u32,
    model: String,
    cases: u64,
    pass_rate: Option<f64>,
    pass_at_k: Option<f64>,
    pass_hat_k: Option<f64>,
    disagreement: Option<f64>,
    flaky_cases: u64,
    flakiest: Vec<Flaky>,
}

#[derive(Debug, Deserialize)]
struct Flaky {
    case_id: String,
    case_name: Option<String>,
    repeats: Counted,
    disagreement: f64,
}

#[derive(Debug, Deserialize)]
struct Counted {
    answered: u64,
    passed: u64,
}

impl Repeats {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let k = self.k.map(|k| k.to_string());
        let mut query: Vec<(&str, &str)> = k.iter().map(|k| ("k", k.as_str())).collect();
        query.extend(self.as_of.iter().map(|as_of| ("as_of", as_of.as_str())));
        let answer = api.show(&["runs", target::run_id(&self.run)?, "repeats"], &query).await?;
        if self.json {
            return output.json(&answer);
        }
        let answer: Answer = Deserialize::deserialize(&answer).map_err(|error| CliError::unreadable(&error))?;
        show(&answer, output)
    }
}

fn show(answer: &Answer, output: &mut Output) -> Result<(), CliError> {
    if answer.arms.is_empty() {
        output.note("no results");
        return Ok(());
    }
    let (any, all) = (format!("pass@{}", answer.k), format!("pass^{}", answer.k));
    let columns = [
        ("version", Align::Right),
        ("model", Align::Left),
        ("cases", Align::Right),
        ("pass rate", Align::Right),
        (any.as_str(), Align::Right),
        (all.as_str(), Align::Right),
        ("disagreement", Align::Right),
        ("flaky", Align::Right),
    ];
    output.table(&columns, answer.arms.iter().map(row).collect())?;
    for arm in answer.arms.iter().filter(|arm| !arm.flakiest.is_empty()) {
        output.line(&format!("\nflaky in version {} with {}:", arm.version, plain_line(&arm.model)))?;
        let columns = [("case", Align::Left), ("passed", Align::Right), ("disagreement", Align::Right)];
        output.table(&columns, arm.flakiest.iter().take(CASES_MAX).map(flaky_row).collect())?;
    }
    Ok(())
}

fn row(arm: &Arm) -> Vec<String> {
    vec![
        arm.version.to_string(),
        excerpt(&arm.model, NAME_CHARS_MAX),
        arm.cases.to_string(),
        share(arm.pass_rate),
        share(arm.pass_at_k),
        share(arm.pass_hat_k),
        share(arm.disagreement),
        arm.flaky_cases.to_string(),
    ]
}

fn flaky_row(case: &Flaky) -> Vec<String> {
    let name = case.case_name.as_deref().unwrap_or(&case.case_id);
    let passed = format!("{}/{}", case.repeats.passed, case.repeats.answered);
    vec![excerpt(name, NAME_CHARS_MAX), passed, share(Some(case.disagreement))]
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";

    #[tokio::test]
    async fn repeats_are_shown_with_the_flakiest_cases() {
        let repeats = json!({ "answered": 4, "passed": 2, "errors": 0 });
        let flaky = json!({ "case_id": "c1", "case_name": null, "repeats": repeats, "disagreement": 2.0 / 3.0 });
        let arm = json!({ "version": 1, "model": "m", "cases": 3, "pass_rate": 0.5, "cases_with_k": 3, "pass_at_k": 0.6,
            "pass_hat_k": null, "disagreement": 0.2, "flaky_cases": 1, "flakiest": [flaky] });
        let answer = json!({ "run_id": RUN, "k": 2, "arms": [arm] });
        let server = FakeServer::in_order(vec![Reply::json(200, answer)]);
        let (mut output, out, _) = captured();
        let asked = Repeats { run: RUN.to_owned(), k: Some(2), as_of: None, json: false };
        asked.against(&server.api(), &mut output).await.unwrap();
        assert_eq!(
            out.text(),
            "version  model  cases  pass rate   pass@2  pass^2  disagreement  flaky\n      \
             1  m          3    50.00 %  60.00 %       -       20.00 %      1\n\
             \n\
             flaky in version 1 with m:\n\
             case  passed  disagreement\n\
             c1       2/4       66.67 %\n"
        );
        assert_eq!(server.lines(), [format!("GET /api/v1/runs/{RUN}/repeats?k=2")]);
    }
}
