//! `pcs es chaos`: the store's claims on this machine. Writers append, readers tail, projectors fold, and all of them and
//! the database are killed and frozen at random; in the end everything that was acknowledged must be there, once.

mod dice;
mod faults;
mod judge;
mod ledger;
mod parts;
mod readers;
mod scratch;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::dice::Dice;
use self::faults::Faults;
use self::judge::Verdict;
use self::ledger::Ledger;
pub use self::parts::Part;
use self::parts::Parts;
use self::readers::Readers;
use self::scratch::Scratch;
use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;
use crate::commands::run::interrupt::Interrupts;

/// Streams that all writers write to: few, so that they meet.
const STREAMS: u64 = 24;

/// `es chaos`.
#[derive(Clone, Debug, clap::Args)]
pub struct Chaos {
    /// How long the faults go on
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Processes that append
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    writers: u16,
    /// Readers that follow the log
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    readers: u16,
    /// Repeats the order of faults of another call
    #[arg(long)]
    seed: Option<u64>,
    /// A PostgreSQL on which a scratch database may be made, as postgres://...; a private server is started, and killed,
    /// where it is not given. DATABASE_URL is never used
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// What happened and what was found.
#[derive(Serialize)]
struct Report {
    ok: bool,
    seed: u64,
    seconds: u64,
    acknowledged: u64,
    sent_again: u64,
    events: u64,
    events_per_second: u64,
    streams: u64,
    faults: Faults,
    checks: Vec<Verdict>,
}

impl Chaos {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let seed = self.seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        console.output.note(&format!("seed {seed}; making a scratch database"));
        let mut interrupts = Interrupts::listen()?;
        let mut scratch = Scratch::make(self.server.as_deref()).await?;
        let ran = tokio::select! {
            ran = self.run(&mut scratch, seed, console) => ran.map(Some),
            () = interrupts.next() => Ok(None),
        };
        // Whatever came of it: nothing of ours stays on this machine.
        scratch.remove().await;
        let Some(report) = ran? else { return Ok(ExitStatus::Interrupted) };
        show(&report, console)?;
        Ok(if report.ok { ExitStatus::Success } else { ExitStatus::GateFailed })
    }

    async fn run(&self, scratch: &mut Scratch, seed: u64, console: &mut Console) -> Result<Report, CliError> {
        let store = scratch.store().await?;
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, &seed.to_be_bytes());
        writer::prepare(&store, namespace).await?;
        let ledger = Arc::new(Ledger::default());
        let mut parts = Parts::start(scratch.url(), namespace, self.writers, Arc::clone(&ledger))?;
        let stop = CancellationToken::new();
        let readers = Readers::start(scratch.url(), self.readers, seed, &stop);
        console.output.note(&format!("{} writers, {} readers, 2 projectors", self.writers, self.readers));
        let (mut dice, mut faults) = (Dice::new(seed), Faults::default());
        let started = Instant::now();
        let until = started + Duration::from_secs(self.seconds);
        let mut last_told = started;
        while Instant::now() < until {
            faults.next(&mut dice, &mut parts, scratch).await?;
            if last_told.elapsed() >= Duration::from_secs(5) {
                last_told = Instant::now();
                console.output.note(&format!("{} commands acknowledged, {faults}", ledger.acknowledged()));
            }
        }
        let seconds = started.elapsed().as_secs().max(1);
        parts.stop_writers().await;
        console.output.note("the faults are over; judging");
        let evidence = judge::Evidence { ledger: &ledger, readers, stop: &stop, namespace };
        let judged = judge::judge(&store, evidence).await;
        parts.stop().await;
        let judged = judged?;
        Ok(Report {
            ok: judged.checks.iter().all(|verdict| verdict.ok),
            seed,
            seconds,
            acknowledged: ledger.acknowledged(),
            sent_again: ledger.sent_again(),
            events: judged.events,
            events_per_second: judged.events / seconds,
            streams: STREAMS,
            faults,
            checks: judged.checks,
        })
    }
}

fn show(report: &Report, console: &mut Console) -> Result<(), CliError> {
    if console.json() {
        return console.output.json(report);
    }
    let Report { seconds, acknowledged, sent_again, events, events_per_second, faults, .. } = report;
    console.output.line(&format!(
        "{events} events in {seconds} s ({events_per_second}/s): {acknowledged} commands acknowledged, {sent_again} of \
         them sent again\n{faults}\n"
    ))?;
    let columns = [("check", Align::Left), ("", Align::Left), ("seen", Align::Left)];
    let row = |verdict: &Verdict| {
        let health = if verdict.ok { "holds" } else { "VIOLATED" };
        vec![verdict.check.clone(), health.to_owned(), verdict.seen.clone()]
    };
    console.output.table(&columns, report.checks.iter().map(row).collect())?;
    if !report.ok {
        console.output.note(&format!("a claim does not hold; --seed {} repeats the order of faults", report.seed));
    }
    Ok(())
}
