//! How each read model is, as gauges: how long events wait for it, what it could not apply, whether it goes on.

use std::sync::atomic::AtomicU64;

use pcs_projections::{ProjectionState, Status};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Labels {
    projection: String,
    generation: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StatusLabels {
    projection: String,
    generation: String,
    status: &'static str,
}

/// The gauges of all read models.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProjectionGauges {
    lag_seconds: Family<Labels, Gauge<f64, AtomicU64>>,
    parked: Family<Labels, Gauge>,
    failures: Family<Labels, Gauge>,
    status: Family<StatusLabels, Gauge>,
}

impl ProjectionGauges {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Age of the oldest event that a projection has yet to apply";
        registry.register("projection_lag_seconds", help, self.lag_seconds.clone());
        let help = "Events that a projection has set aside and that wait";
        registry.register("projection_parked_events", help, self.parked.clone());
        let help = "How often a projection could not apply an event";
        registry.register("projection_failures", help, self.failures.clone());
        registry.register("projection_status", "1 for the state that a projection is in", self.status.clone());
    }

    /// Replaces what is known of all read models: a generation that is gone has no series any more.
    pub(crate) fn set(&self, states: &[ProjectionState]) {
        for family in [&self.parked, &self.failures] {
            family.clear();
        }
        self.lag_seconds.clear();
        self.status.clear();
        for state in states {
            let (projection, generation) = (state.name.clone(), state.generation.clone());
            let labels = Labels { projection, generation };
            self.lag_seconds.get_or_create(&labels).set(state.lag_seconds);
            self.parked.get_or_create(&labels).set(state.parked);
            self.failures.get_or_create(&labels).set(state.failures);
            for status in Status::ALL {
                let Labels { projection, generation } = labels.clone();
                let labels = StatusLabels { projection, generation, status: status.name() };
                self.status.get_or_create(&labels).set(i64::from(status == state.status));
            }
        }
    }
}
