//! How a projection is: whether it runs, how far behind it is, and what it could not apply.

use std::time::Duration;

use pcs_domain::Timestamp;
use pcs_store::Store;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

use crate::generation::Generation;
use crate::{ProjectionError, row};

/// Whether a generation of a projection goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It follows the log.
    Running,
    /// Somebody has paused it, and somebody has to resume it.
    Paused,
    /// It met an event that it can't apply.
    Stopped,
    /// It is being built.
    Building,
    /// It is built and can be promoted.
    Ready,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Stopped, Self::Building, Self::Ready];

    /// Its name in tables and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Building => "building",
            Self::Ready => "ready",
        }
    }

    /// Whether pages may be written to it.
    #[must_use]
    pub fn goes_on(self) -> bool {
        match self {
            Self::Running | Self::Building | Self::Ready => true,
            Self::Paused | Self::Stopped => false,
        }
    }

    pub(crate) fn of(row: &PgRow) -> Result<Self, sqlx::Error> {
        let name: String = row.try_get("status")?;
        let known = Self::ALL.into_iter().find(|status| status.name() == name);
        known.ok_or_else(|| row::unreadable("status", "it is not one of this build"))
    }
}

/// Why a projection stands still: the event that it could not apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The event's position.
    pub position: i64,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its version in the stream.
    pub version: i64,
    /// Its type and the version of its payload.
    pub event_type: String,
    /// What went wrong, for a person.
    pub error: String,
    /// When it was met, by the database's clock.
    pub at: Option<Timestamp>,
}

/// One generation of a projection, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProjectionState {
    /// The projection.
    pub name: String,
    /// `live`, `next` (being built) or `old` (what was live before).
    pub generation: String,
    /// Whether it goes on.
    pub status: Status,
    /// The last position that it has seen.
    pub position: i64,
    /// Events that it has yet to see.
    pub lag_events: i64,
    /// How long the oldest of these has waited, in seconds; 0 where there is none.
    pub lag_seconds: f64,
    /// When the last event that it has used was recorded.
    pub updated_at: Option<Timestamp>,
    /// Events that it is not subscribed to and has passed over.
    pub passed_over: i64,
    /// How often an event could not be applied.
    pub failures: i64,
    /// Events that are set aside and wait.
    pub parked: i64,
    /// Events that were given up.
    pub skipped: i64,
    /// What is done with an event that can't be applied: `stop`, `park-stream` or `skip`; the projection's own where
    /// nobody has set another.
    pub policy: String,
    /// Which process writes it; absent while none does.
    pub owner: Option<Uuid>,
    /// How often the writer has changed.
    pub epoch: i64,
    /// Why it stands still.
    pub failure: Option<Failure>,
}

struct Stored {
    state: ProjectionState,
    policy: Option<String>,
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let failed: Option<i64> = row.try_get("failed_position")?;
        let failure = failed.map(|position| failure(row, position)).transpose()?;
        let state = ProjectionState {
            name: row.try_get("name")?,
            generation: row.try_get("generation")?,
            status: Status::of(row)?,
            position: row.try_get("position")?,
            lag_events: 0,
            lag_seconds: 0.0,
            updated_at: row::timestamp_opt(row, "updated_at")?,
            passed_over: row.try_get("passed_over")?,
            failures: row.try_get("failures")?,
            parked: row.try_get("parked")?,
            skipped: row.try_get("skipped")?,
            policy: String::new(),
            owner: row.try_get("owner")?,
            epoch: row.try_get("epoch")?,
            failure,
        };
        Ok(Self { state, policy: row.try_get("policy")? })
    }
}

fn failure(row: &PgRow, position: i64) -> Result<Failure, sqlx::Error> {
    Ok(Failure {
        position,
        stream_id: row.try_get("failed_stream")?,
        version: row.try_get("failed_version")?,
        event_type: row.try_get("failed_type")?,
        error: row.try_get("failed_error")?,
        at: row::timestamp_opt(row, "failed_at")?,
    })
}

/// How every generation of every projection of this build is, in the order of [`crate::all`]; the living ones are
/// there even where they have not begun.
///
/// # Errors
/// Where the database does not answer.
pub async fn states(store: &Store) -> Result<Vec<ProjectionState>, ProjectionError> {
    let mut states = Vec::new();
    for projection in crate::all() {
        states.extend(states_of(store, &*projection).await?);
    }
    Ok(states)
}

/// How the generations of one projection are, the living one first.
///
/// # Errors
/// Where the database does not answer.
pub async fn states_of(
    store: &Store,
    projection: &dyn crate::Projection,
) -> Result<Vec<ProjectionState>, ProjectionError> {
    let mut states = Vec::new();
    for generation in Generation::ALL {
        let mut stored = read(store.pool(), projection.name(), generation).await?;
        if stored.is_none() && generation == Generation::Live {
            crate::checkpoint::ensure(store.pool(), projection.name(), generation).await?;
            stored = read(store.pool(), projection.name(), generation).await?;
        }
        let Some(Stored { mut state, policy }) = stored else { continue };
        state.policy = policy.unwrap_or_else(|| projection.policy().name().to_owned());
        // The head is read after the position, so the lag is never negative.
        state.lag_events = (store.head().await? - state.position).max(0);
        if state.lag_events > 0 {
            let waited = store.waiting_since(state.position).await?;
            state.lag_seconds = waited.map_or(0.0, |waited: Duration| waited.as_secs_f64());
        }
        states.push(state);
    }
    Ok(states)
}

async fn read(pool: &PgPool, name: &str, generation: Generation) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as(include_str!("../queries/projection_state.sql"))
        .bind(name)
        .bind(generation.name())
        .fetch_optional(pool)
        .await
}
