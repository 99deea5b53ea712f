//! What a run came to: the JSON for machines and the table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::metrics::{self, MetricReport};
use crate::client::run_wire::{ExecutionResult, Latency, ModelTotals, Run, Tokens};
use crate::commands::exit::CliError;
use crate::commands::markdown;
use crate::commands::output::{Align, Output, excerpt, plain_line};

const REASON_CHARS_MAX: usize = 100;

const COLUMNS: [(&str, Align); 9] = [
    ("model", Align::Left),
    ("passed", Align::Right),
    ("pass rate", Align::Right),
    ("failed", Align::Right),
    ("errors", Align::Right),
    ("p50", Align::Right),
    ("p95", Align::Right),
    ("tokens in/out", Align::Right),
    ("cost", Align::Right),
];

/// The one object that `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    run_id: String,
    #[serde(skip)]
    pub(super) name: String,
    pub(crate) status: String,
    totals: ReportTotals,
    by_model: Vec<ModelReport>,
    /// The named metrics and those that are made of them, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<ExecutionResult>>,
}

#[derive(Debug, Serialize)]
struct ReportTotals {
    executions: u64,
    passed: u64,
    failed: u64,
    errors: u64,
}

#[derive(Debug, Serialize)]
struct ModelReport {
    model: String,
    executions: u64,
    passed: u64,
    failed: u64,
    errors: u64,
    pass_rate: Option<f64>,
    latency_ms: Latency,
    tokens: Tokens,
    cost: Option<f64>,
}

impl Report {
    pub(crate) fn new(run: &Run, results: Option<Vec<ExecutionResult>>) -> Self {
        let totals = run.totals;
        Self {
            run_id: run.id.clone(),
            name: run.name.clone(),
            status: run.status.clone(),
            totals: ReportTotals {
                executions: totals.executions,
                passed: totals.passed,
                failed: totals.failed,
                errors: totals.errors,
            },
            by_model: run.by_model.iter().map(model_report).collect(),
            metrics: Vec::new(),
            results,
        }
    }

    /// The same with the named metrics.
    pub(super) fn with_metrics(self, metrics: Vec<MetricReport>) -> Self {
        Self { metrics, ..self }
    }

    /// Every result, where they were asked for.
    pub(super) fn results(&self) -> &[ExecutionResult] {
        self.results.as_deref().unwrap_or_default()
    }

    /// The counts alone.
    pub(crate) fn without_results(self) -> Self {
        Self { results: None, ..self }
    }

    /// Whether every execution has its result.
    pub(crate) fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    /// Whether a smaller share than this has passed; an error has not passed.
    pub(crate) fn is_below(&self, least: f64) -> bool {
        rate(self.totals.passed, self.totals.executions).unwrap_or_default() < least
    }

    pub(crate) fn pass_rate_text(&self) -> String {
        percent(self.totals.passed, self.totals.executions)
    }

    /// Prints the table, the run's id and, where it was watched, its time.
    pub(crate) fn print(&self, name: &str, wall: Option<Duration>, output: &mut Output) -> Result<(), CliError> {
        output.line(&format!("{}: run {} {}\n", plain_line(name), self.run_id, self.status))?;
        let mut rows: Vec<Vec<String>> = self.by_model.iter().map(row).collect();
        if rows.len() > 1 {
            rows.push(self.total_row());
        }
        output.table(&COLUMNS, rows)?;
        if !self.metrics.is_empty() {
            output.line("")?;
            output.table(&metrics::COLUMNS, self.metrics.iter().map(metrics::row).collect())?;
        }
        let took = wall.map_or(String::new(), |wall| format!(" in {:.2} s", wall.as_secs_f64()));
        output.line(&format!("\n{} executions{took}", self.totals.executions))
    }

