//! A process of `pcs`, as an operator starts it, and what `/proc` says of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest wait for the system to be ready.
const READY_MAX: Duration = Duration::from_secs(120);

/// A child that is ended in order, or killed when we fail.
pub(crate) struct Role(Child);

impl Role {
    pub(crate) fn start(arguments: &[&str], folder: &Path, log: &str) -> anyhow::Result<Self> {
        let log = std::fs::File::create(folder.join(log))?;
        let program = program()?;
        let child = Command::new(&program)
            .args(arguments)
            .env("PCS_CACHE_DIR", PathBuf::from(".local/cache"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        Ok(Self(child))
    }

    /// The most memory that it has had, in MiB.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        self.memory_mib("VmHWM:")
    }

    /// Its memory that is in RAM now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        self.memory_mib("VmRSS:")
    }

    /// The clock ticks for which a processor has worked for it.
    pub(crate) fn processor_ticks(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name may hold spaces; it ends with the last parenthesis. User time is the twelfth field behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("no time");
        Ok(ticks(11)? + ticks(12)?)
    }

    fn memory_mib(&self, label: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with(label)).with_context(|| format!("no {label}"))?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// The program, which was built beside this one.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("pcs"))
}

/// Waits for a file that a role writes when it is ready.
pub(crate) fn wait_for(path: &Path) -> anyhow::Result<Value> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return Ok(serde_json::from_str(&text)?);
        }
        if Instant::now() > deadline {
            bail!("{} did not appear within {READY_MAX:?}", path.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
