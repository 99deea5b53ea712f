//! The `maintenance` job: what keeps the system small and sound, done beside the database.

use serde::{Deserialize, Serialize};

use super::JobKind;
use crate::ids::RegradeId;

/// This kind of job.
pub const KIND: JobKind = JobKind { name: "maintenance", pool: "system" };

/// What is to be done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Move closed partitions of the log into the archive.
    Archive {
        /// How many of the newest closed partitions stay in the database.
        #[serde(default = "keep_usual")]
        keep: u32,
        /// How many hours the table of a detached partition is kept.
        #[serde(default = "grace_hours_usual")]
        grace_hours: u32,
    },
    /// Forget what was kept for long enough.
    Retention {
        /// For how many days an answer may be used again.
        #[serde(default = "days_usual")]
        answers_days: u32,
        /// For how many days what a cancelled run left undone can be taken up.
        #[serde(default = "days_usual")]
        unfinished_days: u32,
    },
    /// Grade the answers of a run once more.
    Regrade {
        /// What was asked for.
        regrade_id: RegradeId,
    },
}

fn keep_usual() -> u32 {
    1
}

fn grace_hours_usual() -> u32 {
    24
}

fn days_usual() -> u32 {
    30
}

impl Task {
    /// The archive of a day.
    #[must_use]
    pub fn daily_archive() -> Self {
        Self::Archive { keep: keep_usual(), grace_hours: grace_hours_usual() }
    }

    /// The retention of a day.
    #[must_use]
    pub fn daily_retention() -> Self {
        Self::Retention { answers_days: days_usual(), unfinished_days: days_usual() }
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "archive",
            Self::Retention { .. } => "retention",
            Self::Regrade { .. } => "regrade",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let read = |value| serde_json::from_value::<Task>(value).unwrap();
        assert_eq!(read(json!({ "task": "archive" })), Task::daily_archive());
        assert_eq!(read(json!({ "task": "retention" })), Task::daily_retention());
    }

    #[test]
    fn what_is_meant_otherwise_is_refused() {
        let error = |value| serde_json::from_value::<Task>(value).unwrap_err().to_string();
        assert!(error(json!({ "task": "juggle" })).contains("juggle"));
        assert!(error(json!({ "task": "retention", "answer_days": 3 })).contains("answer_days"));
        assert!(error(json!({ "task": "archive", "keep": -1 })).contains("-1"));
    }
}
