//! `pcs runs explain`: the numbers of a run, counted once more from its results, each with the events that it is made of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output, excerpt};
use super::page::{RESULTS_PAGE_LEN_MAX, collect};
use super::target;
use crate::client::Api;
use crate::client::run_wire::{ExecutionResult, Latency, ModelTotals};
use crate::client::runs::ResultFilter;

const NAME_CHARS_MAX: usize = 40;
/// Positions that are shown of each number; JSON has all of them.
const POSITIONS_SHOWN: usize = 8;

/// `runs explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Print JSON, with every position
    #[arg(long)]
    pub json: bool,
}

/// A number and what it is made of.
#[derive(Debug, Serialize)]
struct Explained {
    version: u32,
    model: String,
    /// `passed`, `failed` or `error`.
    status: String,
    count: usize,
    /// Where the events are in the log: `pcs es event get POSITION` shows one.
    positions: Vec<i64>,
}

/// What the answers of one model took, added up once more, and whether the run says the same.
#[derive(Debug, Serialize)]
struct Summed {
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    /// Absent unless the price of each is known.
    cost_usd: Option<f64>,
    latency_ms: Latency,
    is_same: bool,
}

impl Explain {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        let id = &target::run(api, &self.run).await?;
        let run = api.run(id).await?;
        let filter = ResultFilter::default();
        let page = async |limit, cursor: Option<&str>| api.results(id, &filter, limit, cursor).await;
        let results = collect(usize::MAX, RESULTS_PAGE_LEN_MAX, page).await?.items;
        let explained = explained(&results);
        let count =
            |status: &str| explained.iter().filter(|one| one.status == status).map(|one| one.count as u64).sum::<u64>();
        let counted = [count("passed"), count("failed"), count("error")];
        let told = [run.totals.passed, run.totals.failed, run.totals.errors];
        let sums: Vec<Summed> = run.by_model.iter().map(|told| summed(&results, told)).collect();
        if self.json {
            output.json(&json!({ "counts": explained, "sums": sums }))?;
        } else {
            show(&explained, output)?;
            show_sums(&sums, output)?;
        }
        let differs = sums.iter().find(|sum| !sum.is_same);
        if let (true, Some(sum)) = (counted == told, differs) {
            output.note(&format!(
                "the sums of {} are not those that the run says: read it again, or verify the log",
                excerpt(&sum.model, NAME_CHARS_MAX)
            ));
            return Ok(ExitStatus::GateFailed);
        }
        if counted == told {
            output.note(&format!("{} results: the same as the run says", results.len()));
            return Ok(ExitStatus::Success);
        }
        output.note(&format!(
            "counted {} passed, {} failed, {} errors, and the run says {}, {} and {}: read it again, or verify the log",
            counted[0], counted[1], counted[2], told[0], told[1], told[2]
        ));
        Ok(ExitStatus::GateFailed)
    }
}

fn explained(results: &[ExecutionResult]) -> Vec<Explained> {
    let mut by: BTreeMap<(u32, &str, &str), Vec<i64>> = BTreeMap::new();
    for result in results {
        let key = (result.version, result.model.as_str(), result.status.as_str());
        by.entry(key).or_default().push(result.position);
    }
    let explained = by.into_iter().map(|((version, model, status), mut positions)| {
        positions.sort_unstable();
        let (model, status) = (model.to_owned(), status.to_owned());
        Explained { version, model, status, count: positions.len(), positions }
    });
    explained.collect()
}

/// Costs are told in millionths of a dollar, and added up in them by the run.
const COST_TOLERANCE: f64 = 1e-6;
/// How far a percentile of the run may be from the exact one, relative: it is counted in classes.
const LATENCY_TOLERANCE: f64 = 0.01;

fn summed(results: &[ExecutionResult], told: &ModelTotals) -> Summed {
    let answers: Vec<&ExecutionResult> =
        results.iter().filter(|result| result.model == told.model && result.status != "error").collect();
    let sum = |of: fn(&ExecutionResult) -> Option<u64>| answers.iter().filter_map(|result| of(result)).sum::<u64>();
    let costs: Option<Vec<f64>> = answers.iter().map(|result| result.cost_usd).collect();
    let cost_usd = costs.filter(|costs| !costs.is_empty()).map(|costs| costs.iter().sum::<f64>());
    let mut latencies: Vec<u64> = answers.iter().filter_map(|result| result.latency_ms).collect();
    latencies.sort_unstable();
    let (input_tokens, output_tokens) = (sum(|result| result.input_tokens), sum(|result| result.output_tokens));
    let latency_ms = Latency { p50: percentile(&latencies, 50), p95: percentile(&latencies, 95) };
    let same_cost = match (cost_usd, told.cost_usd) {
        (Some(one), Some(other)) => (one - other).abs() <= COST_TOLERANCE,
        (one, other) => one.is_none() && other.is_none(),
    };
    let is_same = same_cost
        && (input_tokens, output_tokens) == (told.tokens.input, told.tokens.output)
        && is_near(latency_ms.p50, told.latency_ms.p50)
        && is_near(latency_ms.p95, told.latency_ms.p95);
    Summed { model: told.model.clone(), input_tokens, output_tokens, cost_usd, latency_ms, is_same }
}

