//! Rows of results, kept as JSON for machines and as a table for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One measured claim.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// What was measured; its first word is the benchmark.
    pub(crate) name: String,
    /// Our figure.
    pub(crate) ours: f64,
    /// The peer's figure, or the limit.
    pub(crate) other: f64,
    /// Who the other is.
    pub(crate) beside: String,
    /// The unit of both.
    pub(crate) unit: String,
    /// Ours / other.
    pub(crate) ratio: f64,
    /// What the ratio must be, such as `>= 2`.
    pub(crate) target: String,
    /// Whether it is.
    pub(crate) met: bool,
}

/// Whether more or less is better.
pub(crate) enum Target {
    /// The ratio must be at least this.
    AtLeast(f64),
    /// The ratio must be at most this.
    AtMost(f64),
    /// Nothing is asked of it: it shows what there could be.
    Shown,
}

impl Row {
    pub(crate) fn new(name: &str, ours: f64, beside: &str, other: f64, unit: &str, target: &Target) -> Self {
        let ratio = ours / other;
        let (target, met) = match target {
            Target::AtLeast(least) => (format!(">= {least}"), ratio >= *least),
            Target::AtMost(most) => (format!("<= {most}"), ratio <= *most),
            Target::Shown => ("shown".to_owned(), true),
        };
        let round = |value: f64| (value * 100.0).round() / 100.0;
        Self {
            name: name.to_owned(),
            ours: round(ours),
            other: round(other),
            beside: beside.to_owned(),
            unit: unit.to_owned(),
            ratio: round(ratio),
            target,
            met,
        }
    }
}

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Replaces a benchmark's rows in the kept results, and prints them.
pub(crate) fn keep(name: &str, rows: &[Row]) -> anyhow::Result<()> {
    let path = root().join("bench/latest.json");
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|_| "[]".to_owned());
    let mut all: Vec<Row> = serde_json::from_str(&kept).context("bench/latest.json is damaged; delete it")?;
    all.retain(|row| row.name.split([' ', ',']).next() != Some(name));
    all.extend(rows.iter().cloned());
    all.sort_by(|a, b| a.name.cmp(&b.name));
    std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&all)?))?;
    std::fs::write(root().join("docs/benchmarks.md"), page(&all)?)?;
    eprintln!("{}", table(rows)?);
    Ok(())
}

fn page(rows: &[Row]) -> anyhow::Result<String> {
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `make bench`. Each row is measured beside a peer or a limit in the same run on the \
         same machine; only the ratios travel.\nThe harness is in `bench/`; `make bench NAME=append` runs one. `growth` and \
         `memory` take many minutes and run only by their\nname. The peers are in `bench/peers` and `bench/peers-node`.\n\n",
    );
    writeln!(page, "{}", table(rows)?)?;
    Ok(page)
}

pub(crate) fn table(rows: &[Row]) -> anyhow::Result<String> {
    let mut table = String::from("| what | ours | beside | other | unit | ratio | target | met |\n");
    table.push_str("|---|---:|---|---:|---|---:|---|---|\n");
    for row in rows {
        let Row { name, ours, beside, other, unit, ratio, target, met } = row;
        let met = if *met { "yes" } else { "no" };
        writeln!(table, "| {name} | {ours} | {beside} | {other} | {unit} | {ratio} | {target} | {met} |")?;
    }
    Ok(table)
}
