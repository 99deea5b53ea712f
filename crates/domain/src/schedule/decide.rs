//! What may happen to a schedule: commands, and the rules that refuse them.

use super::{CalendarError, Created, Deleted, Paused, Resumed, Schedule, ScheduleEvent as Event, Skipped};
use crate::aggregate::RejectionCode;
use crate::ids::ActorId;
use crate::limits;
use crate::timestamp::Timestamp;

/// What somebody wants to happen to a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleCommand {
    /// Make it.
    Create(Box<Created>),
    /// Hold it back.
    Pause {
        /// Who pauses it.
        by: ActorId,
    },
    /// Let it go on.
    Resume {
        /// Who resumes it.
        by: ActorId,
    },
    /// Note that a time passed without its run.
    Skip {
        /// Which time.
        due_at: Timestamp,
        /// Why.
        reason: String,
    },
    /// End it.
    Delete {
        /// Who deletes it.
        by: ActorId,
    },
}

/// Why a command on a schedule is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleRejection {
    /// The schedule does not exist, or no more.
    #[error("there is no such schedule")]
    NotFound,
    /// The schedule exists.
    #[error("the schedule already exists")]
    AlreadyExists,
    /// Its times can't be read.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// A text is too long, or holds a NUL character.
    #[error("{field} must have at most {max} bytes and no NUL character")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// How many bytes it may have.
        max: usize,
    },
}

impl RejectionCode for ScheduleRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "schedule_not_found",
            Self::AlreadyExists => "schedule_already_exists",
            Self::Calendar(CalendarError::Cron { .. }) => "invalid_cron",
            Self::Calendar(CalendarError::Zone { .. }) => "invalid_time_zone",
            Self::Calendar(CalendarError::Never { .. }) => "never_due",
            Self::InvalidText { .. } => "invalid_text",
        }
    }
}

type Decision = Result<Vec<Event>, ScheduleRejection>;

pub(super) fn decide(state: &Schedule, command: ScheduleCommand, at: Timestamp) -> Decision {
    match (state, command) {
        (Schedule::Absent, ScheduleCommand::Create(created)) => create(*created, at),
        (_, ScheduleCommand::Create(_)) => Err(ScheduleRejection::AlreadyExists),
        (Schedule::Absent | Schedule::Deleted(_), _) => Err(ScheduleRejection::NotFound),
        (Schedule::Active(_), ScheduleCommand::Pause { by }) => Ok(vec![Event::Paused(Paused { paused_by: by })]),
        (Schedule::Paused(_), ScheduleCommand::Resume { by }) => Ok(vec![Event::Resumed(Resumed { resumed_by: by })]),
        // Saying it twice is saying it once.
        (Schedule::Paused(_), ScheduleCommand::Pause { .. })
        | (Schedule::Active(_), ScheduleCommand::Resume { .. }) => Ok(Vec::new()),
        (Schedule::Active(_) | Schedule::Paused(_), ScheduleCommand::Skip { due_at, mut reason }) => {
            reason.truncate(reason.floor_char_boundary(limits::MESSAGE_BYTES_MAX));
            Ok(vec![Event::Skipped(Skipped { due_at, reason: reason.replace('\0', " ") })])
        }
        (Schedule::Active(_) | Schedule::Paused(_), ScheduleCommand::Delete { by }) => {
            Ok(vec![Event::Deleted(Deleted { deleted_by: by })])
        }
    }
}

fn create(created: Created, at: Timestamp) -> Decision {
    let max = limits::NAME_CHARS_MAX;
    if created.name.len() > max || created.name.contains('\0') {
        return Err(ScheduleRejection::InvalidText { field: "name", max });
    }
    if created.calendar()?.next_after(at).is_none() {
        return Err(CalendarError::Never { cron: created.cron }.into());
    }
    Ok(vec![Event::Created(created)])
}
