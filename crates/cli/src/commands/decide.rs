//! `pcs runs decide`: repeats where two versions of a card are undecided, until they are decided or enough was spent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pcs_statistics::sign_e_value;
use serde::Serialize;
use serde_json::{Value, json};

use super::exit::{CliError, ExitStatus};
use super::output::Output;
use super::page::PAGE_LEN_MAX;
use super::target;
use super::trials::Trials;
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;
use crate::client::wire::Card;
use crate::suite::Suite;

/// How runs of this command are called.
const NAME: &str = "decide";
/// The version that every card has.
const LATEST: &str = "latest";
/// Rounds after which a case whose results were all alike is asked no more.
const SETTLED_ROUNDS: usize = 2;

/// Repeat the cases of two versions until one of them is better, or enough was spent
#[derive(Clone, Debug, clap::Args)]
pub struct Decide {
    /// The card: its id or its exact title
    card: String,
    /// The version to be compared with: its number or a label
    #[arg(long, value_name = "N|LABEL", default_value = "production")]
    baseline: String,
    /// The version in question: its number or a label
    #[arg(long, value_name = "N|LABEL", default_value = "latest")]
    candidate: String,
    /// A model to ask; may be repeated
    #[arg(long = "model", value_name = "ID", required = true)]
    models: Vec<String>,
    /// A file whose demands every answer has to meet, beside those of the cases
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Most rounds, in each of which every case that is undecided is asked once of each version
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds_max: u32,
    /// Stop when this much was spent, in US dollars
    #[arg(long, value_name = "USD")]
    cost_max: Option<f64>,
    /// How often versions that are alike may be taken for different
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    alpha: f64,
    /// Exit with 1 where the candidate is worse
    #[arg(long, value_parser = ["regressed"])]
    fail_on: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Whether the baseline passed, and whether the candidate did, as far as it is known.
type Pair = (Option<bool>, Option<bool>);

/// What has been seen so far.
#[derive(Debug, Default, Serialize)]
struct Standing {
    rounds: u32,
    executions: usize,
    cost_usd: f64,
    /// Pairs of results in which only the candidate passed.
    better: u64,
    /// Pairs in which only the baseline did.
    worse: u64,
    e_value: f64,
    runs: Vec<String>,
    #[serde(skip)]
    seen: BTreeMap<String, Vec<bool>>,
}

impl Decide {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(CliError::usage("--alpha must be between 0 and 1", "write 0.05, or leave it out"));
        }
        let card = target::card(api, &self.card).await?;
        let versions = [version(api, &card, &self.baseline).await?, version(api, &card, &self.candidate).await?];
        if versions[0] == versions[1] {
            let message = format!("{} and {} are the same version {}", self.baseline, self.candidate, versions[0]);
            return Err(CliError::usage(message, "name two: --baseline and --candidate"));
        }
        let suite = self.suite.as_deref().map(Suite::load).transpose()?;
        let mut open = case_ids(api, &card).await?;
        let mut standing = Standing::default();
        let ending = loop {
            if open.is_empty() {
                break "every case is settled";
            }
            if standing.rounds == self.rounds_max {
                break "there were as many rounds as there may be";
            }
            if self.cost_max.is_some_and(|most| standing.cost_usd >= most) {
                break "as much was spent as may be";
            }
            self.round(api, (&card, versions), &open, suite.as_ref(), &mut standing).await?;
            output.note(&format!(
                "round {}: {} cases; better {}, worse {}; evidence {:.1} of {:.0}",
                standing.rounds,
                open.len(),
                standing.better,
                standing.worse,
                standing.e_value,
                1.0 / self.alpha
            ));
            if standing.e_value >= 1.0 / self.alpha {
                break "it is decided";
            }
            open.retain(|case| !standing.is_settled(case));
        };
        let verdict = self.verdict(&standing);
        if self.json {
            let (baseline, candidate) = (versions[0], versions[1]);
            output.json(&json!({ "baseline": baseline, "candidate": candidate, "verdict": verdict, "ending": ending, "seen": standing }))?;
        } else {
            let Standing { rounds, executions, cost_usd, .. } = &standing;
            output.line(&format!(
                "version {} against version {}: {verdict} ({ending}: {rounds} rounds, {executions} executions, {cost_usd:.4} USD)",
                versions[1], versions[0]
            ))?;
        }
        let failed = self.fail_on.is_some() && verdict == "regressed";
        Ok(if failed { ExitStatus::GateFailed } else { ExitStatus::Success })
    }

    async fn round(
        &self,
        api: &Api,
        (card, versions): (&Card, [u32; 2]),
        open: &BTreeSet<String>,
        suite: Option<&Suite>,
        standing: &mut Standing,
    ) -> Result<(), CliError> {
        let models: Vec<Value> = self.models.iter().map(|id| json!({ "id": id })).collect();
        let case_ids: Vec<String> = open.iter().cloned().collect();
        let trials = Trials {
            card_id: &card.id,
            name: NAME,
            versions: &versions,
            models: &models,
            case_ids: &case_ids,
            repeats: 1,
            // What was answered before would be the same trial twice.
            reuse: false,
            suite,
        };
        let ended = trials.made(api).await?;
        standing.rounds += 1;
        standing.runs.push(ended.run_id);
        standing.add(&ended.results, versions);
        Ok(())
    }

    fn verdict(&self, standing: &Standing) -> &'static str {
        if standing.e_value < 1.0 / self.alpha {
            "no evidence"
        } else if standing.better > standing.worse {
            "improved"
        } else {
            "regressed"
        }
    }
}

