//! How much waits, and for how long.

use serde::Serialize;
use sqlx::PgPool;

/// What waits in one lane for one model.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct QueueRow {
    /// `hi`, `std` or `bulk`.
    pub lane: String,
    /// The kind of job.
    pub kind: String,
    /// The provider that is asked.
    pub provider: String,
    /// The model's id.
    pub model: String,
    /// Runs that have work here.
    pub runs: i64,
    /// Jobs that could be handed out.
    pub waiting: i64,
    /// Jobs that pause until a time: between attempts, or because a limit is reached.
    pub pausing: i64,
    /// Jobs that the broker or a worker has.
    pub handed_out: i64,
    /// How long the first job of those that wait has been there without being handed out, in seconds.
    pub oldest_waiting_seconds: Option<f64>,
    /// Whether it is held, by a pause, a limit or an open circuit.
    pub held: bool,
}

/// What the relays have counted since the tables were made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counters {
    /// Reports that changed nothing: of a job that has its result, or whose run is over.
    pub results_refused: i64,
    /// Jobs that were handed out anew because the broker had lost their tickets.
    pub redispatched: i64,
    /// Places for calls that were freed because their worker was gone.
    pub places_swept: i64,
}

/// What waits, by lane and model: of one tenant, or of all.
///
/// # Errors
/// Where the database does not answer.
pub async fn queues(pool: &PgPool, tenant: Option<i32>) -> Result<Vec<QueueRow>, sqlx::Error> {
    sqlx::query_as(include_str!("../../queries/queues.sql")).bind(tenant).fetch_all(pool).await
}

/// What was counted.
///
/// # Errors
/// Where the database does not answer.
pub async fn counters(pool: &PgPool) -> Result<Counters, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as("select name, value from jobs.counter").fetch_all(pool).await?;
    let value = |name: &str| rows.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value);
    Ok(Counters {
        results_refused: value("results_refused"),
        redispatched: value("redispatched"),
        places_swept: value("places_swept"),
    })
}
