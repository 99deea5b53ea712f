//! `pcs runs bisect`: which version of a card, which model or which change of a case broke it, found by trials.

use std::path::PathBuf;

use pcs_statistics::{Leaning, TwoRates};
use serde::Serialize;
use serde_json::{Value, json};

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output};
use super::target;
use super::trials::{self, Trials};
use crate::client::Api;
use crate::client::run_wire::{ExecutionResult, Run};
use crate::client::runs::ResultFilter;
use crate::suite::Suite;

/// How runs of this command are called.
const NAME: &str = "bisect";

/// Find what broke a case: the version, the model, or a change of the case
#[derive(Clone, Debug, clap::Args)]
pub struct Bisect {
    /// The run in which the case passed
    good: String,
    /// The run in which it failed
    bad: String,
    /// The case, by its id
    #[arg(long, value_name = "ID")]
    case: String,
    /// The model in the good run, where it had several
    #[arg(long, value_name = "NAME")]
    good_model: Option<String>,
    /// The model in the bad run, where it had several
    #[arg(long, value_name = "NAME")]
    bad_model: Option<String>,
    /// The suite of the runs, where it has demands beside those of the case
    #[arg(long, value_name = "FILE")]
    suite: Option<PathBuf>,
    /// Trials of each step at a time
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    trials: u64,
    /// Most trials of each step
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = clap::value_parser!(u64).range(1..=1000))]
    trials_max: u64,
    /// How often a step may be taken for the wrong side
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    error_rate: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A version asked with a model.
#[derive(Clone, Debug, PartialEq)]
struct Side {
    version: u32,
    model: Value,
}

/// What the trials of a side came to.
#[derive(Clone, Debug, Serialize)]
struct Step {
    version: u32,
    model: String,
    passed: u64,
    trials: u64,
    /// Of these, how many had an answer before.
    reused: u64,
    /// `good`, `bad` or `open`.
    side: &'static str,
    run_id: String,
}

/// What broke the case.
#[derive(Debug, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
enum Cause {
    Version {
        version: u32,
        before: u32,
        author: String,
        message: String,
        created_at: String,
        diff: String,
    },
    Model {
        good: String,
        bad: String,
    },
    /// The case or its demands: it fails with what it passed with.
    Case,
    /// Nothing that is recorded differs.
    Chance {
        why: &'static str,
    },
}

/// The trials of one search.
struct Search<'a> {
    api: &'a Api,
    args: &'a Bisect,
    card_id: String,
    suite: Option<Suite>,
    rates: Option<TwoRates>,
    steps: Vec<Step>,
}

impl Bisect {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        if !(0.0..0.5).contains(&self.error_rate) || self.error_rate <= 0.0 {
            return Err(CliError::usage("--error-rate must be above 0 and below 0.5", "write 0.05, or leave it out"));
        }
        let good_run = api.run(&target::run(api, &self.good).await?).await?;
        let bad_run = api.run(&target::run(api, &self.bad).await?).await?;
        if good_run.card_id != bad_run.card_id {
            let message = "the two runs are of different cards";
            return Err(CliError::usage(message, "name two runs of one card: `pcs runs list --card CARD`"));
        }
        let good = self.side(api, &good_run, self.good_model.as_deref(), true).await?;
        let bad = self.side(api, &bad_run, self.bad_model.as_deref(), false).await?;
        let suite = self.suite.as_deref().map(Suite::load).transpose()?;
        let mut search =
            Search { api, args: self, card_id: bad_run.card_id.clone(), suite, rates: None, steps: Vec::new() };
        let cause = search.cause(&good, &bad, output).await?;
        if self.json {
            output.json(&json!({ "case_id": self.case, "steps": search.steps, "result": cause }))?;
        } else {
            show(&search.steps, &cause, output)?;
        }
        Ok(ExitStatus::Success)
    }

    /// The version and model with which the case passed, or failed, in a run.
    async fn side(&self, api: &Api, run: &Run, model: Option<&str>, passed: bool) -> Result<Side, CliError> {
        let filter = ResultFilter {
            model: model.map(str::to_owned),
            case_id: Some(self.case.clone()),
            success: Some(passed),
            ..ResultFilter::default()
        };
        let results: Vec<ExecutionResult> = trials::results(api, &run.id, &filter).await?;
        let word = if passed { "passed" } else { "failed" };
        let Some(first) = results.iter().find(|result| result.status == word) else {
            let message = format!("the case {} never {word} in the run {}", self.case, run.id);
            return Err(CliError::usage(message, "`pcs runs compare` shows the cases that changed"));
        };
        let several = results.iter().any(|result| result.model != first.model);
        if several {
            let message = format!("the case {word} with several models in the run {}", run.id);
            return Err(CliError::usage(message, "say which one is meant: --good-model or --bad-model"));
        }
        let models = run.rest.get("models").and_then(Value::as_array);
        let model = models.into_iter().flatten().find(|model| name(model) == first.model);
        let model = model.cloned().unwrap_or_else(|| json!({ "id": first.model }));
        // Of several versions the nearest to the other side is enough: it is the one that is looked for.
        let version = results.iter().filter(|result| result.status == word).map(|result| result.version);
        let version = if passed { version.max() } else { version.min() };
        Ok(Side { version: version.unwrap_or(first.version), model })
    }
}

fn name(model: &Value) -> String {
    model["label"].as_str().or(model["id"].as_str()).unwrap_or_default().to_owned()
}

