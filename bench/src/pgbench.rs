//! The raw limit: single-row inserts, each committed alone, by PostgreSQL's own benchmark program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The row that pgbench inserts: a key, and a payload as large as our event's.
const SCRIPT: &str = "insert into peer.single (payload) values ('PAYLOAD');\n";

/// What pgbench said.
pub(crate) struct Said {
    /// Inserts per second.
    pub(crate) per_second: f64,
    /// The mean latency, in milliseconds.
    pub(crate) latency_ms: f64,
}

/// Runs single-row inserts for some seconds.
pub(crate) fn inserts(folder: &Path, url: &str, payload: &str, clients: u32, seconds: u32) -> anyhow::Result<Said> {
    let script = folder.join("insert.sql");
    std::fs::write(&script, SCRIPT.replace("PAYLOAD", payload))?;
    let output = Command::new(program()?)
        .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string(), "-f"])
        .arg(&script)
        .arg(url)
        .output()
        .context("pgbench does not run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let number = |label: &str| -> anyhow::Result<f64> {
        let line =
            text.lines().find(|line| line.starts_with(label)).with_context(|| format!("no {label:?} in {text}"))?;
        let number = line[label.len()..].split_whitespace().find_map(|word| word.parse().ok());
        number.with_context(|| format!("no number in {line:?}"))
    };
    Ok(Said { per_second: number("tps = ")?, latency_ms: number("latency average = ")? })
}

/// `pgbench` of PATH or of the usual folders.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(installed.map(|version| version.path().join("bin")));
    let found = folders.into_iter().map(|folder| folder.join("pgbench")).find(|program| program.exists());
    found.context("pgbench is not installed: it comes with PostgreSQL's server or contrib package")
}
