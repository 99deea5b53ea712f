//! `pcs card usage`: which versions of a card were run, and by which schedules.

use super::Named;
use super::read::{labels_of, yes_no};
use crate::client::Api;
use crate::client::wire::{ScheduleUsage, VersionUsage};
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output};
use crate::commands::target;

pub(super) async fn usage(api: &Api, named: &Named, output: &mut Output) -> Result<(), CliError> {
    let card = target::card(api, &named.card).await?;
    let usage = api.card_usage(&card.id).await?;
    if named.json {
        return output.json(&usage);
    }
    if usage.versions.is_empty() {
        output.note("the card was not run yet");
        return Ok(());
    }
    let columns = [
        ("version", Align::Right),
        ("labels", Align::Left),
        ("runs", Align::Right),
        ("running", Align::Right),
        ("last run", Align::Left),
        ("requested", Align::Left),
    ];
    let row = |used: &VersionUsage| {
        let (runs, running) = (used.runs.to_string(), used.running.to_string());
        let (last, requested) = (used.last_run_id.clone(), used.last_requested_at.clone());
        vec![used.version.to_string(), labels_of(&card, used.version), runs, running, last, requested]
    };
    output.table(&columns, usage.versions.iter().map(row).collect())?;
    if usage.schedules.is_empty() {
        return Ok(());
    }
    let columns = ["schedule", "name", "paused", "last run", "versions"].map(|name| (name, Align::Left));
    output.line("")?;
    output.table(&columns, usage.schedules.iter().map(schedule_row).collect())
}

fn schedule_row(schedule: &ScheduleUsage) -> Vec<String> {
    let versions: Vec<String> = schedule.versions.iter().map(u32::to_string).collect();
    vec![
        schedule.id.clone(),
        schedule.name.clone(),
        yes_no(schedule.paused),
        schedule.last_run_id.clone(),
        versions.join(", "),
    ]
}
