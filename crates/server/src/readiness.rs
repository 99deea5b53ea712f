//! Whether this process can do its work now: named checks, each with an answer in a few words.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pcs_store::Store;
use serde::Serialize;
use utoipa::ToSchema;

/// Longest time for one check: an orchestrator asks every few seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How far a projection may be behind before reads are sent elsewhere, in events: an hour of a busy installation is
/// more, a restart is less.
const LAG_MAX: i64 = 100_000;

/// What a check found: a detail for a person, in both cases.
pub type Checked<'a> = Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;

/// Something that this process needs; passed in by whoever knows it, such as the broker.
pub trait ReadinessCheck: Send + Sync {
    /// Its name in the answer, such as `broker`.
    fn name(&self) -> &str;

    /// Whether the process can't do its work without it; else it only does less.
    fn is_required(&self) -> bool {
        true
    }

    /// Looks now.
    fn check(&self) -> Checked<'_>;
}

/// All checks of a server: the database, the projections, and what was passed in.
pub struct Readiness {
    checks: Vec<Arc<dyn ReadinessCheck>>,
}

/// What one check found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct CheckReport {
    /// Its name.
    pub(crate) name: String,
    /// Whether all is well.
    pub(crate) ok: bool,
    /// Whether the process can't do its work without it.
    pub(crate) required: bool,
    /// How it is, in a few words.
    pub(crate) detail: String,
}

/// What all checks found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub(crate) struct ReadinessReport {
    /// Whether every check that is required is well: commands and reads are answered.
    pub(crate) ready: bool,
    /// Whether a check that is not required is not: commands are accepted, and what follows from them waits.
    pub(crate) degraded: bool,
    /// One line per check.
    pub(crate) checks: Vec<CheckReport>,
}

impl Readiness {
    /// The checks of the store, and others.
    #[must_use]
    pub fn new(store: &Store, others: Vec<Arc<dyn ReadinessCheck>>) -> Self {
        let mut checks: Vec<Arc<dyn ReadinessCheck>> = vec![
            Arc::new(Database(store.clone())),
            Arc::new(Projections(store.clone())),
            Arc::new(Subscriptions(store.clone())),
            Arc::new(Scheduler(store.clone())),
        ];
        checks.extend(others);
        Self { checks }
    }

    pub(crate) async fn report(&self) -> ReadinessReport {
        let mut checks = Vec::with_capacity(self.checks.len());
        for check in &self.checks {
            let found = tokio::time::timeout(CHECK_TIMEOUT, check.check()).await;
            let found = found.unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())));
            let ok = found.is_ok();
            let (Ok(detail) | Err(detail)) = found;
            checks.push(CheckReport { name: check.name().to_owned(), ok, required: check.is_required(), detail });
        }
        let ready = checks.iter().all(|check| check.ok || !check.required);
        ReadinessReport { ready, degraded: checks.iter().any(|check| !check.ok && !check.required), checks }
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name())).finish()
    }
}

struct Database(Store);

impl ReadinessCheck for Database {
    fn name(&self) -> &str {
        "database"
    }

    fn check(&self) -> Checked<'_> {
        Box::pin(async {
            match self.0.head().await {
                Ok(head) => Ok(format!("the log is at position {head}")),
                Err(error) => {
                    tracing::warn!(error = %error, "the database check failed");
                    Err("does not answer".to_owned())
                }
            }
        })
    }
}

struct Projections(Store);

impl ReadinessCheck for Projections {
    fn name(&self) -> &str {
        "projections"
    }

    fn check(&self) -> Checked<'_> {
        Box::pin(async {
            let behind = lags(&self.0).await.map_err(|_| "not known: the database does not answer".to_owned())?;
            let worst = behind.iter().max_by_key(|(_, lag)| *lag);
            let Some((name, lag)) = worst else {
                return Ok("there are none".to_owned());
            };
            let detail = format!("{name} is the furthest behind, by {lag} events");
            if *lag > LAG_MAX { Err(detail) } else { Ok(detail) }
        })
    }
}

/// Whether runs make progress. Without a scheduler, or a broker, commands are accepted and their work waits.
struct Scheduler(Store);

impl ReadinessCheck for Scheduler {
    fn name(&self) -> &str {
        "scheduler"
    }

    fn is_required(&self) -> bool {
        false
    }

    fn check(&self) -> Checked<'_> {
        Box::pin(async {
            let leader = pcs_relay::inspect::leadership(self.0.pool()).await;
            let leader = leader.map_err(|_| "not known: the database does not answer".to_owned())?;
            match (leader.led, leader.broker) {
                (false, _) => Err("no relay leads: runs are accepted and wait".to_owned()),
                (true, false) => Err("the relay does not reach the broker: runs are accepted and wait".to_owned()),
                (true, true) => Ok(format!("term {}, {} events behind", leader.term, leader.lag_events)),
            }
        })
    }
}

/// How far subscriptions are behind. Only told: a webhook that can't be reached is no reason to send readers elsewhere.
struct Subscriptions(Store);

impl ReadinessCheck for Subscriptions {
    fn name(&self) -> &str {
        "subscriptions"
    }

    fn check(&self) -> Checked<'_> {
        Box::pin(async {
            let all = self.0.subscriptions().await.map_err(|_| "not known: the database does not answer".to_owned())?;
            let Some(worst) = all.iter().max_by_key(|subscription| subscription.lag) else {
                return Ok("there are none".to_owned());
            };
            let parked: i64 = all.iter().map(|subscription| subscription.parked).sum();
            let seconds = worst.lag_seconds.map(|seconds| format!(" ({seconds:.1} s)")).unwrap_or_default();
            Ok(format!(
                "{} is the furthest behind, by {} events{seconds}; {} of its {} lanes are worked on; {parked} events are \
                 parked",
                worst.name, worst.lag, worst.owned, worst.lanes
            ))
        })
    }
}

/// How many events each projection has yet to apply.
async fn lags(store: &Store) -> Result<Vec<(&'static str, i64)>, pcs_projections::ProjectionError> {
    let head = store.head().await?;
    let mut lags = Vec::new();
    for projection in pcs_projections::all() {
        let position = pcs_projections::position(store.pool(), projection.name()).await?;
        lags.push((projection.name(), (head - position).max(0)));
    }
    Ok(lags)
}
