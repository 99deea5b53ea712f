//! `pcs run SUITE`: brings the card up to date, asks for the run, follows it, and says what came of it.

mod select;
mod source;
mod suites;
mod sync;
mod follow;
mod metrics;
pub(crate) mod interrupt;
mod progress;
pub(crate) mod report;
mod format;
mod report_file;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pcs_domain::ids::TestCaseId;
use pcs_domain::limits;
use pcs_domain::test_run::{Lane, Skip};

use self::follow::{Ended, Following};
use self::interrupt::Interrupts;
use self::report::Report;
pub(crate) use self::suites::{imported, options as promptfoo_options};
pub(crate) use self::sync::import;
use super::compare::baseline::{self, Baseline};
use super::compare::compare_with;
use super::exit::{CliError, ExitStatus};
use super::output::Output;
use crate::client::Api;
use crate::client::connection::Connection;
use crate::client::run_wire::{NewRun, Run, Source};
use crate::suite::Suite;

/// Largest request for a run that the server reads, in bytes.
const RUN_BODY_BYTES_MAX: usize = 1_000_000;

/// Run a suite on the server and print what passed.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The suite: a .yaml or .json file, of ours or of promptfoo; or a folder with a promptfooconfig.yaml
    pub suite: PathBuf,
    /// Of promptfoo's file: which of its providers is which model, as anthropic:*=openai:gpt-4o-mini; may be repeated
    #[arg(long = "provider-map", value_name = "FROM=TO")]
    pub provider_map: Vec<String>,
    /// Of promptfoo's file: leave out what can't be done here; never an assertion
    #[arg(long)]
    pub allow_unsupported: bool,
    /// Run this model only, by its label or id in the suite, or add one by its id; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// How often each cell of the matrix runs, instead of the suite's `repeats`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::RUN_REPEATS_MAX)))]
    pub repeat: Option<u16>,
    /// Run only cases whose name matches; `*` stands for any characters, `?` for one
    #[arg(long = "case", value_name = "GLOB")]
    pub case: Option<String>,
    /// Run only cases that have this tag; may be repeated, and then each has to be there
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Run only so many of the cases, chosen by their content: the same ones each time, for the same seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Another choice of the sample
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "sample")]
    pub sample_seed: u64,
    /// How the run is called, instead of the suite's name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How important the run is, instead of the suite's `lane`
    #[arg(long, value_parser = ["hi", "std", "bulk"])]
    pub lane: Option<String>,
    /// Exit with 1 when a smaller share of the executions passes, such as 0.9
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub fail_below: Option<f64>,
    /// Exit with 1 when a case passes fewer than so many of its repeats, with any version and model
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    pub require_passes: Option<u16>,
    /// The branch that the run belongs to, instead of what CI or git say
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Compare the run with this one when it has ended: a run's id; `last`, the newest completed run of the card;
    /// `label:NAME`, the newest completed run of the version that has this label; or `branch:NAME`, the newest one of a branch
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<String>,
    /// Exit with 1 where the quality regressed against the baseline (or no case could be compared), or the latency or the
    /// cost did; may be repeated
    #[arg(long, value_name = "WHAT", requires = "baseline", value_parser = ["regressed", "latency", "cost"])]
    pub fail_on: Vec<String>,
    /// Exit with 3 when the run has not ended after so many seconds; it goes on at the server
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Print one JSON object to stdout, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Also give every result: in the JSON, or as a table of those that did not pass
    #[arg(long)]
    pub results: bool,
    /// Add the table, and the comparison where there is a baseline, to a file as Markdown, as for a pull request
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write every result to a file: as JSON, or as its name says: .jsonl, .csv, or .xml for JUnit
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A share from 0 to 1, as `--fail-below` takes it.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err("it is not between 0 and 1; write 0.9 for 90 %".to_owned())
}

impl RunArgs {
    /// Runs a suite as it is, without options.
    #[must_use]
    pub fn of_suite(suite: PathBuf) -> Self {
        Self {
            suite,
            provider_map: Vec::new(),
            allow_unsupported: false,
            models: Vec::new(),
            repeat: None,
            case: None,
            tags: Vec::new(),
            sample: None,
            sample_seed: 0,
            name: None,
            lane: None,
            fail_below: None,
            require_passes: None,
            branch: None,
            baseline: None,
            fail_on: Vec::new(),
            timeout: None,
            json: false,
            results: false,
            summary: None,
            output: None,
        }
    }

