//! What is counted and measured, as Prometheus reads it (OpenMetrics text).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pcs_domain::ids::{ActorId, PromptCardId};
use pcs_projections::{Generation, ProjectionState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::job_gauges::{JobGauges, JobState};
use crate::projection_gauges::ProjectionGauges;

/// Upper bounds of the latency histogram, in seconds: the usual ones of web services, with finer ones below them, because most requests
/// take milliseconds.
const LATENCY_BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.7, 1.0, 3.0, 5.0, 7.0, 10.0];
/// Most cards with a series of their own; a series per card would grow without bounds.
const CARDS_MAX: usize = 100;
/// How long a card keeps its series after its last result while others wait for one.
const CARD_IDLE: Duration = Duration::from_secs(600);
/// The label of all cards without a series of their own.
const OTHER_CARDS: &str = "other";
/// How long after a request an account counts as active.
const ACTIVE_FOR: Duration = Duration::from_secs(300);
/// Most accounts that are told apart; more are not counted.
const ACTIVE_USERS_MAX: usize = 10_000;
/// The kinds of agents of a swarm.
const AGENT_TYPES: [&str; 4] = ["research", "coder", "tester", "reviewer"];

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    latency: Family<RequestLabels, Histogram>,
    executions: Executions,
    active: Mutex<HashMap<ActorId, Instant>>,
    active_users: Gauge,
    agents: Family<AgentLabels, Gauge>,
    resident_memory: Gauge,
    head_position: Gauge,
    lag: Family<ProjectionLabels, Gauge>,
    projections: ProjectionGauges,
    jobs: JobGauges,
    passed_by: Family<EventLabels, Gauge>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status_code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AgentLabels {
    agent_type: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ProjectionLabels {
    projection: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EventLabels {
    event: String,
    version: i64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            executions: Executions::default(),
            active: Mutex::default(),
            active_users: Gauge::default(),
            agents: Family::default(),
            resident_memory: Gauge::default(),
            head_position: Gauge::default(),
            lag: Family::default(),
            projections: ProjectionGauges::default(),
            jobs: JobGauges::default(),
            passed_by: Family::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let help = "Time from a request's head to its answer";
        registry.register("http_request_duration_seconds", help, self.latency.clone());
        registry.register("active_users", "Accounts with a request in the last 5 minutes", self.active_users.clone());
        registry.register("swarm_agents_active", "Agents of swarms that are at work", self.agents.clone());
        let help = "Memory of this process that is in RAM";
        registry.register("process_resident_memory_bytes", help, self.resident_memory.clone());
        registry.register("event_store_head_position", "Position of the newest event", self.head_position.clone());
        let help = "Events that a projection has yet to apply";
        registry.register("projection_lag_events", help, self.lag.clone());
        self.projections.register(registry);
        self.jobs.register(registry);
        let help = "Events of other builds that readers of this process passed by since its start";
        registry.register("events_passed_by", help, self.passed_by.clone());
        registry.register_collector(Box::new(self.executions.clone()));
        for agent_type in AGENT_TYPES {
            self.agents.get_or_create(&AgentLabels { agent_type }).set(0);
        }
        self
    }

    /// Counts an execution that has its result.
    pub fn record_execution(&self, card_id: PromptCardId, success: bool) {
        self.executions.count(card_id, success, Instant::now());
    }

    pub(crate) fn observe_request(&self, method: &'static str, route: &str, status_code: u16, elapsed: Duration) {
        let labels = RequestLabels { method, route: route.to_owned(), status_code };
        self.latency.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    /// Notes that an account has sent a request.
    pub(crate) fn seen(&self, account: ActorId) {
        let now = Instant::now();
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.len() >= ACTIVE_USERS_MAX && !active.contains_key(&account) {
            active.retain(|_, at| now.duration_since(*at) < ACTIVE_FOR);
            if active.len() >= ACTIVE_USERS_MAX {
                return;
            }
        }
        active.insert(account, now);
    }

    pub(crate) fn set_head(&self, position: i64) {
        self.head_position.set(position);
    }

    /// Notes how the read models are.
    pub(crate) fn set_projections(&self, states: &[ProjectionState]) {
        for state in states.iter().filter(|state| state.generation == Generation::Live.name()) {
            self.lag.get_or_create(&ProjectionLabels { projection: state.name.clone() }).set(state.lag_events);
        }
        self.projections.set(states);
    }

    /// Notes how the job system is.
    pub(crate) fn set_jobs(&self, state: &JobState) {
        self.jobs.set(state);
    }

    pub(crate) fn set_passed_by(&self, event: &str, version: i16, times: u64) {
        let labels = EventLabels { event: event.to_owned(), version: version.into() };
        self.passed_by.get_or_create(&labels).set(i64::try_from(times).unwrap_or(i64::MAX));
    }

    /// All metrics as text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let now = Instant::now();
        let active = {
            let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            active.retain(|_, at| now.duration_since(*at) < ACTIVE_FOR);
            active.len()
        };
        self.active_users.set(i64::try_from(active).unwrap_or(i64::MAX));
        self.resident_memory.set(resident_memory_bytes().unwrap_or(0));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The `VmRSS` line of Linux; none elsewhere.
fn resident_memory_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Results by card, for a bounded number of cards: those that came first, or that took an idle one's place.
#[derive(Clone, Debug, Default)]
struct Executions {
    counts: std::sync::Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    cards: HashMap<PromptCardId, Count>,
    other: [u64; 2],
}

#[derive(Debug)]
struct Count {
    results: [u64; 2],
    last: Instant,
}

impl Executions {
    fn count(&self, card_id: PromptCardId, success: bool, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = usize::from(success);
        if !counts.cards.contains_key(&card_id) && counts.cards.len() >= CARDS_MAX {
            let longest_idle =
                counts.cards.iter().min_by_key(|(_, count)| count.last).map(|(id, count)| (*id, count.last));
            match longest_idle {
                // Its series ends; adding its count to the others would show up there as new results.
                Some((id, last)) if now.duration_since(last) >= CARD_IDLE => drop(counts.cards.remove(&id)),
                _ => {
                    counts.other[nth] += 1;
                    return;
                }
            }
        }
        let count = counts.cards.entry(card_id).or_insert(Count { results: [0, 0], last: now });
        count.results[nth] += 1;
        count.last = now;
    }
}

impl Collector for Executions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Executions with a result.";
        let mut encoder = encoder.encode_descriptor("prompt_executions", help, None, MetricType::Counter)?;
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let cards = counts.cards.iter().map(|(id, count)| (id.to_string(), count.results));
        for (card, results) in cards.chain([(OTHER_CARDS.to_owned(), counts.other)]) {
            for (success, count) in ["false", "true"].into_iter().zip(results) {
                let labels = [("prompt_card_id", card.as_str()), ("success", success)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn card(number: u128) -> PromptCardId {
        PromptCardId(Uuid::from_u128(number))
    }

    #[test]
    fn the_names_are_those_that_dashboards_expect() {
        let metrics = Metrics::new();
        metrics.record_execution(card(1), true);
        metrics.observe_request("GET", "/api/v1/cards/{card_id}", 200, Duration::from_millis(20));
        metrics.seen(ActorId(Uuid::nil()));
        metrics.set_passed_by("prompt_card.pinned", 1, 3);
        let text = metrics.encode().unwrap();
        for line in [
            "prompt_executions_total{prompt_card_id=\"00000000-0000-0000-0000-000000000001\",success=\"true\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.025\",method=\"GET\",route=\"/api/v1/cards/{card_id}\",status_code=\"200\"} 1",
            "http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/cards/{card_id}\",status_code=\"200\"} 1",
            "active_users 1",
            "events_passed_by{event=\"prompt_card.pinned\",version=\"1\"} 3",
            "swarm_agents_active{agent_type=\"reviewer\"} 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(resident_memory_bytes().is_none_or(|bytes| bytes > 1_000_000));
    }

    #[test]
    fn the_cards_with_a_series_are_bounded_and_idle_ones_make_room() {
        let executions = Executions::default();
        let start = Instant::now();
        for number in 0..CARDS_MAX as u128 {
            executions.count(card(number), true, start);
        }
        executions.count(card(1_000), false, start);
        {
            let counts = executions.counts.lock().unwrap();
            assert_eq!((counts.cards.len(), counts.other), (CARDS_MAX, [1, 0]));
        }
        executions.count(card(1_000), false, start + CARD_IDLE);
        let counts = executions.counts.lock().unwrap();
        assert_eq!((counts.cards.len(), counts.other), (CARDS_MAX, [1, 0]));
        assert_eq!(counts.cards[&card(1_000)].results, [1, 0]);
    }
}