    /// The table as Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut page = String::new();
        markdown::heading(&mut page, &format!("{}: {}", self.name, self.status));
        let mut rows: Vec<Vec<String>> = self.by_model.iter().map(row).collect();
        if rows.len() > 1 {
            rows.push(self.total_row());
        }
        markdown::table(&mut page, &COLUMNS, rows.into_iter());
        page
    }

    fn total_row(&self) -> Vec<String> {
        let tokens = self.by_model.iter().fold(Tokens::default(), |sum, model| Tokens {
            input: sum.input + model.tokens.input,
            output: sum.output + model.tokens.output,
        });
        // One unknown price makes the sum unknown.
        let cost: Option<f64> = self.by_model.iter().map(|model| model.cost).sum();
        let totals = &self.totals;
        vec![
            "total".to_owned(),
            format!("{}/{}", totals.passed, totals.executions),
            self.pass_rate_text(),
            totals.failed.to_string(),
            totals.errors.to_string(),
            String::new(),
            String::new(),
            tokens_text(tokens),
            cost_text(cost),
        ]
    }

    /// Prints what did not pass, where there are results.
    pub(crate) fn print_missed(&self, output: &mut Output) -> Result<(), CliError> {
        let missed = self.results.iter().flatten().filter(|result| !result.success);
        let rows: Vec<Vec<String>> = missed.map(result_row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        output.table(&RESULT_COLUMNS, rows)?;
        output.line("")
    }
}

pub(crate) const RESULT_COLUMNS: [(&str, Align); 5] = [
    ("case", Align::Left),
    ("model", Align::Left),
    ("status", Align::Left),
    ("score", Align::Right),
    ("reason", Align::Left),
];

/// Why a result did not pass, by its error or the first assertion that failed; empty where it did.
pub(super) fn why(result: &ExecutionResult) -> String {
    match (&result.error, result.verdicts.iter().find(|verdict| !verdict.passed)) {
        (Some(error), _) => format!("{}: {}", error.class, error.message),
        (None, Some(verdict)) => format!("{}: {}", verdict.kind, verdict.reason),
        (None, None) => String::new(),
    }
}

/// A result as a row under [`RESULT_COLUMNS`].
pub(crate) fn result_row(result: &ExecutionResult) -> Vec<String> {
    let reason = why(result);
    vec![
        result.case_name.clone().unwrap_or_else(|| result.case_id.clone()),
        result.model.clone(),
        result.status.clone(),
        result.score.map_or("-".to_owned(), |score| format!("{score:.2}")),
        excerpt(&reason, REASON_CHARS_MAX),
    ]
}

fn model_report(model: &ModelTotals) -> ModelReport {
    ModelReport {
        model: model.model.clone(),
        executions: model.executions,
        passed: model.passed,
        failed: model.failed,
        errors: model.errors,
        pass_rate: rate(model.passed, model.executions).map(|rate| (rate * 10_000.0).round() / 10_000.0),
        latency_ms: model.latency_ms,
        tokens: model.tokens,
        cost: model.cost_usd,
    }
}

fn row(model: &ModelReport) -> Vec<String> {
    vec![
        model.model.clone(),
        format!("{}/{}", model.passed, model.executions),
        percent(model.passed, model.executions),
        model.failed.to_string(),
        model.errors.to_string(),
        latency_text(model.latency_ms.p50),
        latency_text(model.latency_ms.p95),
        tokens_text(model.tokens),
        cost_text(model.cost),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a run has at most a million executions, far below 2^53")]
fn rate(passed: u64, executions: u64) -> Option<f64> {
    (executions > 0).then(|| passed as f64 / executions as f64)
}

fn percent(passed: u64, executions: u64) -> String {
    rate(passed, executions).map_or("-".to_owned(), |rate| format!("{:.2} %", 100.0 * rate))
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with two decimals of a second")]
fn latency_text(ms: Option<u64>) -> String {
    match ms {
        Some(ms) if ms >= 1_000 => format!("{:.2} s", ms as f64 / 1_000.0),
        Some(ms) => format!("{ms} ms"),
        None => "-".to_owned(),
    }
}

fn tokens_text(tokens: Tokens) -> String {
    format!("{}/{}", tokens.input, tokens.output)
}

/// How many cases pass fewer than so many of their repeats, by version and model, and one of them.
pub(super) fn short_cases(results: &[ExecutionResult], least: u16) -> (usize, String) {
    let mut passes: BTreeMap<(u32, &str, &str), (u64, &ExecutionResult)> = BTreeMap::new();
    for result in results {
        let key = (result.version, result.model.as_str(), result.case_id.as_str());
        passes.entry(key).or_insert((0, result)).0 += u64::from(result.success);
    }
    let mut short = passes.values().filter(|(passed, _)| *passed < u64::from(least));
    let Some((passed, first)) = short.next() else { return (0, String::new()) };
    let name = first.case_name.as_deref().unwrap_or(&first.case_id);
    (1 + short.count(), format!("{name:?} with {passed}"))
}

fn cost_text(dollars: Option<f64>) -> String {
    dollars.map_or("-".to_owned(), |dollars| format!("${dollars:.4}"))
}
