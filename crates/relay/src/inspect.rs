//! How the job system is, for people and machines that ask: queues, the fleet, limits, dead letters, schedules.

mod dead_letters;
mod fleet;
mod limits;
mod queues;

pub use self::dead_letters::{
    DeadLetterFilter, DeadLetterRow, UndoneCount, dead_letter_count, dead_letters, dead_letters_of, undone,
};
pub use self::fleet::{Fleet, Leadership, Scaling, WorkerRow, fleet, leadership};
pub use self::limits::{HoldRow, LimitRow, ScheduleRow, holds, limits, schedule, schedules};
pub use self::queues::{Counters, QueueRow, counters, queues};

use std::time::Duration;

use sqlx::PgPool;

/// How often it is looked whether the scheduler has come to a position.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until the scheduler has a position, for at most this long; false where it has not.
///
/// # Errors
/// Where the database does not answer.
pub async fn wait_for_position(pool: &PgPool, position: i64, at_most: Duration) -> Result<bool, sqlx::Error> {
    let deadline = tokio::time::Instant::now() + at_most;
    loop {
        if crate::cursor(pool).await? >= position {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
