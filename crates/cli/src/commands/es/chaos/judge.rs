//! The judgement: what was acknowledged, read and folded, beside what is stored.

use std::collections::HashMap;
use std::time::Duration;

use pcs_store::{Check, Recorded, Store, Verification};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::STREAMS;
use super::ledger::Ledger;
use super::readers::{Readers, Seen};
use super::writer;
use crate::commands::es::folded;
use crate::commands::exit::CliError;

/// Longest time for readers and projections to come up to the end of the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events of a page.
const PAGE_LEN: i64 = 5_000;

/// A claim, and whether it holds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) check: String,
    pub(super) ok: bool,
    pub(super) seen: String,
}

/// What was gathered while the faults went on.
pub(super) struct Evidence<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) readers: Readers,
    pub(super) stop: &'a CancellationToken,
    pub(super) namespace: Uuid,
}

/// All verdicts.
pub(super) struct Judged {
    pub(super) events: u64,
    pub(super) checks: Vec<Verdict>,
}

/// The log as one reader after the end of all faults sees it.
#[derive(Default)]
struct Log {
    seen: Seen,
    commands: HashMap<Uuid, Stored>,
}

/// A command's events as they are stored.
#[derive(Default)]
struct Stored {
    first: i64,
    last: i64,
    count: i64,
    /// How often its first event is there: as often as it was executed.
    executions: u64,
}

fn verdict(check: &str, faults: &[String], fine: impl Into<String>) -> Verdict {
    let seen = match faults {
        [] => fine.into(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    };
    Verdict { check: check.to_owned(), ok: faults.is_empty(), seen }
}

pub(super) async fn judge(store: &Store, evidence: Evidence<'_>) -> Result<Judged, CliError> {
    let head = settled_head(store).await?;
    let log = read(store, head).await?;
    let (acks, complaints) = evidence.ledger.close();
    let mut checks = vec![verdict("writers were answered as they should be", &complaints, "no complaint")];
    checks.push(acknowledged(&acks, &log));
    checks.push(once(&acks, &log, evidence.namespace));
    let fault: Vec<String> = log.seen.fault.iter().cloned().collect();
    checks.push(verdict("positions and versions have no gaps", &fault, format!("1 to {head}, {STREAMS} streams")));
    let reading = tokio::time::timeout(CATCH_UP_MAX, evidence.readers.until(head)).await;
    evidence.stop.cancel();
    checks.push(readers(reading.ok(), &log));
    checks.push(verified(store).await?);
    checks.push(projected(store, head).await?);
    Ok(Judged { events: u64::try_from(head).unwrap_or(0), checks })
}

/// The head once nothing moves it any more: an append of a killed writer may still be on its way in the server.
async fn settled_head(store: &Store) -> Result<i64, CliError> {
    let mut before = -1;
    let deadline = tokio::time::Instant::now() + CATCH_UP_MAX;
    loop {
        // The connections of the pool were cut as well: the first answers are errors.
        match store.head().await {
            Ok(head) if head == before => return Ok(head),
            Ok(head) => before = head,
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error.into()),
            Err(_) => (),
        }
        tokio::time::sleep(LOOK_EVERY * 5).await;
    }
}

async fn read(store: &Store, head: i64) -> Result<Log, CliError> {
    let mut log = Log::default();
    while log.seen.position < head {
        let page = store.read_after(log.seen.position, PAGE_LEN).await?;
        if page.is_empty() {
            break;
        }
        page.iter().for_each(|event| log.add(event));
    }
    Ok(log)
}

impl Log {
    fn add(&mut self, event: &Recorded) {
        self.seen.see(event);
        let position = event.position;
        let stored = self.commands.entry(event.command_id.0).or_default();
        if stored.count == 0 {
            stored.first = position;
        }
        stored.last = position;
        stored.count += 1;
        stored.executions += u64::from(writer::is_first(&event.event));
    }
}

fn acknowledged(acks: &HashMap<Uuid, (i64, i64)>, log: &Log) -> Verdict {
    let lost: Vec<String> = acks
        .iter()
        .filter_map(|(command, (first, last))| match log.commands.get(command) {
            Some(stored) if (stored.first, stored.last) == (*first, *last) => None,
            Some(stored) => Some(format!(
                "command {command} was acknowledged at {first} to {last} and is at {} to {}",
                stored.first, stored.last
            )),
            None => Some(format!("command {command} was acknowledged at {first} to {last} and is not there")),
        })
        .collect();
    verdict("what was acknowledged is stored", &lost, format!("{} commands", acks.len()))
}

/// Each command's events stand together, once: a command that was executed twice has twice its events.
fn once(acks: &HashMap<Uuid, (i64, i64)>, log: &Log, namespace: Uuid) -> Verdict {
    let commands = log.commands.iter();
    let doubled: Vec<String> = commands
        .filter(|(_, stored)| stored.executions != 1 || stored.last - stored.first + 1 != stored.count)
        .map(|(command, stored)| {
            let Stored { first, last, count, executions } = stored;
            format!("command {command} was executed {executions} times: {count} events between {first} and {last}")
        })
        .collect();
    let unknown = log.commands.len().saturating_sub(acks.len());
    let seen =
        format!("{} commands, {unknown} of them without an answer that arrived; run {namespace}", log.commands.len());
    verdict("each command is stored once", &doubled, seen)
}

fn readers(reading: Option<Vec<Seen>>, log: &Log) -> Verdict {
    let check = "readers saw everything in order";
    let Some(readers) = reading else {
        return verdict(check, &["a reader did not get to the end".to_owned()], "");
    };
    let faults: Vec<String> = readers
        .iter()
        .filter_map(|reader| match &reader.fault {
            Some(fault) => Some(fault.clone()),
            None if reader.digest() == log.seen.digest() => None,
            None => Some(format!("a reader that is at {} saw another log", reader.position)),
        })
        .collect();
    verdict(check, &faults, format!("{} readers", readers.len()))
}

async fn verified(store: &Store) -> Result<Verdict, CliError> {
    let mut verification = Verification::begin(store, &Check::ALL, Some(1), None).await?;
    let mut faults = Vec::new();
    while let Some(findings) = verification.next(store).await? {
        faults.extend(
            findings.into_iter().map(|finding| {
                format!("{} at position {:?}: {}", finding.check.name(), finding.position, finding.what)
            }),
        );
    }
    let checks: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
    Ok(verdict("the log verifies", &faults, checks.join(", ")))
}

/// The projectors' tables beside a fold from the start.
async fn projected(store: &Store, head: i64) -> Result<Verdict, CliError> {
    let mut faults = Vec::new();
    let projections = pcs_projections::all();
    for projection in &projections {
        let name = projection.name();
        if !pcs_projections::wait_for_position(store.pool(), name, head, CATCH_UP_MAX).await? {
            let states = pcs_projections::states_of(store, &**projection).await?;
            let now: Vec<String> = states
                .iter()
                .map(|state| format!("{} {:?} at {}", state.generation, state.status, state.position))
                .collect();
            faults.push(format!("{name} did not come up to position {head}: {}", now.join(", ")));
            continue;
        }
        faults.extend(folded::compare(store, &**projection).await?.into_iter().map(|difference| difference.what));
    }
    Ok(verdict("projections are the fold", &faults, format!("{} projections", projections.len())))
}
