//! Measures what the documents claim, beside a peer or the raw limit in the same run.
//!
//! `pcs-bench [NAME]` runs all benchmarks or one, rewrites its rows in `bench/latest.json` and the table in
//! `docs/benchmarks.md`. Every row is a ratio: absolute numbers belong to one machine on one day.

mod append;
mod gsm8k;
mod pgbench;
mod report;

use anyhow::bail;

use crate::report::Row;

const NAMES: [&str; 2] = ["append", "gsm8k"];

fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1);
    if let Some(name) = wanted.as_deref().filter(|name| !NAMES.contains(name)) {
        bail!("there is no benchmark {name}; there are {}", NAMES.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for name in NAMES.into_iter().filter(|name| wanted.as_deref().is_none_or(|wanted| wanted == *name)) {
        eprintln!("bench {name}");
        let rows: Vec<Row> = runtime.block_on(async {
            match name {
                "append" => append::measure().await,
                _ => gsm8k::measure().await,
            }
        })?;
        report::keep(name, &rows)?;
    }
    Ok(())
}
