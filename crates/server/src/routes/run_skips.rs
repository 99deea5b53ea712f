//! Cells that a run leaves out, checked against its card before anything is written.

use pcs_domain::prompt_card::{Card, PromptCardRejection};
use pcs_domain::test_run::{Requested, Skip};

use crate::problem::Problem;

/// The run without these cells. Which versions, models and named cases it has is the domain's to check; it does not know
/// the cases of a run of all.
pub(super) fn without(requested: Requested, card: Option<&Card>, skips: Vec<Skip>) -> Result<Requested, Problem> {
    let has = |id| card.is_some_and(|card| card.cases.contains_key(id));
    if let Some(case_id) = skips.iter().flat_map(|skip| &skip.case_ids).find(|id| !has(id)) {
        let message = PromptCardRejection::NoSuchCase { case_id: *case_id }.to_string();
        return Err(Problem::unprocessable("case_not_found", &message).field("skips", &message));
    }
    Ok(Requested { skips, ..requested })
}
