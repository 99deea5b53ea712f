//! A comparison as tables, in a terminal and in Markdown.

use std::fmt::Write;

use super::{ArmCompared, Cases, Changed, Compared, Metric, Verdict};
use crate::commands::exit::CliError;
use crate::commands::markdown::{heading, paragraph, table};
use crate::commands::output::{Align, Output, excerpt, plain_line};

/// Cases that are listed of each kind.
const CASES_MAX: usize = 20;
/// The metric of passes.
const PASS: &str = "pass";
const NAME_CHARS_MAX: usize = 60;
const COLUMNS: [(&str, Align); 8] = [
    ("metric", Align::Left),
    ("baseline", Align::Right),
    ("candidate", Align::Right),
    ("difference", Align::Right),
    ("95 % interval", Align::Right),
    ("better", Align::Right),
    ("worse", Align::Right),
    ("verdict", Align::Left),
];

/// Writes it for a terminal.
pub(super) fn text(compared: &Compared, output: &mut Output) -> Result<(), CliError> {
    for (place, arm) in compared.comparisons.iter().enumerate() {
        if place > 0 {
            output.line("")?;
        }
        output.line(&format!("{}: {}", title(arm, compared), words(&arm.verdict)))?;
        output.line(&format!("{}\n", cases(&arm.cases)))?;
        output.table(&COLUMNS, arm.metrics.iter().map(|metric| row(metric).to_vec()).collect())?;
        for (word, changed, all) in changes(arm) {
            output.line("")?;
            output.table(&columns(word), changed.iter().map(|case| case_row(case).to_vec()).collect())?;
            if let Some(more) = more(changed, all) {
                output.line(&more)?;
            }
        }
    }
    Ok(())
}

/// The same as Markdown.
pub(super) fn markdown(compared: &Compared) -> String {
    let mut page = String::new();
    for arm in &compared.comparisons {
        let sign = match arm.verdict.is.as_str() {
            super::REGRESSED => "\u{274c}",
            "improved" => "\u{2705}",
            _ => "\u{2796}",
        };
        heading(&mut page, &format!("{sign} {}: {}", title(arm, compared), words(&arm.verdict)));
        paragraph(&mut page, &cases(&arm.cases));
        table(&mut page, &COLUMNS, arm.metrics.iter().map(|metric| row(metric).to_vec()));
        for (word, changed, all) in changes(arm) {
            table(&mut page, &columns(word), changed.iter().map(|case| case_row(case).to_vec()));
            if let Some(more) = more(changed, all) {
                paragraph(&mut page, &more);
            }
        }
    }
    let _ = writeln!(page, "Run `{}` against `{}`.", compared.run_id, compared.baseline_run_id);
    page
}

/// Cases that are worse and those that are better, where there are any, with how many there are in all.
fn changes(arm: &ArmCompared) -> Vec<(&'static str, &[Changed], u64)> {
    let pass = arm.metrics.iter().find(|metric| metric.name == PASS);
    let (worse, better) = pass.map_or((0, 0), |pass| (pass.worse_cases, pass.better_cases));
    let first = |changed: &'_ Vec<Changed>| changed.len().min(CASES_MAX);
    let of = [
        ("worse", &arm.regressions[..first(&arm.regressions)], worse),
        ("better", &arm.improvements[..first(&arm.improvements)], better),
    ];
    of.into_iter().filter(|(_, changed, _)| !changed.is_empty()).collect()
}

fn columns(word: &str) -> [(&str, Align); 3] {
    [(word, Align::Left), ("baseline", Align::Right), ("candidate", Align::Right)]
}

fn more(shown: &[Changed], all: u64) -> Option<String> {
    let more = all.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
    (more > 0).then(|| format!("and {more} more"))
}

/// What is compared; by its run too, where there are several.
fn title(arm: &ArmCompared, among: &Compared) -> String {
    let of = |arm: &super::Arm| format!("version {} with {}", arm.version, plain_line(&arm.model));
    let several = among.comparisons.iter().any(|other| other.run_id != arm.run_id);
    let run = if several { format!("run {}, ", plain_line(&arm.run_id)) } else { String::new() };
    format!("{run}{} against {}", of(&arm.candidate), of(&arm.baseline))
}

fn words(verdict: &Verdict) -> String {
    match (verdict.is.as_str(), verdict.more_repeats) {
        ("needs_repeats", Some(more)) => format!("needs about {more} more repeats"),
        ("no_evidence", _) => "no evidence".to_owned(),
        (is, _) => is.to_owned(),
    }
}

fn cases(cases: &Cases) -> String {
    let mut text = format!("{} cases compared", cases.compared);
    let left_out = [
        (cases.changed, "changed"),
        (cases.only_in_baseline, "only in the baseline"),
        (cases.only_in_candidate, "new"),
        (cases.unanswered, "without an answer"),
    ];
    for (number, why) in left_out.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, "; {number} {why}");
    }
    text
}

fn row(metric: &Metric) -> [String; 8] {
    let number = |value: f64| shown(&metric.name, value);
    let signed = |value: f64| format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value));
    let interval =
        metric.interval.map_or_else(|| "-".to_owned(), |[low, high]| format!("{} to {}", signed(low), signed(high)));
    [
        excerpt(&metric.name, NAME_CHARS_MAX),
        number(metric.baseline),
        number(metric.candidate),
        signed(metric.difference),
        interval,
        metric.better_cases.to_string(),
        metric.worse_cases.to_string(),
        format!("{} (p {})", words(&metric.verdict), probability(metric.p_adjusted)),
    ]
}

/// Shares in percent, money in millionths of a dollar at least, the rest with two digits.
fn shown(name: &str, value: f64) -> String {
    match name {
        PASS => format!("{:.2} %", value * 100.0),
        "cost_usd" => format!("{value:.6}"),
        _ => format!("{value:.2}"),
    }
}

fn probability(p: f64) -> String {
    if p < 0.000_1 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

fn case_row(case: &Changed) -> [String; 3] {
    let name = case.case_name.as_deref().unwrap_or(&case.case_id);
    let rate = |repeats: &super::Repeats| format!("{}/{}", repeats.passed, repeats.answered);
    let because = match case.cause.as_str() {
        "grader" => " (the same answers, other demands)",
        "both" => " (other answers, other demands)",
        _ => "",
    };
    [format!("{}{because}", excerpt(name, NAME_CHARS_MAX)), rate(&case.baseline), rate(&case.candidate)]
}
