//! `pcs es replay`: a part of the log again, to stdout, into a stream of JetStream, or to an HTTP server.

mod pace;
mod target;

use std::collections::BTreeMap;

use pcs_store::{Store, StoredEvent};
use serde::Serialize;
use tokio::time::Instant;

use self::pace::{Pace, Rate};
use self::target::{Target, TargetArgs};
use super::console::Console;
use super::progress::Progress;
use super::selection::{Filter, Range, Walk};
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;
use crate::commands::run::interrupt::Interrupts;

/// `es replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: TargetArgs,
    /// Most events per second, as in 500/s
    #[arg(long, value_name = "N/s", value_parser = pace::rate)]
    rate: Option<Rate>,
    /// Send nothing: count per type what would be sent, and say how long it would take
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Count {
    #[serde(rename = "type")]
    type_name: String,
    events: u64,
}

#[derive(Serialize)]
struct Replayed {
    events: u64,
    from: i64,
    to: i64,
}

impl Replay {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let selection = self.filter.selection(console, &store).await?;
        let walk = Walk::over(&store, selection, self.range).await?;
        if self.dry_run {
            return count(&store, walk, self.rate, console).await;
        }
        let mut interrupts = Interrupts::listen()?;
        let mut target = self.target.open().await?;
        let mut sending = Sending { pace: Pace::new(self.rate, Instant::now()), resume: walk.position() + 1, sent: 0 };
        let first = sending.resume;
        let last = walk.to();
        let ended = tokio::select! {
            ended = sending.run(&store, walk, &mut target, console) => Some(ended),
            () = interrupts.next() => None,
        };
        match ended {
            Some(Ok(())) => report(&target, &Replayed { events: sending.sent, from: first, to: last }, console),
            Some(Err(error)) => {
                let (sent, resume) = (sending.sent, sending.resume);
                Err(CliError::System(format!("{error}; {sent} events were sent, go on with --from {resume}")))
            }
            None => {
                let (sent, resume) = (sending.sent, sending.resume);
                console.output.note(&format!("stopped after {sent} events; go on with --from {resume}"));
                Ok(ExitStatus::Interrupted)
            }
        }
    }
}

fn report(target: &Target, replayed: &Replayed, console: &mut Console) -> Result<ExitStatus, CliError> {
    let text = format!("{} events of the positions {} to {}", replayed.events, replayed.from, replayed.to);
    if matches!(target, Target::Stdout) {
        // Stdout has the events.
        console.output.note(&text);
    } else if console.json() {
        console.output.json(replayed)?;
    } else {
        console.output.line(&text)?;
    }
    Ok(ExitStatus::Success)
}

/// How far the replay is.
struct Sending {
    pace: Pace,
    /// From here on nothing is known to have arrived.
    resume: i64,
    sent: u64,
}

impl Sending {
    async fn run(
        &mut self,
        store: &Store,
        mut walk: Walk,
        target: &mut Target,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let mut progress = Progress::new("replaying", walk.total(), &console.output);
        let batch_len = self.pace.batch_len(target.batch_len());
        while let Some(events) = walk.next(store).await? {
            for batch in events.chunks(batch_len) {
                let sent = progress.suspend(|| target.print(batch, console))?;
                if !sent {
                    self.send(batch, target).await?;
                }
                self.sent += u64::try_from(batch.len()).unwrap_or(0);
                self.resume = batch.last().map_or(self.resume, |last| last.position + 1);
                self.pace.wait(self.sent).await;
            }
            self.resume = walk.position() + 1;
            progress.show(walk.done(), &mut console.output);
        }
        Ok(())
    }

    async fn send(&mut self, batch: &[StoredEvent], target: &mut Target) -> Result<(), CliError> {
        target.send(batch).await.map_err(|refusal| {
            // What stands before the refused event in its batch has arrived.
            let arrived = batch.iter().filter(|event| event.position < refusal.position).count();
            self.sent += u64::try_from(arrived).unwrap_or(0);
            self.resume = refusal.position;
            CliError::System(refusal.message)
        })
    }
}

/// Counts what would be sent, type by type.
async fn count(
    store: &Store,
    mut walk: Walk,
    rate: Option<Rate>,
    console: &mut Console,
) -> Result<ExitStatus, CliError> {
    let mut progress = Progress::new("counting", walk.total(), &console.output);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(events) = walk.next(store).await? {
        for event in &events {
            *counts.entry(format!("{}.v{}", event.type_name, event.schema_version)).or_default() += 1;
        }
        progress.show(walk.done(), &mut console.output);
    }
    drop(progress);
    let counts: Vec<Count> = counts.into_iter().map(|(type_name, events)| Count { type_name, events }).collect();
    let columns = [("type", Align::Left), ("events", Align::Right)];
    console.list(&counts, &columns, |count| vec![count.type_name.clone(), count.events.to_string()])?;
    let events: u64 = counts.iter().map(|count| count.events).sum();
    let takes = rate.map_or_else(String::new, |rate| format!(", which take {:.0} s", rate.seconds_for(events)));
    console.output.note(&format!("{events} events{takes}; nothing was sent"));
    Ok(ExitStatus::Success)
}
