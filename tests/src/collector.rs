//! A collector of traces: takes OTLP over HTTP, and keeps what came.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The collector; dropping it ends it.
pub struct Collector {
    /// Its address, as `OTEL_EXPORTER_OTLP_ENDPOINT` takes it.
    pub url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    _serving: JoinSet<()>,
}

/// A span, and who exported it.
#[derive(Clone, Debug)]
pub struct Collected {
    /// What the process calls itself.
    pub service: String,
    /// The span.
    pub span: Span,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new().route("/v1/traces", post(keep)).with_state(Arc::clone(&bodies));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, bodies, _serving: serving }
    }

    /// Everything that came, as it came.
    #[must_use]
    pub fn bodies(&self) -> Vec<Bytes> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All spans that came.
    ///
    /// # Panics
    /// When something else came.
    #[must_use]
    pub fn spans(&self) -> Vec<Collected> {
        let mut spans = Vec::new();
        for body in self.bodies() {
            let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.unwrap_or_default();
                let service = text(&resource.attributes, "service.name");
                let of_scopes = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
                spans.extend(of_scopes.map(|span| Collected { service: service.clone(), span }));
            }
        }
        spans
    }
}

impl Collected {
    /// An attribute as text; empty where it is absent.
    #[must_use]
    pub fn attribute(&self, name: &str) -> String {
        text(&self.span.attributes, name)
    }
}

async fn keep(State(bodies): State<Arc<Mutex<Vec<Bytes>>>>, body: Bytes) {
    bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body);
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|found| found.value.as_ref());
    match value.and_then(|AnyValue { value }| value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
