//! Measures what the documents claim, beside a peer or the raw limit in the same run.
//!
//! `pcs-bench [NAME]` runs the quick benchmarks or one, rewrites its rows in `bench/latest.json` and the table in
//! `docs/benchmarks.md`. Every row is a ratio: absolute numbers belong to one machine on one day.

mod append;
mod endpoint;
mod fair;
mod growth;
mod ground;
mod gsm8k;
mod job_peers;
mod jobs;
mod memory;
mod noting;
mod paid;
mod peers;
mod pgbench;
mod rebuild;
mod redis;
mod report;
mod results;
mod role;
mod settings;
mod slots;
mod snapshot;
mod start;
mod suites;
mod system;
mod tail;
mod visible;

use anyhow::Context;
use mimalloc::MiMalloc;

use crate::report::Row;
use crate::settings::Settings;

/// The same as of `pcs`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What can be measured.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Benchmark {
    Append,
    Visible,
    Tail,
    Rebuild,
    Gsm8k,
    Jobs,
    Start,
    Fair,
    Slots,
    Snapshot,
    Growth,
    Memory,
    Suites,
    Paid,
}

impl Benchmark {
    const ALL: [Self; 14] = [
        Self::Append,
        Self::Visible,
        Self::Tail,
        Self::Rebuild,
        Self::Gsm8k,
        Self::Jobs,
        Self::Start,
        Self::Fair,
        Self::Slots,
        Self::Snapshot,
        Self::Growth,
        Self::Memory,
        Self::Suites,
        Self::Paid,
    ];

    /// The name on the command line, and the first word of its rows.
    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Visible => "visible",
            Self::Tail => "tail",
            Self::Rebuild => "rebuild",
            Self::Gsm8k => "gsm8k",
            Self::Jobs => "jobs",
            Self::Start => "start",
            Self::Fair => "fair",
            Self::Slots => "slots",
            Self::Snapshot => "snapshot",
            Self::Growth => "growth",
            Self::Memory => "memory",
            Self::Suites => "suites",
            Self::Paid => "paid",
        }
    }

    /// Whether it takes many minutes and gigabytes, and so runs only by its name.
    fn is_slow(self) -> bool {
        matches!(self, Self::Growth | Self::Memory)
    }

    fn named(name: &str) -> anyhow::Result<Self> {
        let names: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
        let found = Self::ALL.into_iter().find(|benchmark| benchmark.name() == name);
        found.with_context(|| format!("there is no benchmark {name}; there are {}", names.join(", ")))
    }

    async fn measure(self, settings: Settings) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Append => append::measure(settings).await,
            Self::Visible => visible::measure(settings).await,
            Self::Tail => tail::measure(settings).await,
            Self::Rebuild => rebuild::measure(settings).await,
            Self::Gsm8k => gsm8k::measure(settings).await,
            Self::Jobs => jobs::measure(settings).await,
            Self::Start => start::measure(settings).await,
            Self::Fair => fair::measure(settings).await,
            Self::Slots => slots::measure(settings).await,
            Self::Snapshot => snapshot::measure(settings).await,
            Self::Growth => growth::measure(settings).await,
            Self::Memory => memory::measure(settings).await,
            Self::Suites => suites::measure(settings).await,
            Self::Paid => paid::measure(settings).await,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wanted: Vec<Benchmark> = match arguments.as_slice() {
        [] => Benchmark::ALL.into_iter().filter(|benchmark| !benchmark.is_slow()).collect(),
        ["--reader", what, url, every] => return runtime.block_on(memory::read(what, url, every.parse()?)),
        [name, ..] => vec![Benchmark::named(name)?],
    };
    let settings = Settings::from_environment()?;
    for benchmark in wanted {
        eprintln!("bench {}", benchmark.name());
        let rows = runtime.block_on(benchmark.measure(settings))?;
        if settings.is_trial() {
            eprintln!("{}(a trial: not kept)", report::table(&rows)?);
        } else {
            report::keep(benchmark.name(), &rows)?;
        }
    }
    Ok(())
}
