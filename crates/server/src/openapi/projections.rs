//! The schemas of read models.

use utoipa::ToSchema;
use uuid::Uuid;

/// A generation of a read model, and how it is.
#[derive(ToSchema)]
#[schema(as = Projection)]
pub(crate) struct ProjectionDoc {
    name: String,
    generation: ProjectionGeneration,
    status: ProjectionStatus,
    /// The last position that it has seen.
    position: i64,
    /// Events that it has yet to see.
    lag_events: i64,
    /// How long the oldest of these has waited, in seconds.
    lag_seconds: f64,
    /// When the last event that it has used was recorded.
    #[schema(required, format = DateTime)]
    updated_at: Option<String>,
    /// Events that it does not use.
    passed_over: i64,
    /// How often an event could not be applied.
    failures: i64,
    /// Events that are set aside and wait.
    parked: i64,
    /// Events that were given up.
    skipped: i64,
    /// What is done with an event that can't be applied.
    policy: ProjectionPolicy,
    /// Which process writes it.
    #[schema(required)]
    owner: Option<Uuid>,
    /// How often the writer has changed.
    epoch: i64,
    #[schema(required)]
    failure: Option<ProjectionFailureDoc>,
}

/// What people read, what is built, and what was read before the last promotion.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ProjectionGeneration {
    Live,
    Next,
    Old,
}

/// Whether a read model goes on.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ProjectionStatus {
    Running,
    Paused,
    Stopped,
    Building,
    Ready,
}

/// What is done with an event that can't be applied.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum ProjectionPolicy {
    Stop,
    ParkStream,
    Skip,
}

/// The event that a read model could not apply.
#[derive(ToSchema)]
#[schema(as = ProjectionFailure)]
pub(crate) struct ProjectionFailureDoc {
    position: i64,
    stream_id: Uuid,
    version: i64,
    event_type: String,
    error: String,
    #[schema(required, format = DateTime)]
    at: Option<String>,
}
