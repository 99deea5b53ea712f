//! Appends of other Rust event stores on a PostgreSQL of yours: one event a command, each to a new stream.
//!
//! `peers --database-url URL --peer cqrs-es --callers 1,8,32` prints one JSON line for each number of callers.

mod cqrs;
mod decisions;
mod load;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};

use crate::load::{Attempts, Measured};

/// Connections beyond the number of callers: none of them waits for one.
const SPARE_CONNECTIONS: u32 = 2;

#[derive(Parser)]
#[command(name = "peers", about)]
struct Arguments {
    /// An empty database of PostgreSQL: its tables are made there
    #[arg(long)]
    database_url: String,
    /// Which library
    #[arg(long, value_enum)]
    peer: Peer,
    /// Numbers of concurrent callers, one measurement each
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    callers: Vec<u32>,
    /// How long each is measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The event's text, in bytes
    #[arg(long, default_value_t = 260)]
    text_bytes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// cqrs-es with postgres-es
    CqrsEs,
    /// disintegrate with disintegrate-postgres
    Disintegrate,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::CqrsEs => "cqrs-es",
            Self::Disintegrate => "disintegrate",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    for callers in &arguments.callers {
        let pool = PgPoolOptions::new()
            .max_connections(callers + SPARE_CONNECTIONS)
            .min_connections(*callers)
            // A function of disintegrate is only mended after it was made: see `decisions`.
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute("set check_function_bodies = off").await.map(|_| ()) })
            })
            .connect(&arguments.database_url)
            .await
            .context("the database can't be reached")?;
        let text = "x".repeat(arguments.text_bytes);
        let measured = measure(arguments.peer, &pool, text, *callers, arguments.seconds).await?;
        println!("{}", measured.json(arguments.peer.name(), *callers));
        pool.close().await;
    }
    Ok(())
}

async fn measure(peer: Peer, pool: &PgPool, text: String, callers: u32, seconds: f64) -> anyhow::Result<Measured> {
    let duration = Duration::from_secs_f64(seconds);
    let before = stored(pool, peer).await?;
    let attempts = match peer {
        Peer::CqrsEs => load::run(cqrs::Orders::prepare(pool).await?, text, callers, duration).await?,
        Peer::Disintegrate => load::run(decisions::Orders::prepare(pool).await?, text, callers, duration).await?,
    };
    // What a library says that it has written must be there.
    let written = stored(pool, peer).await? - before;
    let Attempts { acknowledged, refused, elapsed } = attempts;
    anyhow::ensure!(written == acknowledged, "{acknowledged} appends were acknowledged and {written} are stored");
    Ok(Measured { acknowledged, refused, seconds: elapsed.as_secs_f64() })
}

async fn stored(pool: &PgPool, peer: Peer) -> anyhow::Result<u64> {
    let (table, count) = match peer {
        Peer::CqrsEs => ("events", "select count(*) from events"),
        Peer::Disintegrate => ("event", "select count(*) from event"),
    };
    let there: Option<String> = sqlx::query_scalar("select to_regclass($1)::text").bind(table).fetch_one(pool).await?;
    if there.is_none() {
        return Ok(0);
    }
    let count: i64 = sqlx::query_scalar(count).fetch_one(pool).await?;
    Ok(u64::try_from(count)?)
}
