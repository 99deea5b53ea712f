//! `pcs es bench`: what the event store does on your own hardware, in a database that is made for it and dropped.

pub mod load;
mod scratch;

use std::time::{Duration, Instant};

use clap::Args;
use pcs_store::{AppendError, Store};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use self::scratch::Scratch;
use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// Events of one page, as the projections read them.
const PAGE_LEN: i64 = 2_000;
/// Callers that fill the log before it is read.
const FILLERS: usize = 256;

/// Arguments of `pcs es bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Numbers of concurrent callers who append
    #[arg(long, value_delimiter = ',', default_value = "1,32,256", value_parser = clap::value_parser!(u16).range(1..))]
    pub callers: Vec<u16>,
    /// How long each number of callers is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// How many events the log has at least before it is read from its start to its end
    #[arg(long, default_value_t = 200_000)]
    pub events: u32,
    /// Measure also on the server of a database that has events, and so slow down who uses it
    #[arg(long)]
    pub beside_events: bool,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    what: String,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// What the server promises, and what it is.
#[derive(Clone, Debug, Serialize)]
struct Server {
    version: String,
    fsync: String,
    synchronous_commit: String,
}

#[derive(Clone, Debug, Serialize)]
struct Report {
    server: Server,
    measured: Vec<Measured>,
}

impl BenchArgs {
    /// Measures and prints.
    ///
    /// # Errors
    /// Where the database has events and nobody said that it may be disturbed, or the server fails.
    pub async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let url = console.database_url()?;
        let server = self.look_at(&url).await?;
        for (setting, value) in [("fsync", &server.fsync), ("synchronous_commit", &server.synchronous_commit)] {
            if value == "off" {
                console.output.note(&format!("{setting} is off: an append that was acknowledged may be lost"));
            }
        }
        let scratch = Scratch::create(&url).await?;
        console.output.note(&format!("measuring in the database {}, which is dropped afterwards", scratch.name()));
        let measured = tokio::select! {
            measured = self.measure(&scratch, console) => measured,
            interrupted = tokio::signal::ctrl_c() => {
                scratch.drop().await?;
                interrupted?;
                return Ok(ExitStatus::Interrupted);
            }
        };
        scratch.drop().await?;
        print(console, Report { server, measured: measured? })?;
        Ok(ExitStatus::Success)
    }

    /// Refuses a server where the load would disturb somebody.
    async fn look_at(&self, url: &str) -> Result<Server, CliError> {
        let mut connection = PgConnection::connect(url).await?;
        let is_store: bool =
            sqlx::query_scalar("select to_regclass('es.head') is not null").fetch_one(&mut connection).await?;
        if is_store && !self.beside_events {
            let head: i64 = sqlx::query_scalar("select position from es.head").fetch_one(&mut connection).await?;
            if head > 0 {
                return Err(CliError::usage(
                    format!("the database has {head} events: the load would slow down who uses its server"),
                    "give --database-url of a server that nobody uses, or say --beside-events",
                ));
            }
        }
        let (version, fsync, synchronous_commit) = sqlx::query_as(
            "select current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(Server { version, fsync, synchronous_commit })
    }

    async fn measure(&self, scratch: &Scratch, console: &mut Console) -> Result<Vec<Measured>, CliError> {
        let store = scratch.store().await?;
        let mut measured = Vec::new();
        for callers in &self.callers {
            console.output.note(&format!("appending with {callers} callers for {} s", self.seconds));
            let duration = Duration::from_secs(self.seconds.into());
            let rate = load::rate(&store, usize::from(*callers), duration).await.map_err(failed)?;
            measured.push(Measured {
                what: format!("append, {callers} callers"),
                per_second: rate.per_second,
                p50_ms: Some(rate.p50_ms),
                p99_ms: Some(rate.p99_ms),
            });
        }
        let missing = i64::from(self.events) - store.head().await?;
        load::fill(&store, FILLERS, u64::try_from(missing).unwrap_or_default()).await.map_err(failed)?;
        console.output.note("reading the log");
        let per_second = tail(&store).await?;
        measured.push(Measured { what: "read the log".to_owned(), per_second, p50_ms: None, p99_ms: None });
        Ok(measured)
    }
}

/// Events per second, read in order from the start and decoded.
async fn tail(store: &Store) -> Result<f64, CliError> {
    let started = Instant::now();
    let (mut position, mut count) = (0, 0_u32);
    loop {
        let page = store.read_after(position, PAGE_LEN).await?;
        let Some(last) = page.last() else {
            return Ok(f64::from(count) / started.elapsed().as_secs_f64());
        };
        position = last.position;
        count = count.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
    }
}

fn failed(error: AppendError) -> CliError {
    CliError::System(format!("an append failed: {error}"))
}

fn print(console: &mut Console, report: Report) -> Result<(), CliError> {
    if console.json() {
        return console.output.json(&report);
    }
    let Server { version, fsync, synchronous_commit } = report.server;
    console.output.note(&format!("PostgreSQL {version}, fsync {fsync}, synchronous_commit {synchronous_commit}"));
    let columns =
        [("what", Align::Left), ("per second", Align::Right), ("p50 ms", Align::Right), ("p99 ms", Align::Right)];
    let ms = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let row = |it: Measured| vec![it.what, format!("{:.0}", it.per_second), ms(it.p50_ms), ms(it.p99_ms)];
    console.output.table(&columns, report.measured.into_iter().map(row).collect())
}
