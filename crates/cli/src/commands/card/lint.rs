//! `pcs card lint`: what a prompt and its cases say about each other.

use super::Lint;
use crate::client::Api;
use crate::client::wire::{CardLint, LintRemark};
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::{Output, plain_line};
use crate::commands::target;

pub(super) async fn lint(api: &Api, lint: &Lint, output: &mut Output) -> Result<ExitStatus, CliError> {
    let card = target::card(api, &lint.named.card).await?;
    let found = api.card_lint(&card.id, lint.version.unwrap_or(card.version)).await?;
    if lint.named.json {
        output.json(&found)?;
    } else {
        for LintRemark { severity, message, .. } in &found.remarks {
            output.line(&format!("{severity}: {}", plain_line(message)))?;
        }
        output.note(&summary(&found));
    }
    let is_refused = found.has_errors || (lint.strict && !found.remarks.is_empty());
    Ok(if is_refused { ExitStatus::GateFailed } else { ExitStatus::Success })
}

fn summary(found: &CardLint) -> String {
    let CardLint { version, variables, cases, cases_checked, remarks, .. } = found;
    let errors = remarks.iter().filter(|remark| remark.severity == "error").count();
    let uses = if variables.is_empty() { "no variables".to_owned() } else { variables.join(", ") };
    let checked = if cases == cases_checked { format!("{cases}") } else { format!("{cases_checked} of {cases}") };
    let warnings = remarks.len() - errors;
    plain_line(&format!(
        "version {version} uses {uses}; cases checked: {checked}; errors: {errors}; warnings: {warnings}"
    ))
}
