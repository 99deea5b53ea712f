//! Logs: JSON lines for machines, readable lines on a terminal; always on standard error. And traces, where asked for.

mod export;

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Longest wait, in seconds, for the last spans to be exported when a process ends.
const FLUSH_SECONDS_MAX: u64 = 5;

/// What a process tells of itself while it holds this; dropping it exports the spans that are left.
#[must_use = "traces end with it"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and the export of traces where the environment names a collector. `PCS_LOG` (or `RUST_LOG`) filters
/// what is logged; `default_filter` holds where neither is set. `service` is what traces call the process.
pub fn start(service: &'static str, default_filter: &str) -> Telemetry {
    let filter = EnvFilter::try_from_env("PCS_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new(default_filter));
    let filter = export::out_of_logs(filter);
    let (traces, fault) = match export::tracer_provider(service) {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    // A second start, as in tests, changes nothing.
    let started = match &traces {
        // The filter stands before everything, so that what it leaves out costs nothing.
        None => tracing_subscriber::registry().with(logs()).with(filter).try_init(),
        Some(traces) => {
            tracing_subscriber::registry().with(export::layer(traces)).with(logs().with_filter(filter)).try_init()
        }
    };
    drop(started);
    if let Some(error) = fault {
        tracing::warn!(%error, "no traces are exported: what the environment says of their collector is wrong");
    }
    Telemetry { traces }
}

fn logs<S: Subscriber + for<'a> LookupSpan<'a>>() -> Box<dyn Layer<S> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        lines.with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let Some(traces) = self.traces.take() else { return };
        if let Err(error) = traces.shutdown_with_timeout(Duration::from_secs(FLUSH_SECONDS_MAX)) {
            tracing::warn!(%error, "the last traces could not be exported");
        }
    }
}
