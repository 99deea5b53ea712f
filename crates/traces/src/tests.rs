//! Which trace a span belongs to.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn exporting<T>(inside: impl FnOnce() -> T) -> T {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let traces = tracing_opentelemetry::layer().with_tracer(tracer);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces), inside)
}

fn span() -> Span {
    tracing::info_span!(target: TARGET, "work")
}

#[test]
fn a_span_goes_on_with_the_trace_that_it_is_told_of() {
    exporting(|| {
        let first = span();
        continue_from(&first, Some(PARENT));
        let told = traceparent(&first).unwrap();
        assert_eq!((&told[..36], &told[52..]), (&PARENT[..36], "-01"));
        assert_ne!(told, PARENT, "it is a span of its own");
        let second = span();
        continue_from(&second, Some(&told));
        assert_eq!(traceparent(&second).unwrap()[..36], PARENT[..36]);
    });
}

#[test]
fn what_is_not_sampled_is_not_sampled_further_on() {
    exporting(|| {
        let span = span();
        continue_from(&span, Some(&PARENT.replace("-01", "-00")));
        assert!(traceparent(&span).unwrap().ends_with("-00"));
    });
}

#[test]
fn a_span_that_is_told_nothing_sensible_begins_a_trace() {
    exporting(|| {
        for nonsense in [None, Some(""), Some("00-x-y-z"), Some("00-0-0-01"), Some(&PARENT[..40])] {
            let span = span();
            continue_from(&span, nonsense);
            let told = traceparent(&span).unwrap();
            assert!(told.len() == PARENT.len() && told[..36] != PARENT[..36], "{nonsense:?}: {told}");
        }
    });
}

#[test]
fn where_nothing_is_exported_there_is_no_context() {
    let span = span();
    continue_from(&span, Some(PARENT));
    assert_eq!(traceparent(&span), None);
    tracing::subscriber::with_default(tracing_subscriber::registry(), || {
        let span = self::span();
        continue_from(&span, Some(PARENT));
        assert_eq!(traceparent(&span), None);
    });
}
