//! Finds the run that another one is compared with, by its id, by time or by a label.

use serde_json::Value;

use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::target;

/// Runs that are looked through for a baseline, the newest first.
const RUNS_MAX: &str = "200";
/// The run before.
const LAST: &str = "last";
/// What stands before a label's name.
const LABEL: &str = "label:";
/// What stands before a branch's name.
const BRANCH: &str = "branch:";

/// A run to compare with, and which of its versions is meant where a label says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Baseline {
    pub(super) run: String,
    pub(super) version: Option<u32>,
}

/// The baseline of a run that there is.
pub(super) async fn of_run(api: &Api, run: &str, named: &str) -> Result<Baseline, CliError> {
    if let Some(baseline) = by_id(named)? {
        return Ok(baseline);
    }
    let judged = api.show(&["runs", run], &[]).await?;
    let (card, requested_at) = (text(&judged, "card_id"), text(&judged, "requested_at"));
    let completed = completed(api, card).await?;
    // The list is the newest first. A run that is not in it was not completed; then its time says what was before it.
    let place = completed.iter().position(|run| text(run, "id") == text(&judged, "id"));
    let mut before: Vec<Value> = match place {
        Some(place) => completed.into_iter().skip(place + 1).collect(),
        None => completed.into_iter().filter(|run| text(run, "requested_at") <= requested_at).collect(),
    };
    if let Some(label) = named.strip_prefix(LABEL) {
        // The run itself may have tested both versions.
        before.insert(0, judged.clone());
        return labelled(api, card, label, &before).await;
    }
    if let Some(branch) = named.strip_prefix(BRANCH) {
        return of_branch(&before, branch).ok_or_else(|| no_branch(branch));
    }
    let none = || CliError::usage("the card has no completed run before this one", "name a run with --baseline");
    last(&before).ok_or_else(none)
}

/// The baseline of a run that is about to be requested; none where it is the first one of its card.
pub(crate) async fn of_card(api: &Api, card: &str, named: &str) -> Result<Option<Baseline>, CliError> {
    if let Some(baseline) = by_id(named)? {
        return Ok(Some(baseline));
    }
    let completed = completed(api, card).await?;
    if let Some(branch) = named.strip_prefix(BRANCH) {
        // The first run on a branch has nothing to be compared with, as the first one of a card.
        return Ok(of_branch(&completed, branch));
    }
    match named.strip_prefix(LABEL) {
        Some(label) => labelled(api, card, label, &completed).await.map(Some),
        None => Ok(last(&completed)),
    }
}

/// The newest run of a branch.
fn of_branch(runs: &[Value], branch: &str) -> Option<Baseline> {
    let run = runs.iter().find(|run| run["branch"] == branch)?;
    Some(Baseline { run: text(run, "id").to_owned(), version: None })
}

fn no_branch(branch: &str) -> CliError {
    let message =
        format!("no run of the branch {branch:?} is among the {RUNS_MAX} of the card completed last before this one");
    CliError::usage(message, "run the suite once on that branch, or name a run with --baseline")
}

fn by_id(named: &str) -> Result<Option<Baseline>, CliError> {
    if named == LAST || named.starts_with(LABEL) || named.starts_with(BRANCH) {
        return Ok(None);
    }
    Ok(Some(Baseline { run: target::run_id(named)?.to_owned(), version: None }))
}

fn last(runs: &[Value]) -> Option<Baseline> {
    runs.first().map(|run| Baseline { run: text(run, "id").to_owned(), version: None })
}

async fn labelled(api: &Api, card: &str, label: &str, runs: &[Value]) -> Result<Baseline, CliError> {
    let version = api.card(card).await?.labels.get(label).copied().ok_or_else(|| {
        let mend = format!("set it with `pcs card label {card} {label} VERSION`");
        CliError::usage(format!("no version of the card has the label {label:?}"), mend)
    })?;
    let has_version = |run: &&Value| run["versions"].as_array().is_some_and(|all| all.contains(&Value::from(version)));
    let run = runs.iter().find(has_version).ok_or_else(|| {
        let message = format!(
            "version {version}, which is {label:?}, has no run before this one among the {RUNS_MAX} completed last"
        );
        CliError::usage(message, "run that version once, or name a run with --baseline")
    })?;
    Ok(Baseline { run: text(run, "id").to_owned(), version: Some(version) })
}

/// Completed runs of a card, the newest first.
async fn completed(api: &Api, card: &str) -> Result<Vec<Value>, CliError> {
    let page = api.show(&["runs"], &[("card_id", card), ("status", "completed"), ("limit", RUNS_MAX)]).await?;
    Ok(page["items"].as_array().cloned().unwrap_or_default())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}
