//! `pcs es archive …`: moves closed partitions of the log into object storage, looks through them, takes them back.

use std::time::Duration;

use clap::{Args, Subcommand};
use pcs_store::{ArchiveRun, ArchiveStep, ArchivedPartition, Candidate, Reader, Store, Verdict};
use pcs_worker_maintenance::readers;
use serde_json::{Value, json};

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// Archive partitions of the log, and look at what is archived.
#[derive(Clone, Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Show what a run would do, and what keeps the other partitions
    Plan(Plan),
    /// Export closed partitions, read them back, detach them, and drop those that were detached long ago
    Run(Run),
    /// Read every archived byte and compare it with what was archived; 1 where something is wrong
    Verify(Range),
    /// Attach archived partitions again
    Restore(Range),
    /// List the archived partitions
    Ls,
}

/// Which partitions stay.
#[derive(Args, Clone, Copy, Debug)]
pub struct Plan {
    /// How many of the newest closed partitions stay in the database
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: u32,
}

/// How a run works.
#[derive(Args, Clone, Copy, Debug)]
pub struct Run {
    #[command(flatten)]
    plan: Plan,
    /// How many hours the table of a detached partition is kept
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    grace_hours: u32,
    /// Drop tables as soon as they are detached
    #[arg(long, conflicts_with = "grace_hours")]
    drop: bool,
    /// Detach restored partitions again
    #[arg(long)]
    restored: bool,
}

/// Which partitions are meant: those that have one of these positions.
#[derive(Args, Clone, Copy, Debug)]
pub struct Range {
    /// The first position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: i64,
    /// The last position
    #[arg(long, value_name = "POSITION", default_value_t = i64::MAX, hide_default_value = true)]
    to: i64,
}

impl ArchiveCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        match self {
            Self::Plan(plan) => plan.execute(&store, console).await?,
            Self::Run(run) => run.execute(&store, console).await?,
            Self::Verify(range) => return range.checked()?.verify(&store, console).await,
            Self::Restore(range) => range.checked()?.restore(&store, console).await?,
            Self::Ls => list(&store, console).await?,
        }
        Ok(ExitStatus::Success)
    }
}

impl Plan {
    async fn execute(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        let plan = store.archive_plan(self.keep, &readers(store).await?).await?;
        let rows: Vec<Value> = plan.iter().map(candidate).collect();
        let columns = [
            ("partition", Align::Right),
            ("first", Align::Right),
            ("last", Align::Right),
            ("what happens", Align::Left),
        ];
        console.list(&rows, &columns, |row| cells(row, &["partition", "first_position", "last_position", "verdict"]))
    }
}

impl Run {
    async fn execute(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        let hours = if self.drop { 0 } else { self.grace_hours };
        let run = ArchiveRun {
            keep: self.plan.keep,
            grace: Duration::from_secs(u64::from(hours) * 60 * 60),
            restored_too: self.restored,
            readers: readers(store).await?,
            ..ArchiveRun::default()
        };
        let mut steps = Vec::new();
        let output = &mut console.output;
        let mut told = |step: ArchiveStep| {
            output.note(&sentence(&step));
            steps.push(step);
        };
        store.archive_run(&run, &mut told).await?;
        let count = |wanted: fn(&ArchiveStep) -> bool| steps.iter().filter(|step| wanted(step)).count();
        let detached = count(|step| matches!(step, ArchiveStep::Detached { .. }));
        let dropped = count(|step| matches!(step, ArchiveStep::Dropped { .. }));
        let done = json!({ "detached": detached, "dropped": dropped });
        console.thing(&done, vec![("detached", detached.to_string()), ("dropped", dropped.to_string())])
    }
}

impl Range {
    /// A range without positions is a slip of the hand, and would be found whole.
    fn checked(self) -> Result<Self, CliError> {
        if self.from <= self.to {
            return Ok(self);
        }
        let message = format!("there are no positions from {} to {}", self.from, self.to);
        Err(CliError::usage(message, "give the smaller one as --from"))
    }

