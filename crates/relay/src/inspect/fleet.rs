//! Who is there: workers, the leader, and how many slots the backlog wants.

use pcs_domain::jobs::KINDS;
use serde::Serialize;
use sqlx::PgPool;

use super::QueueRow;

/// A worker that was heard of lately.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct WorkerRow {
    /// Its name, unique per start of a process.
    pub worker: String,
    /// The kind of jobs that it does.
    pub kind: String,
    /// How many jobs it can do at once.
    pub slots: i32,
    /// How many it does now.
    pub in_flight: i32,
    /// Whether it takes no more.
    pub draining: bool,
    /// The version of its program.
    pub build: String,
    /// How long it has been known, in seconds.
    pub known_for_seconds: f64,
    /// How long it has said nothing, in seconds.
    pub silent_for_seconds: f64,
}

/// The relay that schedules.
#[derive(Clone, Copy, Debug, Serialize, sqlx::FromRow)]
pub struct Leadership {
    /// The term; each new leader has a higher one.
    pub term: i64,
    /// Whether somebody leads now.
    pub led: bool,
    /// Whether the leader's connection to the broker is up.
    pub broker: bool,
    /// Events that the scheduler has yet to read.
    pub lag_events: i64,
}

/// What an autoscaler needs to know of the workers of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct Scaling {
    /// The kind.
    pub kind: &'static str,
    /// Jobs that could be done now if there were slots: waiting and not held, and handed out.
    pub ready: i64,
    /// The slots of all workers that take jobs of it.
    pub slots: i64,
    /// The jobs that they do.
    pub in_flight: i64,
    /// Jobs per slot; 0 where nothing is ready. Above 1 there is more work than slots.
    pub load: f64,
}

/// The fleet.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// The relay that schedules.
    pub leader: Leadership,
    /// All workers, by name.
    pub workers: Vec<WorkerRow>,
    /// What an autoscaler needs to know, by kind.
    pub scaling: Vec<Scaling>,
}

/// Longer silences end a worker; a leader that is gone leaves its rows behind.
const SILENCE_MAX_SECONDS: f64 = 15.0;

const LEADERSHIP: &str =
    "select term, expires_at > clock_timestamp() as led, broker and expires_at > clock_timestamp() as broker,
    (select position from es.head) - (select position from jobs.cursor) as lag_events from jobs.leader";

/// Who schedules, and how it is.
///
/// # Errors
/// Where the database does not answer.
pub async fn leadership(pool: &PgPool) -> Result<Leadership, sqlx::Error> {
    sqlx::query_as(LEADERSHIP).fetch_one(pool).await
}

/// The fleet as its leader heard it last, with what the queues of all tenants want of it.
///
/// # Errors
/// Where the database does not answer.
pub async fn fleet(pool: &PgPool, queues: &[QueueRow]) -> Result<Fleet, sqlx::Error> {
    let leader = leadership(pool);
    let workers = sqlx::query_as(
        "select worker, kind, slots, in_flight, draining, build,
                extract(epoch from clock_timestamp() - since)::float8 as known_for_seconds,
                extract(epoch from clock_timestamp() - heard_at)::float8 as silent_for_seconds
         from jobs.worker where heard_at > clock_timestamp() - make_interval(secs => $1) order by worker",
    )
    .bind(SILENCE_MAX_SECONDS)
    .fetch_all(pool);
    let (leader, workers): (Leadership, Vec<WorkerRow>) = tokio::try_join!(leader, workers)?;
    let scaling = KINDS.map(|kind| scaling(kind.name, queues, &workers)).into();
    Ok(Fleet { leader, workers, scaling })
}

fn scaling(kind: &'static str, queues: &[QueueRow], workers: &[WorkerRow]) -> Scaling {
    let of_kind = queues.iter().filter(|queue| queue.kind == kind);
    let ready = of_kind.map(|queue| queue.handed_out + if queue.held { 0 } else { queue.waiting }).sum();
    let taking = workers.iter().filter(|worker| worker.kind == kind && !worker.draining);
    let (slots, in_flight) = taking.fold((0, 0), |(slots, in_flight), worker| {
        (slots + i64::from(worker.slots), in_flight + i64::from(worker.in_flight))
    });
    Scaling { kind, ready, slots, in_flight, load: ratio(ready, slots.max(1)) }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for a dashboard; beyond 2^53 jobs nobody counts")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}