impl Standing {
    /// Counts a round: each case with each model is one pair, which says something where only one of the two passed.
    fn add(&mut self, results: &[ExecutionResult], [baseline, candidate]: [u32; 2]) {
        self.executions += results.len();
        self.cost_usd += results.iter().filter_map(|result| result.cost_usd).sum::<f64>();
        let mut pairs: BTreeMap<(&str, &str), Pair> = BTreeMap::new();
        for result in results {
            let pair = pairs.entry((&result.case_id, &result.model)).or_default();
            let passed = result.status == "passed";
            if result.version == baseline {
                pair.0 = Some(passed);
            } else if result.version == candidate {
                pair.1 = Some(passed);
            }
            self.seen.entry(result.case_id.clone()).or_default().push(passed);
        }
        for pair in pairs.into_values() {
            match pair {
                (Some(false), Some(true)) => self.better += 1,
                (Some(true), Some(false)) => self.worse += 1,
                _ => (),
            }
        }
        self.e_value = sign_e_value(self.better, self.worse);
    }

    /// Whether all results of a case were alike, of both versions, often enough.
    fn is_settled(&self, case: &str) -> bool {
        let Some(seen) = self.seen.get(case) else { return false };
        let rounds = usize::try_from(self.rounds).unwrap_or(usize::MAX);
        rounds >= SETTLED_ROUNDS && seen.iter().all(|passed| Some(passed) == seen.first())
    }
}

async fn version(api: &Api, card: &Card, named: &str) -> Result<u32, CliError> {
    if let Ok(number) = named.parse() {
        return Ok(api.card_version(&card.id, number).await?.version);
    }
    if named == LATEST {
        return Ok(card.version);
    }
    Ok(api.prompt(&card.title, Some(named), None).await?.version)
}

async fn case_ids(api: &Api, card: &Card) -> Result<BTreeSet<String>, CliError> {
    let (mut all, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = api.card_cases(&card.id, PAGE_LEN_MAX, cursor.as_deref()).await?;
        all.extend(page.items.into_iter().map(|case| case.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if all.is_empty() {
        let message = format!("the card {:?} has no cases", card.title);
        return Err(CliError::usage(message, "add some: `pcs card cases CARD --import FILE`"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(case: &str, version: u32, passed: bool) -> ExecutionResult {
        ExecutionResult {
            case_id: case.to_owned(),
            version,
            model: "m".to_owned(),
            status: if passed { "passed" } else { "failed" }.to_owned(),
            ..ExecutionResult::default()
        }
    }

    #[test]
    fn only_what_differs_is_evidence_and_what_is_alike_is_settled() {
        let mut standing = Standing::default();
        for _ in 0..2 {
            standing.rounds += 1;
            let all = [
                result("alike", 1, true),
                result("alike", 2, true),
                result("worse", 1, true),
                result("worse", 2, false),
                result("alone", 1, true),
            ];
            standing.add(&all, [1, 2]);
        }
        assert_eq!((standing.better, standing.worse, standing.executions), (0, 2, 10));
        assert!(standing.is_settled("alike") && !standing.is_settled("worse") && !standing.is_settled("unseen"));
        assert!((standing.e_value - sign_e_value(0, 2)).abs() < 1e-12);
    }
}
