//! A suite against a model behind HTTP, beside promptfoo: how near to the ideal it comes, and what is paid twice when the
//! one that asks is killed in the middle.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::endpoint::{self, Asked};
use crate::report::{Row, Target};
use crate::settings::{Settings, median};
use crate::suites::{Ground, promptfoo_command};

/// Tests of the suite.
const TESTS: u32 = 1_000;
/// Calls at a time, of both.
const SLOTS: u32 = 128;
/// How long an answer takes where the speed is measured.
const LATENCY: Duration = Duration::from_millis(100);
/// How long it takes where somebody is killed.
const KILLED_LATENCY: Duration = Duration::from_millis(300);
/// After so many calls the one that asks is killed.
const KILLED_AFTER: usize = 300;
/// Of the ideal, how much must be reached.
const IDEAL_SHARE_MIN: f64 = 0.9;
/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(120);

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let mut ground = Ground::start(SLOTS).await?;
    let mut rows = speed(&ground, settings)?;
    rows.extend(killed(&mut ground)?);
    ground.stop().await?;
    Ok(rows)
}

/// How many calls a second are made, beside as many as there could be, and the whole command beside promptfoo.
fn speed(ground: &Ground, settings: Settings) -> anyhow::Result<Vec<Row>> {
    let (mut rates, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let (url, asked) = endpoint::start(LATENCY)?;
        let file = configuration(ground, &url, &format!("round {round}"))?;
        ours.push(f64::from(TESTS) / ground.run(&file, &[])?.0);
        rates.push(f64::from(TESTS) / asked.seconds().context("nothing was asked")?);
        let (url, _) = endpoint::start(LATENCY)?;
        let file = configuration(ground, &url, &format!("round {round}"))?;
        let started = Instant::now();
        let output = asking(&file, ground.folder(), &format!("speed-{round}"), &[])?.output()?;
        anyhow::ensure!(output.status.success(), "promptfoo failed: {}", String::from_utf8_lossy(&output.stderr));
        theirs.push(f64::from(TESTS) / started.elapsed().as_secs_f64());
        eprintln!("  {:.0} calls/s; commands {:.0} and {:.0} tests/s", last(&rates), last(&ours), last(&theirs));
    }
    let ideal = f64::from(SLOTS) / LATENCY.as_secs_f64();
    let least = Target::AtLeast(IDEAL_SHARE_MIN);
    Ok(vec![
        Row::new("paid calls of 100 ms at 128 slots", median(rates), "the ideal", ideal, "calls/s", &least),
        Row::new(
            "paid 1,000 tests of 100 ms, whole command",
            median(ours),
            "promptfoo",
            median(theirs),
            "tests/s",
            &Target::AtLeast(1.0),
        ),
    ])
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or_default()
}

/// Kills the one that asks after some calls, and has another go on.
fn killed(ground: &mut Ground) -> anyhow::Result<Vec<Row>> {
    let (url, asked) = endpoint::start(KILLED_LATENCY)?;
    let file = configuration(ground, &url, "killed")?;
    let mut run = ground.command(&["run", &file.display().to_string(), "--json"])?;
    let child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    called(&asked, KILLED_AFTER)?;
    ground.kill_worker()?;
    let in_flight = asked.running();
    ground.start_worker(SLOTS)?;
    let report: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    let (ours_twice, ours_passed) = (twice(&asked)?, count(&report["totals"]["passed"])?);

    let (url, theirs) = endpoint::start(KILLED_LATENCY)?;
    let file = configuration(ground, &url, "killed")?;
    let mut child =
        asking(&file, ground.folder(), "killed", &[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    called(&theirs, KILLED_AFTER)?;
    end(&mut child)?;
    let done = promptfoo_command(&ground.folder().join("killed"))?.args(["eval", "--resume", "--no-cache"]).output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    let theirs_twice = twice(&theirs).with_context(|| said.clone())?;
    let theirs_passed = summarised(&said).with_context(|| said.clone())?;
    eprintln!(
        "  paid twice: {ours_twice} of {in_flight} in flight, and promptfoo {theirs_twice}; the summary says {ours_passed} \
         and {theirs_passed} of {TESTS} passed"
    );
    Ok(vec![
        Row::new("paid twice after kill -9", ours_twice, "in flight", number(in_flight), "calls", &Target::AtMost(1.0)),
        Row::new("paid twice after kill -9, resumed", ours_twice, "promptfoo", theirs_twice, "calls", &Target::Shown),
        Row::new(
            "paid tests in the summary after kill -9",
            ours_passed,
            "the truth",
            f64::from(TESTS),
            "tests",
            &Target::AtLeast(1.0),
        ),
        Row::new(
            "paid tests in the summary, resumed",
            ours_passed,
            "promptfoo",
            theirs_passed,
            "tests",
            &Target::Shown,
        ),
    ])
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// How many tests passed by promptfoo's summary, such as `982 passed (100%)`.
fn summarised(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains(" passed ("))?;
    let before = line.split(" passed (").next()?;
    before.split_whitespace().last()?.replace(',', "").parse().ok()
}

fn count(value: &Value) -> anyhow::Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no count"))
}

/// Calls beyond the first of each prompt; all prompts must have been asked.
fn twice(asked: &Asked) -> anyhow::Result<f64> {
    anyhow::ensure!(asked.prompts() == TESTS as usize, "only {} prompts were asked", asked.prompts());
    Ok(number(asked.calls() - asked.prompts()))
}

fn called(asked: &Asked, calls: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + WAIT_MAX;
    while asked.calls() < calls {
        if Instant::now() > deadline {
            bail!("only {} calls came within {WAIT_MAX:?}", asked.calls());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// A file of the suite, which both take.
fn configuration(ground: &Ground, url: &str, description: &str) -> anyhow::Result<PathBuf> {
    let provider = format!("{{ id: 'openai:chat:m', config: {{ apiBaseUrl: '{url}' }} }}");
    ground.configuration(TESTS, description, &provider)
}

/// promptfoo, asking; what it keeps is in a folder of its own.
fn asking(file: &Path, folder: &Path, home: &str, more: &[&str]) -> anyhow::Result<Command> {
    let mut command = promptfoo_command(&folder.join(home))?;
    let slots = SLOTS.to_string();
    let eval = ["eval", "--no-table", "--no-progress-bar", "--no-cache", "--max-concurrency", &slots, "-c"];
    command.args(eval).arg(file).args(more);
    Ok(command)
}