    /// Does it against the server that the environment names.
    pub async fn execute(mut self) -> Result<ExitStatus, CliError> {
        // The suite first: a mistake in it is told even where no server runs.
        let suite = suites::load(&mut self)?;
        let suite = select::apply(suite, &self)?;
        for path in self.output.iter().chain(&self.summary) {
            report_file::check(path)?;
        }
        self.run_at(&Connection::discover()?, &suite).await
    }

    /// Does it against a known server.
    pub async fn execute_at(mut self, connection: &Connection) -> Result<ExitStatus, CliError> {
        let suite = suites::load(&mut self)?;
        let suite = select::apply(suite, &self)?;
        self.run_at(connection, &suite).await
    }

    async fn run_at(&self, connection: &Connection, suite: &Suite) -> Result<ExitStatus, CliError> {
        let api = Api::new(connection)?;
        let mut interrupts = Interrupts::listen()?;
        self.against(&api, suite, &mut Output::of_process(), &mut interrupts).await
    }

    async fn against(
        &self,
        api: &Api,
        suite: &Suite,
        output: &mut Output,
        interrupts: &mut Interrupts,
    ) -> Result<ExitStatus, CliError> {
        let synced = tokio::select! {
            biased;
            () = interrupts.next() => return Ok(ExitStatus::Interrupted),
            synced = sync::card_and_cases(api, suite) => synced?,
        };
        for note in &synced.notes {
            output.note(note);
        }
        // Before the run costs anything.
        let baseline = self.baseline(api, &synced.card_id, output).await?;
        let source = source::of(&self.suite, self.branch.as_deref());
        let request = new_run(suite, synced, source)?;
        let started = Instant::now();
        // Not interruptible: a run that nobody knows of could not be cancelled.
        let run = api.request_run(&request).await?;
        let deadline = self.timeout.map(|seconds| started + Duration::from_secs(seconds));
        let following = Following { api, run_id: &run.id, planned: run.totals.planned.max(1), started, deadline };
        match following.to_the_end(output, interrupts).await? {
            Ended::Run(run) => {
                let status = self.finish(api, (&run, suite), started, output).await?;
                self.compare(api, &run, baseline.as_ref(), status, output).await
            }
            Ended::Interrupted => self.cancel(api, (&run, suite), started, output, interrupts).await,
            Ended::TimedOut => Err(timed_out(&run.id, self.timeout.unwrap_or_default())),
        }
    }

    async fn finish(
        &self,
        api: &Api,
        (run, suite): (&Run, &Suite),
        started: Instant,
        output: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let wall = started.elapsed();
        let is_asked = self.results || self.output.is_some() || self.require_passes.is_some();
        let found = if is_asked { Some(follow::results(api, run).await) } else { None };
        let (results, failure) = match found.transpose() {
            Ok(results) => (results, None),
            Err(error) => (None, Some(error)),
        };
        let short = self.require_passes.map(|least| report::short_cases(results.as_deref().unwrap_or_default(), least));
        // Only where somebody has named one: they are counted over all results.
        let metrics = match suite.has_metrics() {
            true => metrics::of_run(api, &run.id, &suite.derived, output).await?,
            false => Vec::new(),
        };
        let report = Report::new(run, results).with_metrics(metrics);
        if !self.json {
            if self.results {
                report.print_missed(output)?;
            }
            report.print(&run.name, Some(wall), output)?;
        }
        // After the table: the counts of a long run are worth more than a file that could not be written.
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(path) = &self.output {
            report_file::write(path, &report)?;
        }
        if self.json {
            output.json(&if self.results { report } else { report.without_results() })?;
        }
        let verdict = self.verdict(&Report::new(run, None), output);
        Ok(match (verdict, short, self.require_passes) {
            (ExitStatus::Success, Some((count, example)), Some(least)) if count > 0 => {
                let message =
                    format!("gate failed: {count} cases pass fewer than {least} of their repeats, such as {example}");
                output.note(&message);
                ExitStatus::GateFailed
            }
            (verdict, ..) => verdict,
        })
    }

    async fn baseline(&self, api: &Api, card: &str, output: &mut Output) -> Result<Option<Baseline>, CliError> {
        let Some(named) = &self.baseline else { return Ok(None) };
        let baseline = baseline::of_card(api, card, named).await?;
        if baseline.is_none() {
            output.note("this is the card's first run: there is nothing to compare it with");
        }
        Ok(baseline)
    }

