//! Logs: JSON lines for machines, readable lines on a terminal; always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `PCS_LOG` (or `RUST_LOG`) filters; `default_filter` holds where neither is set.
pub fn start(default_filter: &str) {
    let filter = EnvFilter::try_from_env("PCS_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, changes nothing.
    let started = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    drop(started);
}
