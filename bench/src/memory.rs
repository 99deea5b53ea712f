//! The memory of a process that reads five million events, over time. Slow: only by its name.
//!
//! The reader is a process of its own (this program with `--reader`), so that what filled the log is not counted. Its
//! resident memory is taken from `/proc` at every progress that it reports; the whole course is kept in
//! `docs/memory.md`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use pcs_store::Filter;

use crate::ground::{self, Ground};
use crate::rebuild;
use crate::report::{self, Row, Target};
use crate::results::{self, Results};
use crate::settings::Settings;
use crate::tail::PAGE_LEN;

/// Events in the log.
const EVENTS: u64 = 5_000_000;
/// What is read, each by a process of its own.
const READERS: [&str; 2] = ["tail", "rebuild"];
/// Points of the course.
const POINTS: u64 = 50;
/// The share of the way after which memory may grow no further.
const SETTLED: f64 = 0.2;
/// How much more than until then it may be.
const GROWTH_MAX: f64 = 1.1;

/// One look at the reader.
struct Point {
    seconds: f64,
    events: u64,
    mib: f64,
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let results = Arc::new(Results::load()?);
    let events = settings.events.unwrap_or(EVENTS);
    results::fill(&ground.store, &results, events).await?;
    sqlx::raw_sql("vacuum analyze es.event").execute(&ground.pool).await?;
    let (mut rows, mut page) = (Vec::new(), introduction(events));
    for what in READERS {
        let course = course(what, ground.url(), events)?;
        let settled = peak(course.iter().filter(|point| fraction(point, events) <= SETTLED));
        let later = peak(course.iter().filter(|point| fraction(point, events) > SETTLED));
        rows.push(Row::new(
            &format!("memory {what}, peak of the last four fifths"),
            later,
            "peak of the first fifth",
            settled,
            "MiB",
            &Target::AtMost(GROWTH_MAX),
        ));
        section(&mut page, what, &course)?;
    }
    ground.stop().await;
    if !settings.is_trial() {
        std::fs::write(report::root().join("docs/memory.md"), page)?;
    }
    Ok(rows)
}

fn fraction(point: &Point, events: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of events fit a float exactly")]
    let fraction = point.events as f64 / events as f64;
    fraction
}

fn peak<'a>(points: impl Iterator<Item = &'a Point>) -> f64 {
    points.map(|point| point.mib).fold(0.0, f64::max)
}

/// Lets a reader of its own run to the end, and looks at its memory whenever it says how far it is.
fn course(what: &str, url: &str, events: u64) -> anyhow::Result<Vec<Point>> {
    let started = Instant::now();
    let mut reader = Reader(
        Command::new(std::env::current_exe()?)
            .args(["--reader", what, url, &(events / POINTS).to_string()])
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let output = reader.0.stdout.take().context("the reader has no output")?;
    let mut course = Vec::new();
    for line in BufReader::new(output).lines() {
        let events = line?.parse()?;
        let mib = resident_mib(reader.0.id())?;
        course.push(Point { seconds: started.elapsed().as_secs_f64(), events, mib });
    }
    let status = reader.0.wait()?;
    if !status.success() || course.is_empty() {
        bail!("the reader of {what} ended with {status} after {} reports", course.len());
    }
    Ok(course)
}

/// A child that does not outlive us.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        drop(self.0.kill());
    }
}

/// The memory of a process that is in RAM, in MiB.
fn resident_mib(process: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// What the process with `--reader` does: reads, and prints the number of events after each `every` of them. It ends
/// with its last look, while there is still somebody to look at.
pub(crate) async fn read(what: &str, url: &str, every: u64) -> anyhow::Result<()> {
    match what {
        "tail" => tail(url, every).await,
        "rebuild" => rebuilt(url, every).await,
        other => bail!("there is no reader {other}"),
    }
}

async fn tail(url: &str, every: u64) -> anyhow::Result<()> {
    let follower = ground::open(url).await?.follow(Filter::all());
    let (mut position, mut count, mut told) = (0, 0_u64, 0);
    loop {
        let page = follower.read(position, PAGE_LEN).await?;
        if page.events.is_empty() && page.caught_up {
            return Ok(());
        }
        position = page.position;
        count += page.events.len() as u64;
        if count - told >= every {
            told = count;
            say(count)?;
        }
    }
}

async fn rebuilt(url: &str, every: u64) -> anyhow::Result<()> {
    let store = ground::open(url).await?;
    let told = AtomicU64::new(0);
    let progress = |position: i64| {
        let count = position.unsigned_abs();
        if count >= told.load(Ordering::Relaxed) + every {
            told.store(count, Ordering::Relaxed);
            // Nobody who listens is left: the reader will be ended.
            drop(say(count));
        }
    };
    rebuild::build(&store, &progress).await?;
    Ok(())
}

fn say(count: u64) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{count}")?;
    output.flush()?;
    Ok(())
}

fn introduction(events: u64) -> String {
    format!(
        "# Memory over a long read\n\nWritten by `make bench NAME=memory`: a process of its own reads a log of {events} \
         results from its start to its end, and its resident memory is looked at on the way.\n"
    )
}

fn section(page: &mut String, what: &str, course: &[Point]) -> std::fmt::Result {
    writeln!(page, "\n## {what}\n\n| seconds | events | MiB |\n|---:|---:|---:|")?;
    for Point { seconds, events, mib } in course {
        writeln!(page, "| {seconds:.1} | {events} | {mib:.1} |")?;
    }
    Ok(())
}
