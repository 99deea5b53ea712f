//! Other job queues, by the programs in `bench/peers-node` and `bench/peers`, each in its best form for two cores.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// A job queue, in one of its forms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    GraphileWorker,
    GraphileWorkerBatched,
    PgBoss,
    PgBossBatched,
    ApalisPostgres,
    BullMq,
}

#[derive(Deserialize)]
struct Said {
    per_second: f64,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] = [
        Self::GraphileWorker,
        Self::GraphileWorkerBatched,
        Self::PgBoss,
        Self::PgBossBatched,
        Self::ApalisPostgres,
        Self::BullMq,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GraphileWorker => "graphile-worker",
            Self::GraphileWorkerBatched => "graphile-worker in batches",
            Self::PgBoss => "pg-boss",
            Self::PgBossBatched => "pg-boss in batches",
            Self::ApalisPostgres => "apalis-postgres",
            Self::BullMq => "bullmq on Redis",
        }
    }

    /// The name of its database on our server; none where it has a server of its own.
    pub(crate) fn database(self) -> Option<&'static str> {
        match self {
            Self::GraphileWorker => Some("peer_graphile"),
            Self::GraphileWorkerBatched => Some("peer_graphile_batched"),
            Self::PgBoss => Some("peer_pg_boss"),
            Self::PgBossBatched => Some("peer_pg_boss_batched"),
            Self::ApalisPostgres => Some("peer_apalis"),
            Self::BullMq => None,
        }
    }

    /// How many times as many jobs as it we have to do.
    pub(crate) fn least(self) -> f64 {
        match self {
            Self::GraphileWorker => 2.5,
            Self::PgBoss => 6.0,
            // One write for many jobs, where we keep each with its answer in a log and in two read models.
            Self::GraphileWorkerBatched | Self::PgBossBatched | Self::ApalisPostgres | Self::BullMq => 0.5,
        }
    }

    /// About how many jobs it does a second here, so that a round takes about as long as it shall.
    fn about_per_second(self) -> u32 {
        match self {
            Self::PgBoss => 1_000,
            Self::GraphileWorker => 4_000,
            Self::PgBossBatched | Self::ApalisPostgres | Self::BullMq => 12_000,
            Self::GraphileWorkerBatched => 24_000,
        }
    }

    fn command(self, url: &str) -> Command {
        let (script, flags): (&str, &[&str]) = match self {
            Self::GraphileWorker => ("graphile-worker.js", &[]),
            Self::GraphileWorkerBatched => ("graphile-worker.js", &["--batched"]),
            Self::PgBoss => ("pg-boss.js", &[]),
            Self::PgBossBatched => ("pg-boss.js", &["--batched"]),
            Self::BullMq => ("bullmq.js", &[]),
            Self::ApalisPostgres => {
                let program = folder().join("../target/peers/release/pcs-bench-job-peers");
                let mut command = Command::new(program);
                command.args(["--database-url", url]);
                return command;
            }
        };
        let mut command = Command::new("node");
        command.arg(scripts().join(script)).args(["--url", url]).args(flags);
        command
    }
}

/// Installs what the scripts need, as their lock file says, where it is not there.
pub(crate) fn install() -> anyhow::Result<()> {
    if scripts().join("node_modules").exists() {
        return Ok(());
    }
    let done = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(scripts())
        .output()
        .context("npm does not run: the peers need Node 20 or newer")?;
    if !done.status.success() {
        bail!("npm ci failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// Jobs per second of one round, in a store of its own that is emptied first.
pub(crate) fn per_second(peer: Peer, url: &str, seconds: u32) -> anyhow::Result<f64> {
    let jobs = (peer.about_per_second() * seconds).to_string();
    let output =
        peer.command(url).args(["--jobs", &jobs]).output().with_context(|| {
            format!("{} does not run: `make bench` builds it, Node scripts need `node`", peer.name())
        })?;
    if !output.status.success() {
        bail!("{} failed: {}", peer.name(), String::from_utf8_lossy(&output.stderr));
    }
    let said: Said = serde_json::from_slice(&output.stdout).with_context(|| format!("{} said nothing", peer.name()))?;
    eprintln!("  {}: {:.0} jobs/s", peer.name(), said.per_second);
    Ok(said.per_second)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn scripts() -> PathBuf {
    folder().join("peers-node")
}