    async fn verify(self, store: &Store, console: &mut Console) -> Result<ExitStatus, CliError> {
        let output = &mut console.output;
        let mut looked_at = 0;
        let mut told = |step: ArchiveStep| {
            looked_at += 1;
            output.note(&sentence(&step));
        };
        let findings = store.archive_verify(self.from, self.to, &mut told).await?;
        if findings.is_empty() && !console.json() {
            console.output.line(&format!("{looked_at} partitions are what was archived"))?;
            return Ok(ExitStatus::Success);
        }
        let rows: Vec<Value> = findings
            .iter()
            .map(|finding| {
                let positions = finding.positions.map(|(first, last)| json!([first, last]));
                let (number, object, what) = (finding.number, &finding.object, &finding.what);
                json!({ "partition": number, "object": object, "positions": positions, "what": what,
                        "finding": finding.to_string() })
            })
            .collect();
        console.list(&rows, &[("partition", Align::Right), ("finding", Align::Left)], |row| {
            cells(row, &["partition", "finding"])
        })?;
        Ok(if findings.is_empty() { ExitStatus::Success } else { ExitStatus::GateFailed })
    }

    async fn restore(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        let output = &mut console.output;
        let restored = store.archive_restore(self.from, self.to, &mut |step| output.note(&sentence(&step))).await?;
        console.thing(&json!({ "restored": restored }), vec![("restored", restored.to_string())])
    }
}

async fn list(store: &Store, console: &mut Console) -> Result<(), CliError> {
    let rows: Vec<Value> = store.archived_partitions().await?.iter().map(partition).collect();
    let columns = [
        ("partition", Align::Right),
        ("first", Align::Right),
        ("last", Align::Right),
        ("events", Align::Right),
        ("bytes", Align::Right),
        ("state", Align::Left),
        ("merkle root", Align::Left),
    ];
    let fields = ["partition", "first_position", "last_position", "events", "bytes", "state", "merkle_root"];
    console.list(&rows, &columns, |row| cells(row, &fields))
}

fn candidate(candidate: &Candidate) -> Value {
    let Candidate { number, first_position, last_position, verdict } = candidate;
    let verdict = match verdict {
        Verdict::Ready => "is archived by the next run".to_owned(),
        Verdict::Begun => "was begun; the next run goes on".to_owned(),
        Verdict::Restored => "was restored; stays until a run with --restored".to_owned(),
        Verdict::Open => "stays: it is still written to".to_owned(),
        Verdict::Kept => "stays: it is among the newest closed ones (--keep)".to_owned(),
        Verdict::HeldBy(Reader { name, position }) => format!("stays: {name} has read to {position}"),
    };
    json!({ "partition": number, "first_position": first_position, "last_position": last_position, "verdict": verdict })
}

fn partition(partition: &ArchivedPartition) -> Value {
    json!({
        "partition": partition.number,
        "first_position": partition.first_position,
        "last_position": partition.last_position,
        "events": partition.events,
        "bytes": partition.bytes,
        "state": partition.state.name(),
        "merkle_root": partition.merkle_root,
        "folder": partition.folder,
        "manifest_sha256": partition.manifest_sha256,
    })
}

fn sentence(step: &ArchiveStep) -> String {
    match step {
        ArchiveStep::Written { number, position } => format!("partition {number}: written to position {position}"),
        ArchiveStep::Verified { number } => format!("partition {number}: read back"),
        ArchiveStep::Detached { number } => format!("partition {number}: detached"),
        ArchiveStep::Dropped { number } => format!("partition {number}: dropped"),
        ArchiveStep::Loaded { number, position } => format!("partition {number}: put back to position {position}"),
        ArchiveStep::Attached { number } => format!("partition {number}: attached"),
    }
}

fn cells(row: &Value, fields: &[&str]) -> Vec<String> {
    let cell = |field: &&str| match &row[*field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    fields.iter().map(cell).collect()
}