    /// Compares a run that was completed with its baseline. A gate that failed before stays failed.
    async fn compare(
        &self,
        api: &Api,
        run: &Run,
        baseline: Option<&Baseline>,
        status: ExitStatus,
        output: &mut Output,
    ) -> Result<ExitStatus, CliError> {
        let mut summary = Report::new(run, None).markdown();
        let mut ended = status;
        if let Some(baseline) = baseline.filter(|_| matches!(status, ExitStatus::Success | ExitStatus::GateFailed)) {
            let gate = (baseline, self.fail_on.as_slice());
            let (compared, markdown) = compare_with(api, &run.id, gate, !self.json, output).await?;
            summary.push_str(&markdown);
            if compared != ExitStatus::Success {
                ended = compared;
            }
        }
        match &self.summary {
            Some(path) => report_file::append(path, &summary).map(|()| ended),
            None => Ok(ended),
        }
    }

    /// What the process shall say about a run that has ended.
    fn verdict(&self, report: &Report, output: &mut Output) -> ExitStatus {
        if !report.is_completed() {
            output.note(&format!("the run was {} before its end", report.status));
            return ExitStatus::SystemFailed;
        }
        match self.fail_below {
            Some(least) if report.is_below(least) => {
                let (rate, least) = (report.pass_rate_text(), 100.0 * least);
                output.note(&format!("gate failed: {rate} passed, and at least {least:.2} % were demanded"));
                ExitStatus::GateFailed
            }
            Some(_) | None => ExitStatus::Success,
        }
    }

    /// After the first Ctrl-C: stops the run on the server; a second one does not wait for that.
    async fn cancel(
        &self,
        api: &Api,
        (run, suite): (&Run, &Suite),
        started: Instant,
        output: &mut Output,
        interrupts: &mut Interrupts,
    ) -> Result<ExitStatus, CliError> {
        output.note("cancelling the run; Ctrl-C again to leave at once");
        let stopped = async {
            match api.cancel_run(&run.id, "interrupted at the command line").await {
                // It may have ended in the meantime: then there is nothing to stop.
                Ok(_) => Ok(()),
                Err(error) if error.code() == "run_already_completed" => Ok(()),
                Err(error) => Err(error),
            }?;
            let run = api.run(&run.id).await?;
            self.finish(api, (&run, suite), started, output).await
        };
        let ended = tokio::select! {
            biased;
            () = interrupts.next() => None,
            ended = stopped => Some(ended),
        };
        match ended {
            Some(Ok(_)) => {}
            Some(Err(error)) => output.note(&format!("could not cancel the run {}: {error}", run.id)),
            None => output.note(&format!("left; the run may go on: pcs runs cancel {}", run.id)),
        }
        Ok(ExitStatus::Interrupted)
    }
}

fn new_run(suite: &Suite, synced: sync::Synced, source: Option<Source>) -> Result<NewRun, CliError> {
    let skips = if suite.is_restricted() { skips(suite, &synced)? } else { Vec::new() };
    let request = NewRun {
        card_id: synced.card_id,
        name: suite.name.clone(),
        versions: synced.versions,
        models: suite.models.clone(),
        case_ids: (!synced.are_all).then_some(synced.case_ids),
        skips,
        repeats: suite.repeats,
        assertions: suite.assertions.clone(),
        threshold: suite.threshold,
        grader: suite.grader.clone(),
        lane: Lane::name(suite.lane),
        source,
    };
    let bytes = serde_json::to_string(&request).map_or(0, |json| json.len());
    if bytes > RUN_BODY_BYTES_MAX {
        let message = format!(
            "the request for the run has {bytes} bytes, and the server reads {RUN_BODY_BYTES_MAX}: the card has other \
             cases beside the suite's, so each of the suite's is named"
        );
        return Err(CliError::usage(message, "give the suite a card of its own: another `title`"));
    }
    Ok(request)
}

/// What the suite's restrictions leave out.
fn skips(suite: &Suite, synced: &sync::Synced) -> Result<Vec<Skip>, CliError> {
    let id =
        |text: &String| text.parse().map_err(|_| CliError::System(format!("the server's case id {text:?} is none")));
    let ids = synced.case_ids.iter().map(id).collect::<Result<Vec<TestCaseId>, _>>()?;
    Ok(crate::suite::only::skips(suite, &synced.versions, &ids))
}

fn timed_out(run_id: &str, seconds: u64) -> CliError {
    CliError::System(format!(
        "the run {run_id} has not ended within {seconds} s\n  mend: it goes on: `pcs runs show {run_id}` tells how \
         far it is, `pcs runs cancel {run_id}` stops it"
    ))
}
