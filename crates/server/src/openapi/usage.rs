//! The schemas of what uses a card.

use utoipa::ToSchema;
use uuid::Uuid;

/// What uses a card.
#[derive(ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageDoc {
    /// The versions that were run, the newest first.
    versions: Vec<VersionUsageDoc>,
    /// The schedules whose last run was of the card, by name.
    schedules: Vec<ScheduleUsageDoc>,
}

/// The runs of a version.
#[derive(ToSchema)]
#[schema(as = VersionUsage)]
pub(crate) struct VersionUsageDoc {
    version: u32,
    /// How many runs it was, or is, part of.
    runs: i64,
    /// How many of them go on.
    running: i64,
    /// The newest of them.
    last_run_id: Uuid,
    #[schema(format = DateTime)]
    last_requested_at: String,
}

/// A schedule whose last run was of the card.
#[derive(ToSchema)]
#[schema(as = ScheduleUsage)]
pub(crate) struct ScheduleUsageDoc {
    id: Uuid,
    name: String,
    paused: bool,
    last_run_id: Uuid,
    /// The versions of that run.
    versions: Vec<u32>,
}
