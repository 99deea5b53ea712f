//! What the answers of cases that changed say now, and what they said before, line by line.

use serde::Serialize;
use similar::TextDiff;

use super::{Arm, ArmCompared, Changed, Compared};
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;
use crate::client::runs::ResultFilter;
use crate::commands::exit::CliError;
use crate::commands::output::{Output, plain_text};
use crate::commands::trials;

/// Lines around each change.
const CONTEXT_LINES: usize = 3;
/// Longest difference that is shown, in bytes; of longer ones the beginning.
const DIFF_BYTES_MAX: usize = 8 * 1024;

/// The answers to a case that changed: of the first repeat whose answers differ.
#[derive(Debug, Serialize)]
pub(super) struct Answers {
    pub(super) case_id: String,
    pub(super) case_name: Option<String>,
    /// The model of the candidate.
    pub(super) model: String,
    pub(super) repeat: u32,
    pub(super) baseline: String,
    pub(super) candidate: String,
    /// Why the candidate's failed.
    pub(super) reasons: Vec<String>,
}

/// The answers of the first cases that are worse, and of those that are better, so many of each.
pub(super) async fn of(api: &Api, compared: &Compared, most: usize) -> Result<Vec<Answers>, CliError> {
    let mut all = Vec::new();
    for arm in &compared.comparisons {
        for changed in arm.regressions.iter().take(most).chain(arm.improvements.iter().take(most)) {
            all.extend(answers(api, compared, arm, changed).await?);
        }
    }
    Ok(all)
}

async fn answers(
    api: &Api,
    compared: &Compared,
    arm: &ArmCompared,
    changed: &Changed,
) -> Result<Option<Answers>, CliError> {
    let before = results(api, &compared.baseline_run_id, &arm.baseline, &changed.case_id).await?;
    let after = results(api, &arm.run_id, &arm.candidate, &changed.case_id).await?;
    let said = |result: &ExecutionResult| result.output.clone().unwrap_or_default();
    let found = after.iter().find_map(|now| {
        let was = before.iter().find(|was| was.repeat == now.repeat)?;
        (was.output != now.output).then_some((was, now))
    });
    Ok(found.map(|(was, now)| Answers {
        case_id: changed.case_id.clone(),
        case_name: changed.case_name.clone(),
        model: arm.candidate.model.clone(),
        repeat: now.repeat,
        baseline: said(was),
        candidate: said(now),
        reasons: now.verdicts.iter().filter(|verdict| !verdict.passed).map(|verdict| verdict.reason.clone()).collect(),
    }))
}

async fn results(api: &Api, run: &str, arm: &Arm, case_id: &str) -> Result<Vec<ExecutionResult>, CliError> {
    let filter = ResultFilter {
        model: Some(arm.model.clone()),
        version: Some(arm.version),
        case_id: Some(case_id.to_owned()),
        ..ResultFilter::default()
    };
    trials::results(api, run, &filter).await
}

impl Answers {
    fn title(&self) -> String {
        let name = self.case_name.as_deref().unwrap_or(&self.case_id);
        format!("{name} with {}, repeat {}", self.model, self.repeat)
    }

    fn diff(&self) -> String {
        let diff = TextDiff::from_lines(&self.baseline, &self.candidate);
        let mut text = diff.unified_diff().context_radius(CONTEXT_LINES).header("baseline", "candidate").to_string();
        if text.len() > DIFF_BYTES_MAX {
            text.truncate(text.floor_char_boundary(DIFF_BYTES_MAX));
            text.push_str("\n(and more)\n");
        }
        text
    }
}

/// Writes them for a terminal.
pub(super) fn text(answers: &[Answers], output: &mut Output) -> Result<(), CliError> {
    for one in answers {
        output.line(&format!("\n{}", plain_text(&one.title())))?;
        for reason in &one.reasons {
            output.line(&format!("failed: {}", plain_text(reason)))?;
        }
        output.text(&plain_text(&one.diff()))?;
    }
    Ok(())
}

/// The same as Markdown; a fence is longer than any that an answer has.
pub(super) fn markdown(answers: &[Answers], page: &mut String) {
    for one in answers {
        crate::commands::markdown::paragraph(page, &one.title());
        let diff = plain_text(&one.diff());
        let mut fence = "```".to_owned();
        while diff.contains(&fence) {
            fence.push('`');
        }
        page.push_str(&format!("{fence}diff\n{diff}{fence}\n\n"));
    }
}