impl Search<'_> {
    async fn cause(&mut self, good: &Side, bad: &Side, output: &mut Output) -> Result<Cause, CliError> {
        let at_good = self.measured(good, output).await?;
        let at_bad = self.measured(bad, output).await?;
        self.rates = TwoRates::of((at_good.passed, at_good.trials), (at_bad.passed, at_bad.trials));
        if 2 * at_good.passed <= at_good.trials {
            self.mark(0, "bad");
            return Ok(Cause::Case);
        }
        self.mark(0, "good");
        if self.rates.is_none() || 2 * at_bad.passed > at_bad.trials {
            let why = "it passes now with what it failed with: the answer differs from time to time";
            return Ok(Cause::Chance { why });
        }
        self.mark(1, "bad");
        if good.model != bad.model {
            let crossed = Side { version: good.version, model: bad.model.clone() };
            if self.is_bad(&crossed, output).await? {
                return Ok(Cause::Model { good: name(&good.model), bad: name(&bad.model) });
            }
        }
        if good.version == bad.version {
            let why = "the version and the model are the same: the provider answers otherwise than it did";
            return Ok(Cause::Chance { why });
        }
        self.version(good.version, bad, output).await
    }

    /// The first version that is bad, between one that is good and one that is bad.
    async fn version(&mut self, good: u32, bad: &Side, output: &mut Output) -> Result<Cause, CliError> {
        let (mut last_good, mut first_bad) = (good, bad.version);
        while last_good.abs_diff(first_bad) > 1 {
            let middle = last_good.midpoint(first_bad);
            let side = Side { version: middle, model: bad.model.clone() };
            if self.is_bad(&side, output).await? { first_bad = middle } else { last_good = middle }
        }
        let version = self.api.card_version(&self.card_id, first_bad).await?;
        let diff = self.api.card_diff(&self.card_id, last_good, first_bad).await?;
        Ok(Cause::Version {
            version: first_bad,
            before: last_good,
            author: version.author,
            message: version.message,
            created_at: version.created_at,
            diff: diff.unified,
        })
    }

    /// Whether a side is of the bad ones: more trials are made until that can be said, or there have been enough.
    async fn is_bad(&mut self, side: &Side, output: &mut Output) -> Result<bool, CliError> {
        let mut step = self.measured(side, output).await?;
        let place = self.steps.len() - 1;
        let Some(rates) = self.rates else { return Ok(false) };
        loop {
            match rates.leaning(step.passed, step.trials, self.args.error_rate) {
                Leaning::High => self.mark(place, "good"),
                Leaning::Low => self.mark(place, "bad"),
                Leaning::Open if step.trials < self.args.trials_max => {
                    let more = (step.trials + self.args.trials).min(self.args.trials_max);
                    step = self.trials(side, more).await?;
                    self.steps[place] = step.clone();
                    continue;
                }
                Leaning::Open => {
                    output.note(&format!("version {} is undecided after {} trials", side.version, step.trials));
                }
            }
            return Ok(rates.log_ratio(step.passed, step.trials) < 0.0);
        }
    }

    async fn measured(&mut self, side: &Side, output: &mut Output) -> Result<Step, CliError> {
        let step = self.trials(side, self.args.trials.min(self.args.trials_max)).await?;
        output
            .note(&format!("version {} with {}: {} of {} passed", step.version, step.model, step.passed, step.trials));
        self.steps.push(step.clone());
        Ok(step)
    }

    /// So many trials of a side, of which those that were made before are not made again.
    async fn trials(&self, side: &Side, repeats: u64) -> Result<Step, CliError> {
        let made = Trials {
            card_id: &self.card_id,
            name: NAME,
            versions: &[side.version],
            models: std::slice::from_ref(&side.model),
            case_ids: std::slice::from_ref(&self.args.case),
            repeats,
            reuse: true,
            suite: self.suite.as_ref(),
        };
        let ended = made.made(self.api).await?;
        let count =
            |is: &dyn Fn(&ExecutionResult) -> bool| ended.results.iter().filter(|result| is(result)).count() as u64;
        Ok(Step {
            version: side.version,
            model: name(&side.model),
            passed: count(&|result| result.status == "passed"),
            trials: count(&|_| true),
            reused: count(&|result| result.rest.get("cached") == Some(&Value::Bool(true))),
            side: "open",
            run_id: ended.run_id,
        })
    }

    fn mark(&mut self, place: usize, side: &'static str) {
        if let Some(step) = self.steps.get_mut(place) {
            step.side = side;
        }
    }
}

fn show(steps: &[Step], cause: &Cause, output: &mut Output) -> Result<(), CliError> {
    let columns = [
        ("version", Align::Right),
        ("model", Align::Left),
        ("passed", Align::Right),
        ("trials", Align::Right),
        ("reused", Align::Right),
        ("side", Align::Left),
        ("run", Align::Left),
    ];
    let row = |step: &Step| {
        let number = |number: u64| number.to_string();
        let (passed, trials, reused) = (number(step.passed), number(step.trials), number(step.reused));
        let version = step.version.to_string();
        vec![version, step.model.clone(), passed, trials, reused, step.side.to_owned(), step.run_id.clone()]
    };
    output.table(&columns, steps.iter().map(row).collect())?;
    output.line("")?;
    match cause {
        Cause::Version { version, before, author, message, created_at, diff } => {
            output.line(&format!("version {version} broke it; version {before} was good"))?;
            output.line(&format!("by {author} at {created_at}: {message}"))?;
            output.text(diff)
        }
        Cause::Model { good, bad } => output.line(&format!("the model broke it: {bad} instead of {good}")),
        Cause::Case => output.line(
            "the case broke it, or what is demanded of it: it fails now with the version and model that it passed with",
        ),
        Cause::Chance { why } => output.line(why),
    }
}
