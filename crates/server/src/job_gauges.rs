//! How the job system is, as gauges: what waits and for how long, who works, what is refused, and what limits leave.

use std::sync::atomic::AtomicU64;

use pcs_relay::inspect::{Counters, Fleet, HoldRow, LimitRow, QueueRow};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The tenant whose limits and holds are shown: that of a single-team installation.
pub(crate) const TENANT: i32 = 1;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct QueueLabels {
    lane: String,
    kind: String,
    model: String,
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LaneLabels {
    lane: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KeyLabels {
    key: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SourceLabels {
    source: String,
}

/// What is shown of the job system.
pub(crate) struct JobState {
    pub(crate) queues: Vec<QueueRow>,
    pub(crate) fleet: Fleet,
    pub(crate) limits: Vec<LimitRow>,
    pub(crate) holds: Vec<HoldRow>,
    pub(crate) counters: Counters,
    pub(crate) dead_letters: i64,
}

/// The gauges of the job system.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobGauges {
    jobs: Family<QueueLabels, Gauge>,
    oldest: Family<LaneLabels, Gauge<f64, AtomicU64>>,
    workers: Gauge,
    slots: Family<KindLabels, Gauge>,
    in_flight: Family<KindLabels, Gauge>,
    ready: Family<KindLabels, Gauge>,
    load: Family<KindLabels, Gauge<f64, AtomicU64>>,
    led: Gauge,
    term: Gauge,
    broker: Gauge,
    lag: Gauge,
    dead_letters: Gauge,
    refused: Gauge,
    redispatched: Gauge,
    swept: Gauge,
    limit_wait: Family<KeyLabels, Gauge<f64, AtomicU64>>,
    limit_in_flight: Family<KeyLabels, Gauge>,
    holds: Family<SourceLabels, Gauge>,
}

impl JobGauges {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let all: [(&str, &str, &Gauge); 9] = [
            ("job_workers", "Workers that were heard of lately", &self.workers),
            ("job_scheduler_led", "1 while a relay leads", &self.led),
            ("job_scheduler_term", "The term of the relay that leads, or led last", &self.term),
            ("job_scheduler_broker_up", "1 while the relay that leads reaches the broker", &self.broker),
            ("job_scheduler_lag_events", "Events that the scheduler has yet to read", &self.lag),
            ("job_dead_letters", "Dead letters that nobody has run again or dismissed", &self.dead_letters),
            ("job_results_refused", "Reports of workers that changed nothing", &self.refused),
            ("job_tickets_redispatched", "Jobs handed out anew because the broker had lost them", &self.redispatched),
            ("job_places_swept", "Places for calls freed because their worker was gone", &self.swept),
        ];
        for (name, help, gauge) in all {
            registry.register(name, help, gauge.clone());
        }
        let of_kinds: [(&str, &str, &Family<KindLabels, Gauge>); 3] = [
            ("job_worker_slots", "Slots of the workers that take jobs of a kind", &self.slots),
            ("job_worker_slots_busy", "Slots of those workers that are in use", &self.in_flight),
            ("job_ready", "Jobs of a kind that could be done now if there were slots", &self.ready),
        ];
        for (name, help, family) in of_kinds {
            registry.register(name, help, family.clone());
        }
        registry.register("jobs", "Jobs without a result, by lane, kind, model and state", self.jobs.clone());
        let help = "How long the oldest job that could be handed out has waited";
        registry.register("job_oldest_waiting_seconds", help, self.oldest.clone());
        registry.register(
            "job_load",
            "Ready jobs per slot of a kind: above 1 the fleet is too small",
            self.load.clone(),
        );
        let help = "How long the next call under a limit has to wait";
        registry.register("provider_limit_wait_seconds", help, self.limit_wait.clone());
        registry.register(
            "provider_limit_in_flight",
            "Calls that have their place under a limit",
            self.limit_in_flight.clone(),
        );
        registry.register("job_holds", "What is held, by what holds it", self.holds.clone());
    }

    /// Replaces what is known.
    pub(crate) fn set(&self, state: &JobState) {
        self.set_queues(&state.queues);
        let Fleet { leader, workers, scaling } = &state.fleet;
        self.workers.set(i64::try_from(workers.len()).unwrap_or(i64::MAX));
        for of_kind in scaling {
            let labels = KindLabels { kind: of_kind.kind };
            self.slots.get_or_create(&labels).set(of_kind.slots);
            self.in_flight.get_or_create(&labels).set(of_kind.in_flight);
            self.ready.get_or_create(&labels).set(of_kind.ready);
            self.load.get_or_create(&labels).set(of_kind.load);
        }
        self.led.set(i64::from(leader.led));
        self.term.set(leader.term);
        self.broker.set(i64::from(leader.broker));
        self.lag.set(leader.lag_events);
        self.dead_letters.set(state.dead_letters);
        self.refused.set(state.counters.results_refused);
        self.redispatched.set(state.counters.redispatched);
        self.swept.set(state.counters.places_swept);
        self.limit_wait.clear();
        self.limit_in_flight.clear();
        for limit in &state.limits {
            let labels = KeyLabels { key: limit.key.clone() };
            self.limit_wait.get_or_create(&labels).set(limit.wait_seconds);
            self.limit_in_flight.get_or_create(&labels).set(limit.in_flight);
        }
        self.holds.clear();
        for hold in &state.holds {
            self.holds.get_or_create(&SourceLabels { source: hold.source.clone() }).inc();
        }
    }

    fn set_queues(&self, queues: &[QueueRow]) {
        self.jobs.clear();
        self.oldest.clear();
        for queue in queues {
            let held = if queue.held { queue.waiting } else { 0 };
            let states = [
                ("waiting", queue.waiting - held),
                ("held", held),
                ("pausing", queue.pausing),
                ("handed_out", queue.handed_out),
            ];
            for (state, count) in states {
                let (lane, kind, model) = (queue.lane.clone(), queue.kind.clone(), queue.model.clone());
                self.jobs.get_or_create(&QueueLabels { lane, kind, model, state }).set(count);
            }
            if let Some(seconds) = queue.oldest_waiting_seconds.filter(|_| !queue.held) {
                let oldest = self.oldest.get_or_create(&LaneLabels { lane: queue.lane.clone() });
                oldest.set(oldest.get().max(seconds));
            }
        }
    }
}
