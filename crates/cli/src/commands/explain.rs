//! `pcs runs explain`: the numbers of a run, counted once more from its results, each with the events that it is made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output, excerpt};
use super::page::{RESULTS_PAGE_LEN_MAX, collect};
use super::target;
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;
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
        if self.json {
            output.json(&explained)?;
        } else {
            show(&explained, output)?;
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
    use serde_json::json;

    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";

    fn server(passed: u64) -> FakeServer {
        let result =
            |status: &str, position: i64| json!({ "version": 1, "model": "m", "status": status, "position": position });
        let items = json!([result("passed", 9), result("failed", 7), result("passed", 5)]);
        FakeServer::in_order(vec![
            Reply::json(200, json!({ "id": RUN, "totals": { "passed": passed, "failed": 1, "errors": 0 } })),
            Reply::json(200, json!({ "items": items, "next_cursor": null })),
        ])
    }

    #[tokio::test]
    async fn each_number_has_its_events() {
        let (mut output, out, err) = captured();
        let explain = Explain { run: RUN.to_owned(), json: false };
        assert_eq!(explain.against(&server(2).api(), &mut output).await.unwrap(), ExitStatus::Success);
        assert_eq!(
            out.text(),
            "version  model  status  count  events at\n      \
             1  m      failed      1  7\n      \
             1  m      passed      2  5 9\n"
        );
        assert!(err.text().contains("3 results: the same as the run says"), "{}", err.text());
    }

    #[tokio::test]
    async fn a_number_that_can_not_be_counted_again_is_told() {
        let (mut output, _, err) = captured();
        let explain = Explain { run: RUN.to_owned(), json: true };
        assert_eq!(explain.against(&server(3).api(), &mut output).await.unwrap(), ExitStatus::GateFailed);
        assert!(err.text().contains("counted 2 passed"), "{}", err.text());
    }
}
