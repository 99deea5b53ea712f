//! The export of traces by OTLP over HTTP, where the environment names a collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SpanExporter as OtlpExporter,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// What the SDK calls a service that nobody gave a name.
const NAMELESS: &str = "unknown_service";

/// The pipeline of a service; none where the environment names no collector.
///
/// # Errors
/// Where what it says is wrong.
pub(super) fn tracer_provider(service: &'static str) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let named = |variable: &&str| std::env::var(variable).is_ok_and(|value| !value.trim().is_empty());
    if ![OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT].iter().any(named) {
        return Ok(None);
    }
    // Address, headers, time-out, sampler and batches: the libraries read the standard variables by themselves.
    let exporter = Forbearing { inner: OtlpExporter::builder().with_http().build()?, failing: AtomicBool::new(false) };
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(service));
    Ok(Some(provider.build()))
}

fn resource(service: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let given = Resource::builder().build().get(&Key::new("service.name"));
    let is_named = given.is_some_and(|name| !name.as_str().starts_with(NAMELESS));
    let resource = Resource::builder().with_attribute(version);
    if is_named { resource.build() } else { resource.with_service_name(service).build() }
}

/// Takes the spans that are for export out of the log: it has its own for the same things.
pub(super) fn out_of_logs(filter: EnvFilter) -> EnvFilter {
    filter.add_directive(format!("{}=off", pcs_traces::TARGET).parse().unwrap_or_else(|_| LevelFilter::OFF.into()))
}

/// Makes spans of the one target into spans of a trace. Log lines stay out: they may quote what users wrote.
pub(super) fn layer<S>(traces: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("pcs"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(pcs_traces::TARGET, LevelFilter::INFO))
}

/// Loses what a collector that is away does not take, and says so once until it is back.
#[derive(Debug)]
struct Forbearing {
    inner: OtlpExporter,
    failing: AtomicBool,
}

impl SpanExporter for Forbearing {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.inner.export(batch).await {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => tracing::info!("traces are exported again"),
            Ok(()) => (),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, spans, "traces can't be exported; they are lost until the collector answers");
            }
            Err(error) => tracing::debug!(%error, spans, "traces can't be exported"),
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