/// The smallest value that so many of a hundred do not exceed.
fn percentile(sorted: &[u64], share: usize) -> Option<u64> {
    sorted.get((sorted.len() * share).div_ceil(100).checked_sub(1)?).copied()
}

fn is_near(exact: Option<u64>, told: Option<u64>) -> bool {
    match (exact, told) {
        (Some(exact), Some(told)) => {
            #[expect(clippy::cast_precision_loss, reason = "no call takes 2^53 milliseconds")]
            let (difference, exact) = (exact.abs_diff(told) as f64, exact as f64);
            difference <= 1.0 + exact * LATENCY_TOLERANCE
        }
        (exact, told) => exact == told,
    }
}

fn show_sums(sums: &[Summed], output: &mut Output) -> Result<(), CliError> {
    let columns = [
        ("model", Align::Left),
        ("tokens in/out", Align::Right),
        ("cost", Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
    ];
    let row = |sum: &Summed| {
        let millis = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |millis| format!("{millis} ms"));
        vec![
            excerpt(&sum.model, NAME_CHARS_MAX),
            format!("{}/{}", sum.input_tokens, sum.output_tokens),
            sum.cost_usd.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.6} USD")),
            millis(sum.latency_ms.p50),
            millis(sum.latency_ms.p95),
        ]
    };
    output.line("")?;
    output.table(&columns, sums.iter().map(row).collect())
}

fn show(explained: &[Explained], output: &mut Output) -> Result<(), CliError> {
    let columns = [
        ("version", Align::Right),
        ("model", Align::Left),
        ("status", Align::Left),
        ("count", Align::Right),
        ("events at", Align::Left),
    ];
    let row = |one: &Explained| {
        let shown = one.positions.iter().take(POSITIONS_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let more = one.positions.len().saturating_sub(POSITIONS_SHOWN);
        let positions = if more > 0 { format!("{shown} and {more} more") } else { shown };
        vec![
            one.version.to_string(),
            excerpt(&one.model, NAME_CHARS_MAX),
            one.status.clone(),
            one.count.to_string(),
            positions,
        ]
    };
    output.table(&columns, explained.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";

    fn server(passed: u64, input: u64) -> FakeServer {
        let result = |status: &str, position: i64| {
            json!({ "version": 1, "model": "m", "status": status, "position": position, "latency_ms": position,
                    "input_tokens": 2, "output_tokens": 1, "cost_usd": 0.25 })
        };
        let told = json!({ "model": "m", "tokens": { "input": input, "output": 3 }, "cost_usd": 0.75,
                           "latency_ms": { "p50": 7, "p95": 9 } });
        let items = json!([result("passed", 9), result("failed", 7), result("passed", 5)]);
        FakeServer::in_order(vec![
            Reply::json(
                200,
                json!({ "id": RUN, "totals": { "passed": passed, "failed": 1, "errors": 0 }, "by_model": [told] }),
            ),
            Reply::json(200, json!({ "items": items, "next_cursor": null })),
        ])
    }

    #[tokio::test]
    async fn each_number_has_its_events() {
        let (mut output, out, err) = captured();
        let explain = Explain { run: RUN.to_owned(), json: false };
        assert_eq!(explain.against(&server(2, 6).api(), &mut output).await.unwrap(), ExitStatus::Success);
        assert_eq!(
            out.text(),
            "version  model  status  count  events at\n      \
             1  m      failed      1  7\n      \
             1  m      passed      2  5 9\n\n\
             model  tokens in/out          cost   p50   p95\n\
             m                6/3  0.750000 USD  7 ms  9 ms\n"
        );
        assert!(err.text().contains("3 results: the same as the run says"), "{}", err.text());
    }

    #[tokio::test]
    async fn a_number_that_can_not_be_counted_again_is_told() {
        let (mut output, _, err) = captured();
        let explain = Explain { run: RUN.to_owned(), json: true };
        assert_eq!(explain.against(&server(3, 6).api(), &mut output).await.unwrap(), ExitStatus::GateFailed);
        assert!(err.text().contains("counted 2 passed"), "{}", err.text());
    }

    #[tokio::test]
    async fn a_sum_that_is_another_one_is_told() {
        let (mut output, _, err) = captured();
        let explain = Explain { run: RUN.to_owned(), json: false };
        assert_eq!(explain.against(&server(2, 7).api(), &mut output).await.unwrap(), ExitStatus::GateFailed);
        assert!(err.text().contains("the sums of m are not those"), "{}", err.text());
    }
}
