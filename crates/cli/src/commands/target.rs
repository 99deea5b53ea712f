//! Finds the card that a user names, by its id or by its exact title.

use uuid::Uuid;

use super::exit::CliError;
use crate::client::Api;
use crate::client::cards::CardFilter;
use crate::client::wire::Card;

/// The word for the newest completed run.
const LAST: &str = "last";

/// The card of this id or title, archived ones included.
pub async fn card(api: &Api, named: &str) -> Result<Card, CliError> {
    if named.parse::<Uuid>().is_ok() {
        return Ok(api.card(named).await?);
    }
    let mut filter = CardFilter { title: Some(named.to_owned()), ..CardFilter::default() };
    let mut found = api.cards(&filter, 3, None).await?.items;
    if found.is_empty() {
        filter.archived = true;
        found = api.cards(&filter, 3, None).await?.items;
    }
    match found.as_slice() {
        [card] => Ok(api.card(&card.id).await?),
        [] => Err(CliError::usage(
            format!("there is no card with the id or the title {named:?}"),
            "`pcs card list` shows the cards; a title is compared exactly",
        )),
        several => {
            let ids: Vec<&str> = several.iter().map(|card| card.id.as_str()).collect();
            Err(CliError::usage(
                format!("several cards have the title {named:?}"),
                format!("name one by its id: {}", ids.join(", ")),
            ))
        }
    }
}

/// The id of a run, which has no other name.
pub fn run_id(named: &str) -> Result<&str, CliError> {
    if named.parse::<Uuid>().is_ok() {
        return Ok(named);
    }
    Err(CliError::usage(format!("{named:?} is not the id of a run"), "`pcs runs list` shows the ids"))
}

/// The run of this id, or the newest completed one of all, which is `last`.
pub async fn run(api: &Api, named: &str) -> Result<String, CliError> {
    if named != LAST {
        return run_id(named).map(str::to_owned);
    }
    let newest = api.runs(None, Some("completed"), 1, None).await?.items;
    let none = || CliError::usage("no run is completed yet", "`pcs run SUITE` makes one");
    newest.into_iter().next().map(|run| run.id).ok_or_else(none)
}
