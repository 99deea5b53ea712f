//! `pcs es …` inside of the test's process, with what it prints.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use pcs::commands::es::EsArgs;
use pcs::commands::exit::ExitStatus;
use pcs::commands::output::Output;
use serde_json::Value;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    es: EsArgs,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr, with its error.
    pub err: String,
}

impl Ran {
    /// Its stdout as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("it is JSON")
    }

    /// The same, after it ended well.
    ///
    /// # Panics
    /// When it did not.
    pub fn well(self) -> Self {
        assert_eq!(self.status, ExitStatus::Success, "{}{}", self.out, self.err);
        self
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `pcs es` with these arguments on a database.
///
/// # Panics
/// When the arguments are wrong.
pub async fn es(database_url: &str, arguments: &[&str]) -> Ran {
    let (out, err) = (Captured::default(), Captured::default());
    let database = ["--database-url", database_url];
    let line = ["es"].iter().chain(arguments).chain(&database);
    let line = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
    let output = Output::to(Box::new(out.clone()), Box::new(err.clone()));
    let ended = line.es.with(output).await;
    let told = ended.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let status = ended.unwrap_or_else(|error| error.exit_status());
    Ran { status, out: out.text(), err: err.text() + &told }
}
