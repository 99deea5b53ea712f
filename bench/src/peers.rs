//! Other event stores, by the program in `bench/peers`, each at its own best number of callers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// What each peer is tried with; the best counts.
const CALLERS: &str = "1,8,32";

/// One measurement of a peer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Said {
    /// With how many callers.
    pub(crate) callers: u32,
    /// Events per second that were acknowledged.
    pub(crate) per_second: f64,
    /// Attempts that the library refused.
    pub(crate) refused: u64,
}

/// The best that a peer does on an empty database of its own; its tables stay from round to round, as ours do.
pub(crate) fn best(peer: &str, url: &str, seconds: u32) -> anyhow::Result<Said> {
    let program = program();
    let output = Command::new(&program)
        .args(["--database-url", url, "--peer", peer, "--callers", CALLERS, "--seconds", &seconds.to_string()])
        .output()
        .with_context(|| format!("{} does not run: `make bench` builds it", program.display()))?;
    if !output.status.success() {
        bail!("{peer} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut best: Option<Said> = None;
    for line in String::from_utf8(output.stdout)?.lines() {
        let said: Said = serde_json::from_str(line)?;
        eprintln!(
            "  {peer}, {} callers: {:.0} events/s, {} attempts refused",
            said.callers, said.per_second, said.refused
        );
        if best.as_ref().is_none_or(|best| said.per_second > best.per_second) {
            best = Some(said);
        }
    }
    best.with_context(|| format!("{peer} said nothing"))
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers/release/pcs-bench-peers")
}
