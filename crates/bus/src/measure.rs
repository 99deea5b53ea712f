//! How long jobs take in a worker, as a tower layer around whatever does them.

use std::task::{Context, Poll};
use std::time::Instant;

use apalis_core::task::Task;
use futures_util::future::BoxFuture;
use pcs_domain::jobs::JobKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

use crate::lease::Delivery;

/// Upper bounds of the histogram, in seconds: from a job without a model to an agent that thinks for minutes.
const DURATION_BUCKETS: [f64; 14] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: &'static str,
}

/// What a worker measures; clones share it.
#[derive(Clone, Debug)]
pub struct JobMetrics {
    durations: Family<KindLabels, Histogram>,
    in_hand: Family<KindLabels, Gauge>,
}

impl Default for JobMetrics {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            in_hand: Family::default(),
        }
    }
}

impl JobMetrics {
    /// Puts the metrics where they are read.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Time from a job's delivery to the end of its work, its report included";
        registry.register("job_duration_seconds", help, self.durations.clone());
        registry.register("job_in_hand", "Jobs that this worker has", self.in_hand.clone());
    }

    pub(crate) fn layer(&self, kind: JobKind) -> Measure {
        Measure { metrics: self.clone(), kind }
    }
}

/// Measures each call of the service below.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    metrics: JobMetrics,
    kind: JobKind,
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, of: self.clone() }
    }
}

/// A service that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured<S> {
    inner: S,
    of: Measure,
}

impl<S> Service<Task<Delivery>> for Measured<S>
where
    S: Service<Task<Delivery>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, task: Task<Delivery>) -> Self::Future {
        let labels = KindLabels { kind: self.of.kind.name };
        let in_hand = self.of.metrics.in_hand.get_or_create(&labels).clone();
        let durations = self.of.metrics.durations.clone();
        let work = self.inner.call(task);
        Box::pin(async move {
            in_hand.inc();
            let begun = Instant::now();
            let ended = work.await;
            durations.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
            in_hand.dec();
            ended
        })
    }
}
