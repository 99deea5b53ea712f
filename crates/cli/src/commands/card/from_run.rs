//! Cases kept from what was executed: the inputs of a run's results, with their answers where those are right.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use pcs_domain::canonical::canonical_json;
use pcs_domain::prompt_card::CaseDraft;
use serde_json::Value;

use super::Cases;
use crate::client::Api;
use crate::client::run_wire::ExecutionResult;
use crate::client::runs::ResultFilter;
use crate::commands::exit::CliError;
use crate::commands::output::Output;
use crate::commands::page::PAGE_LEN_MAX;
use crate::commands::{run, target};
use crate::suite::cases::SuiteCase;
use crate::suite::error::Place;
use crate::suite::only::Only;

/// Which results are kept.
#[derive(Clone, Debug, clap::Args)]
pub struct FromRun {
    /// Add the inputs of a run's results as cases: its id, or `last`
    #[arg(long, value_name = "RUN", conflicts_with = "import")]
    pub from_run: Option<String>,
    /// Only of results that passed, failed, or ended in an error
    #[arg(long, requires = "from_run", value_parser = ["passed", "failed", "error"])]
    pub only: Option<String>,
    /// Only of these executions; may be repeated
    #[arg(long = "execution", value_name = "ID", requires = "from_run")]
    pub executions: Vec<String>,
    /// Make the recorded answer the case's expected output
    #[arg(long, requires = "from_run")]
    pub with_answer: bool,
    /// Give the new cases this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG", requires = "from_run")]
    pub tags: Vec<String>,
}

/// Adds what the card does not have yet. Cases that it has stay as they are: their demands are not those of a result.
pub(super) async fn keep(api: &Api, cases: &Cases, run: &str, output: &mut Output) -> Result<(), CliError> {
    let wanted = &cases.from_run;
    let card = target::card(api, &cases.named.card).await?;
    let run = target::run(api, run).await?;
    let mut known = known_inputs(api, &card.id).await?;
    let (mut kept, mut there, mut private) = (Vec::new(), 0_usize, 0_usize);
    let mut missing: BTreeSet<&str> = wanted.executions.iter().map(String::as_str).collect();
    let mut cursor = None;
    loop {
        let page = api.results(&run, &ResultFilter::default(), PAGE_LEN_MAX, cursor.as_deref()).await?;
        for result in page.items {
            let is_named = missing.remove(result.execution_id.as_str());
            if !(is_named || wanted.executions.is_empty()) || !is_of(&result, wanted.only.as_deref()) {
                continue;
            }
            // Whose data it is, is known to the server alone.
            if result.rest.get("subject").is_some_and(|subject| !subject.is_null()) {
                private += 1;
            } else if known.insert(canonical_json(&result.input)) {
                kept.push(case(&result, wanted, kept.len() + 1, &run));
            } else {
                there += 1;
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if let Some(id) = missing.first() {
        let message = format!("the run {run} has no execution {id}");
        return Err(CliError::usage(message, "`pcs run --json --results` and `pcs runs explain` show the ids"));
    }
    if private > 0 {
        output.note(&format!("{private} results are made of a person's data: add such cases with their `subject`"));
    }
    if cases.preview {
        super::write::show_preview(&kept, cases.named.json, output)?;
        return Ok(());
    }
    if kept.is_empty() {
        return output.line(&format!("0 added, {there} there already"));
    }
    let added = run::import(api, &card.id, &kept).await?;
    output.line(&format!(
        "{} added, {there} there already; the card {:?} has {} cases",
        added.added, card.title, added.case_count
    ))
}

fn is_of(result: &ExecutionResult, only: Option<&str>) -> bool {
    only.is_none_or(|status| result.status == status)
}

fn case(result: &ExecutionResult, wanted: &FromRun, number: usize, run: &str) -> SuiteCase {
    let draft = CaseDraft {
        input: result.input.as_object().cloned().unwrap_or_default(),
        expected_output: result.output.clone().filter(|_| wanted.with_answer),
        tags: wanted.tags.clone(),
        metadata: [("execution_id".to_owned(), Value::from(result.execution_id.as_str()))].into_iter().collect(),
        ..CaseDraft::default()
    };
    let file: Arc<str> = Path::new(run).to_string_lossy().as_ref().into();
    SuiteCase { draft, subject: None, number, file, place: Place::default(), only: Only::default() }
}

/// The inputs of the card's cases.
async fn known_inputs(api: &Api, card_id: &str) -> Result<BTreeSet<String>, CliError> {
    let (mut known, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = api.card_cases(card_id, PAGE_LEN_MAX, cursor.as_deref()).await?;
        known.extend(page.items.into_iter().map(|case| canonical_json(&Value::Object(case.input))));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(known);
        }
    }
}
