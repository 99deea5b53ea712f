//! Builds a read model anew, with a bar, and compares it with the living one.

use std::sync::Mutex;
use std::sync::PoisonError;

use pcs_projections::{BuildEnd, BuildPhase, BuildProgress, Compared, Policy, Projection, RebuildConfig};
use pcs_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Name, list, policy};
use crate::commands::es::console::Console;
use crate::commands::es::progress::Progress;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// `projection rebuild`.
#[derive(Clone, Debug, clap::Args)]
pub struct Rebuild {
    #[command(flatten)]
    name: Name,
    /// Throw a build away that was begun, and begin anew
    #[arg(long)]
    restart: bool,
    /// What is done with an event that can't be applied; as for the living one where it is not given
    #[arg(long, value_parser = policy)]
    policy: Option<Policy>,
    /// Compare it with the living one when it is ready, and promote it where they are the same
    #[arg(long)]
    promote: bool,
}

impl Rebuild {
    pub(super) async fn execute(self, store: &Store, console: &mut Console) -> Result<ExitStatus, CliError> {
        let projection = self.name.find()?;
        let config = RebuildConfig { restart: self.restart, policy: self.policy, ..RebuildConfig::default() };
        let ended = watched(store, &*projection, config, console).await?;
        let status = match ended {
            BuildEnd::Ready(_) => ExitStatus::Success,
            BuildEnd::Paused(position) | BuildEnd::Cancelled(position) => {
                let again = format!("it stands at {position}; `pcs es projection rebuild` goes on with it");
                console.output.note(&again);
                ExitStatus::Interrupted
            }
            BuildEnd::Stopped(_) => {
                console.output.note("it stopped at an event that it can't apply; --policy says what to do with it");
                ExitStatus::GateFailed
            }
        };
        if status == ExitStatus::Success && self.promote {
            let status = shadow(store, &self.name, console).await?;
            if status != ExitStatus::Success {
                return Ok(status);
            }
            pcs_projections::promote(store, &*projection).await?;
        }
        list::show(store, &self.name, console).await?;
        Ok(status)
    }
}

/// Builds, and shows how far it is until it ends or somebody stops it.
async fn watched(
    store: &Store,
    projection: &dyn Projection,
    config: RebuildConfig,
    console: &mut Console,
) -> Result<BuildEnd, CliError> {
    let stop = CancellationToken::new();
    let (sender, mut told) = mpsc::unbounded_channel();
    let sender = Mutex::new(sender);
    let tell = move |progress: BuildProgress| {
        // A receiver that is gone has seen enough.
        let _ = sender.lock().unwrap_or_else(PoisonError::into_inner).send(progress);
    };
    let build = pcs_projections::rebuild(store, projection, config, stop.clone(), &tell);
    tokio::pin!(build);
    let mut bar: Option<(BuildPhase, Progress)> = None;
    loop {
        tokio::select! {
            ended = &mut build => return Ok(ended?),
            Some(progress) = told.recv() => show(&mut bar, progress, console),
            // It ends after the page that it writes.
            _ = tokio::signal::ctrl_c(), if !stop.is_cancelled() => stop.cancel(),
        }
    }
}

fn show(bar: &mut Option<(BuildPhase, Progress)>, progress: BuildProgress, console: &mut Console) {
    let total = u64::try_from(progress.head).unwrap_or(0);
    let (_, bar) = match bar {
        Some(shown) if shown.0 == progress.phase => shown,
        other => {
            let doing = match progress.phase {
                BuildPhase::Loading => "loading",
                BuildPhase::Keys => "making keys",
                BuildPhase::CatchingUp => "catching up",
            };
            other.insert((progress.phase, Progress::new(doing, total, &console.output)))
        }
    };
    bar.show(u64::try_from(progress.position).unwrap_or(0), &mut console.output);
}

/// Compares a build with the living read model.
pub(super) async fn shadow(store: &Store, name: &Name, console: &mut Console) -> Result<ExitStatus, CliError> {
    let compared = pcs_projections::shadow(store, &*name.find()?).await?;
    print(&compared, console)?;
    Ok(if compared.equal { ExitStatus::Success } else { ExitStatus::GateFailed })
}

fn print(compared: &Compared, console: &mut Console) -> Result<(), CliError> {
    if console.json() {
        return console.output.json(compared);
    }
    let columns = [
        ("table", Align::Left),
        ("live rows", Align::Right),
        ("new rows", Align::Right),
        ("compared", Align::Left),
        ("same", Align::Left),
        ("differing", Align::Left),
    ];
    let rows = compared.tables.iter().map(|table| {
        let share = if table.sampled == 1 { "all".to_owned() } else { format!("one of {}", table.sampled) };
        vec![
            table.table.clone(),
            table.live_rows.to_string(),
            table.next_rows.to_string(),
            share,
            if table.is_equal() { "yes" } else { "no" }.to_owned(),
            table.differing.join(" "),
        ]
    });
    console.output.table(&columns, rows.collect())?;
    let verdict = if compared.equal { "the same" } else { "not the same" };
    console.output.note(&format!("at position {} they are {verdict}", compared.position));
    Ok(())
}
