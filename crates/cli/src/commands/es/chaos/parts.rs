//! The processes of the play: writers and projectors, started from this very program, killed and started again.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcs_projections::RunnerConfig;
use pcs_store::{Store, StoreConfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ledger::{Ack, Ledger};
use super::writer::Writer;
use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// How many projectors compete.
const PROJECTORS: usize = 2;

/// One process of `pcs es chaos`, which starts it; not for people.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Part {
    /// The writer's number; a projector where there is none
    #[arg(long)]
    writer: Option<u16>,
    #[arg(long, default_value_t = Uuid::nil())]
    namespace: Uuid,
    #[arg(long, default_value_t = 0)]
    next: u64,
}

impl Part {
    pub(in crate::commands::es) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let url = console.database_url()?;
        end_with_the_parent()?;
        match self.writer {
            Some(number) => Writer { number, namespace: self.namespace, next: self.next }.run(&url).await?,
            None => project(&url).await?,
        }
        Ok(ExitStatus::Success)
    }
}

/// Ends this process when its stdin is closed: the parent is gone, however it ended.
fn end_with_the_parent() -> Result<(), CliError> {
    let watch = std::thread::Builder::new().name("parent".to_owned());
    watch.spawn(|| {
        let closed = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(i32::from(closed.is_err()));
    })?;
    Ok(())
}

/// Keeps all projections up, as `pcs project` does.
async fn project(database_url: &str) -> Result<(), CliError> {
    let store = loop {
        match Store::connect(&StoreConfig::new(database_url, "pcs chaos projector")).await {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    };
    let mut running = JoinSet::new();
    for projection in pcs_projections::all() {
        let store = store.clone();
        running.spawn(pcs_projections::run(store, projection, RunnerConfig::default(), CancellationToken::new()));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| CliError::System(error.to_string()))??;
    }
    Ok(())
}

/// A writer's process and how far it is.
struct WriterPart {
    number: u16,
    child: Child,
    next: Arc<AtomicU64>,
}

/// All processes; dropping them kills them.
pub(super) struct Parts {
    url: String,
    namespace: Uuid,
    ledger: Arc<Ledger>,
    writers: Vec<WriterPart>,
    projectors: Vec<Child>,
    /// Reads what writers acknowledge, to the last line of each.
    listeners: JoinSet<()>,
}

impl Parts {
    pub(super) fn start(url: &str, namespace: Uuid, writers: u16, ledger: Arc<Ledger>) -> Result<Self, CliError> {
        let mut parts = Self {
            url: url.to_owned(),
            namespace,
            ledger,
            writers: Vec::new(),
            projectors: Vec::new(),
            listeners: JoinSet::new(),
        };
        for number in 0..writers {
            let next = Arc::new(AtomicU64::new(0));
            let child = parts.start_writer(number, &next)?;
            parts.writers.push(WriterPart { number, child, next });
        }
        for _ in 0..PROJECTORS {
            let child = parts.projector()?;
            parts.projectors.push(child);
        }
        Ok(parts)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, CliError> {
        let mut command = Command::new(std::env::current_exe()?);
        let namespace = self.namespace.to_string();
        command.args(["es", "chaos-part", "--namespace", &namespace]).args(arguments).env("DATABASE_URL", &self.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    fn projector(&self) -> Result<Child, CliError> {
        Ok(self.command(&[])?.spawn()?)
    }

    fn start_writer(&mut self, number: u16, next: &Arc<AtomicU64>) -> Result<Child, CliError> {
        let next_one = next.load(Ordering::Relaxed).to_string();
        let arguments = ["--writer", &number.to_string(), "--next", &next_one];
        let mut child = self.command(&arguments)?.spawn()?;
        if let Some(out) = child.stdout.take() {
            self.listeners.spawn(listen(out, Arc::clone(&self.ledger), Arc::clone(next)));
        }
        Ok(child)
    }

    pub(super) fn writers(&self) -> usize {
        self.writers.len()
    }

    /// `kill -9` of a writer, and its start: it goes on where its former self was.
    pub(super) async fn kill_writer(&mut self, place: usize) -> Result<(), CliError> {
        let Some(part) = self.writers.get_mut(place) else { return Ok(()) };
        part.child.kill().await?;
        let (number, next) = (part.number, Arc::clone(&part.next));
        let child = self.start_writer(number, &next)?;
        if let Some(part) = self.writers.get_mut(place) {
            part.child = child;
        }
        Ok(())
    }

    /// Freezes a writer for a while, wherever it is.
    pub(super) async fn freeze_writer(&self, place: usize, time: std::time::Duration) -> Result<(), CliError> {
        let Some(id) = self.writers.get(place).and_then(|part| part.child.id()) else { return Ok(()) };
        let Ok(id) = i32::try_from(id) else { return Ok(()) };
        let signal = |signal| kill(Pid::from_raw(id), signal).map_err(std::io::Error::from);
        signal(Signal::SIGSTOP)?;
        tokio::time::sleep(time).await;
        Ok(signal(Signal::SIGCONT)?)
    }

    /// `kill -9` of a projector, and its start.
    pub(super) async fn kill_projector(&mut self, place: usize) -> Result<(), CliError> {
        let child = self.projector()?;
        if let Some(projector) = self.projectors.get_mut(place % PROJECTORS) {
            let mut former = std::mem::replace(projector, child);
            former.kill().await?;
        }
        Ok(())
    }

    /// Kills the writers, and waits until everything that they acknowledged is in the ledger.
    pub(super) async fn stop_writers(&mut self) {
        for part in &mut self.writers {
            // It may have ended by itself: what it acknowledged counts all the same.
            drop(part.child.kill().await);
        }
        while self.listeners.join_next().await.is_some() {}
    }

    /// Kills what is left.
    pub(super) async fn stop(mut self) {
        self.stop_writers().await;
        for projector in &mut self.projectors {
            drop(projector.kill().await);
        }
    }
}

async fn listen(out: ChildStdout, ledger: Arc<Ledger>, next: Arc<AtomicU64>) {
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((sequence, ack)) = read_ack(&line) {
            ledger.enter(ack);
            next.fetch_max(sequence + 1, Ordering::Relaxed);
        } else {
            ledger.complain(line);
        }
    }
}

/// Reads `ack <sequence> <command> <first> <last>`.
fn read_ack(line: &str) -> Option<(u64, Ack)> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    let sequence = words.next()?.parse().ok()?;
    let command_id = words.next()?.parse().ok()?;
    let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((sequence, Ack { command_id, first, last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_read_as_it_is_said() {
        let id = Uuid::from_u128(9);
        let read = read_ack(&format!("ack 7 {id} 10 12"));
        assert_eq!(read, Some((7, Ack { command_id: id, first: 10, last: 12 })));
        assert_eq!(read_ack("complaint command 7 was executed again"), None);
        assert_eq!(read_ack(&format!("ack 7 {id} 10")), None);
    }
}
