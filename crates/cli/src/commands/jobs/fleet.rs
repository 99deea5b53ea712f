//! The fleet: who works, who schedules, and whether there are enough.

use super::queues::rows;
use super::{cell, items};
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output};

/// `jobs fleet`.
#[derive(Clone, Debug, clap::Args)]
pub struct Fleet {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn show(api: &Api, args: &Fleet, output: &mut Output) -> Result<(), CliError> {
    let answer = api.show(&["fleet"], &[]).await?;
    if args.json {
        return output.json(&answer);
    }
    let columns = [
        ("worker", Align::Left),
        ("kind", Align::Left),
        ("slots", Align::Right),
        ("in flight", Align::Right),
        ("draining", Align::Left),
        ("build", Align::Left),
        ("known s", Align::Right),
        ("silent s", Align::Right),
    ];
    let fields =
        ["worker", "kind", "slots", "in_flight", "draining", "build", "known_for_seconds", "silent_for_seconds"];
    match items(&answer, "workers") {
        [] => output.note("no worker was heard of lately"),
        workers => output.table(&columns, rows(workers, &fields))?,
    }
    let columns = [
        ("kind", Align::Left),
        ("ready", Align::Right),
        ("slots", Align::Right),
        ("in flight", Align::Right),
        ("load", Align::Right),
    ];
    output.line("")?;
    let scaling = rows(items(&answer, "scaling"), &["kind", "ready", "slots", "in_flight", "load"]);
    output.table(&columns, scaling)?;
    let leader = &answer["leader"];
    let led = if leader["led"] == true { "leads" } else { "has ended: nobody leads" };
    output.line(&format!("term {} {led}, broker up: {}", cell(leader, "term"), cell(leader, "broker"),))
}
