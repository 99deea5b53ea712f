//! Spans that are exported, and the W3C trace contexts that make one trace of those of several processes.
//!
//! A span that is exported has the target [`TARGET`]: logs leave that target out, so that such a span is disabled, and
//! its fields are not looked at, where nothing is exported. Its fields are ids, counts and classes, never content.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of spans that are exported.
pub const TARGET: &str = "pcs_traces";

/// Makes a new span the child of the one that a `traceparent` names; without one it stays what it is.
pub fn continue_from(span: &Span, traceparent: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = traceparent.and_then(parse) {
        // It fails where nothing is exported, and then there is nothing to be done.
        drop(span.set_parent(Context::new().with_remote_span_context(parent)));
    }
}

/// The `traceparent` of a span, for what follows from it elsewhere; none where nothing is exported.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    let flags = (context.trace_flags() & TraceFlags::SAMPLED).to_u8();
    context.is_valid().then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// A call to a model, by the conventions for generative models.
#[must_use]
pub fn call_span(provider: &str, model: &str) -> Span {
    // Some providers are their only model.
    let model = if model.is_empty() { provider } else { model };
    tracing::info_span!(
        target: TARGET,
        "chat",
        otel.name = %format_args!("chat {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        "error.type" = Empty,
    )
}

/// How a call went: the tokens of prompt and answer, or the class of its failure.
pub fn end_call(span: &Span, ended: Result<(u64, u64), &'static str>) {
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match ended {
        Ok((input, output)) => {
            span.record("gen_ai.usage.input_tokens", tokens(input));
            span.record("gen_ai.usage.output_tokens", tokens(output));
        }
        Err(class) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", class);
        }
    }
}

/// Reads version 00, of which every later version has the beginning.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let parent = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, parent, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests;
